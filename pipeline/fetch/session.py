"""What a fetching process keeps between shards: connections, DNS and robots.txt, decoders."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

from pipeline.config.download import DownloadConfig
from pipeline.fetch.lists import read_hashes
from pipeline.fetch.opener import Fetcher
from pipeline.fetch.picture.decoders import Decoders
from pipeline.fetch.picture.recipe import Recipe
from pipeline.words.heartbeat import beat


class FetchSession:
    """A fetcher and its decoding processes, for one `download:` section."""

    def __init__(self, config: DownloadConfig) -> None:
        # urllib3 warns of every response with odd headers; the row's reason says what matters.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        self.config = config
        self.fetcher = Fetcher(config)
        self.blocklist = read_hashes(config.blocklist, config.blocklist_pdq_distance)
        plain_pdq = self.blocklist is not None and len(self.blocklist.pdq) > 0
        self.decoders = Decoders(
            Recipe.of(config, plain_pdq),
            config.decoders or len(os.sched_getaffinity(0)),
            config.decode_timeout,
        )

    def close(self) -> None:
        self.fetcher.close()
        self.decoders.close()


_TURN = 5.0
"""Seconds after which a task that waits for its turn says that it is well."""
_lock = threading.Lock()
_open: list[FetchSession] = []


@contextlib.contextmanager
def fetch_session(config: DownloadConfig) -> Iterator[FetchSession]:
    """This process's session for the section, kept open for its next shard.

    One shard at a time uses it, since a process has one URL opener (a `net` worker has one Dask
    thread); a second one waits here for the first to end. The session of another section is closed.
    """
    while not _lock.acquire(timeout=_TURN):
        beat()  # waiting is no stall: the task whose turn it is answers for that
    try:
        if _open and _open[0].config != config:
            _open.pop().close()
        if not _open:
            _open.append(FetchSession(config))
        yield _open[0]
    finally:
        _lock.release()
