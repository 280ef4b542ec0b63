"""Fetching pictures: img2dataset's Downloader, unmodified, with our opener, resizer and writer.

`drive` runs the Downloader over one shard's URLs, with the process's `session` (what outlives a
shard). The `opener` decides what is asked for, by the rooms of `web/`; the `intake` has each
picture made (`picture/`) and is the resizer; the `writer` receives every row, kept or failed.
`lists` are the user's own. A row's failure is a `FetchError` (`pipeline.words.failure`); `stopped`
holds the error that gives up a whole shard.
"""
