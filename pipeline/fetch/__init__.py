"""Fetching pictures: img2dataset's Downloader, unmodified, with our opener, resizer and writer.

`downloader` runs the Downloader over one shard's URLs, with the process's `session` (what is kept
between shards). The `opener` sends the requests, with the modules of `web/`; `resizer` has each
picture decoded and resized (`picture/`); `writer` receives every row, kept or failed. `lists` reads
the user's lists. A row's failure is a `FetchError` (`pipeline.words.failure`); `stopped` holds the
error that ends the fetch of a whole shard.
"""
