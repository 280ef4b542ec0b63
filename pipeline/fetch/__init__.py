"""Fetching pictures: img2dataset's Downloader, unmodified, with our opener, resizer and writer.

`drive` runs the Downloader over one shard's URLs. The opener (`opener`, `transport`, `sockets`,
`body`) decides what may be reached and how (`urls`, `addresses`, `robots`); the resizer
(`resizer`, `sniff`, `decode`, `fingerprints`) turns bytes into the stored picture; the writer
(`writer`) receives every row, kept or failed.
"""
