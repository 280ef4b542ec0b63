"""What a fetching process keeps from shard to shard: connections, what hosts said, decoders."""

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


class Station:
    """A fetcher and its decoders, for one `download:` section."""

    def __init__(self, config: DownloadConfig) -> None:
        # It tells of every answer whose headers are odd; what matters of that is the row's reason.
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


_lock = threading.Lock()
_standing: list[Station] = []


@contextlib.contextmanager
def station(config: DownloadConfig) -> Iterator[Station]:
    """This process's station for the job, kept for its next shard.

    One shard at a time uses it, since the process's URL opener is one (a `net` worker has one Dask
    thread); a second one waits here for the first to end. Another job's station makes way.
    """
    with _lock:
        if _standing and _standing[0].config != config:
            _standing.pop().close()
        if not _standing:
            _standing.append(Station(config))
        yield _standing[0]
