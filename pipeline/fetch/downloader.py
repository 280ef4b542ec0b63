"""Runs img2dataset's own Downloader over one shard's URLs, in this process, without its CLI.

`img2dataset.download()` cannot run in a worker: it sets a signal handler, which is allowed only in
a main thread. Its Downloader can. It gets our own URL opener (installed for the process), resizer
(`resizer`) and sample writer.
"""

import contextlib
import importlib.util
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config.download import DownloadConfig
from pipeline.fetch.opener import Fetcher, installed
from pipeline.fetch.opt_outs import OptOuts
from pipeline.fetch.requests import Request, request_for, request_of_stored
from pipeline.fetch.resizer import Resizer
from pipeline.fetch.session import fetch_session
from pipeline.fetch.stopped import FetchStoppedError
from pipeline.fetch.stored import StoredPictures
from pipeline.fetch.web.hosts import shared_limiter
from pipeline.fetch.writer import Fetched, SampleWriter, Spool
from pipeline.table.stored import parse_stored
from pipeline.words.failure import FetchError, printable
from pipeline.words.heartbeat import beat_for_this_thread
from pipeline.words.interrupts import held_signals

FILE = "path://"
LOST = Fetched("download_internal", "img2dataset lost the row; its log on stderr says why")


@lru_cache(maxsize=1)
def downloader_class() -> Any:
    """`img2dataset.downloader.Downloader`, imported without the package's `__init__`.

    That `__init__` imports all of its modules, and with the one for WebDataset also torch: 360 MB
    and several seconds in a worker that only fetches, against 90 MB.
    """
    if "img2dataset" in sys.modules:
        from img2dataset.downloader import Downloader

        return Downloader
    spec = importlib.util.find_spec("img2dataset")
    if spec is None:
        raise ModuleNotFoundError("img2dataset is missing: pip install 'img2dataset>=1.47'")
    sys.modules["img2dataset"] = importlib.util.module_from_spec(spec)
    try:
        from img2dataset.downloader import Downloader
    finally:
        del sys.modules["img2dataset"]
    return Downloader


def fetch_urls(
    urls: Sequence[str | None],
    config: DownloadConfig,
    spool: Spool,
    forgotten: Collection[str] = (),
    stored: Sequence[str | None] = (),
) -> list[Fetched]:
    """Fetch URLs, and read files that the job allows; one result for each, in their order. JPEGs
    are in the spool.

    A URL that occurs twice (in normal form) is fetched once and its result shared. What
    img2dataset loses (an exception inside it drops the row silently) is found by comparing keys
    and gets the reason `download_internal`. `forgotten` are the sha256 (hex) of pictures that were
    taken down; `stored`, if given, the places of pictures that the list's own files hold
    (`table/stored.py`). Raises FetchStoppedError if no row of the shard can be fetched.
    """
    results: list[Fetched | None] = []
    keys: list[str] = []
    requests: dict[str, Request] = {}
    places = [parse_stored(place) if place else None for place in stored] or [None] * len(urls)
    pictures = StoredPictures(place for place in places if place is not None)
    for url, place in zip(urls, places, strict=True):
        try:
            if place is not None:
                request = request_of_stored(url or "", place, pictures, config)
            else:
                request = request_for(url or "", config)
        except FetchError as error:
            results.append(Fetched(error.reason, printable(error.detail)))
            keys.append("")
        else:
            results.append(None)
            keys.append(request.key)
            requests[request.key] = request
    fetched: dict[str, Fetched] = {}
    if requests:
        ordered = interleaved({key: request.host for key, request in requests.items()})
        with contextlib.closing(pictures), fetch_session(config) as session:
            session.fetcher.use_limiter(shared_limiter())
            session.decoders.start(len(ordered))
            resizer = Resizer(session.decoders, session.blocklist, forgotten)
            before = session.fetcher.held_back
            work = [requests[key] for key in ordered]
            opt_outs = _download(work, session.fetcher, resizer, config, spool)
            spool.held_back = session.fetcher.held_back - before
        fetched = {
            key: replace(spool.results.get(number, LOST), opt_outs=opt_outs.get(key, OptOuts()))
            for number, key in enumerate(ordered)
        }
    return [done or fetched[key] for done, key in zip(results, keys, strict=True)]


def interleaved(hosts: Mapping[str, str]) -> list[str]:
    """The URLs in rounds: each round has one URL of every host that has any left.

    So requests go to many hosts at the same time, and at the end only to the one with most URLs.
    """
    rounds: Counter[str] = Counter()
    ordered = []
    for url, host in hosts.items():
        ordered.append((rounds[host], url))
        rounds[host] += 1
    return [url for _, url in sorted(ordered, key=lambda turn: turn[0])]


def _download(
    requests: Sequence[Request],
    fetcher: Fetcher,
    resizer: Resizer,
    config: DownloadConfig,
    spool: Spool,
) -> dict[str, OptOuts]:
    """Get the pictures into the spool; the opt-outs found for each, by its request's key."""
    opt_outs: dict[str, OptOuts] = {}
    # Paths may hold characters that a URL may not, so img2dataset sees only their numbers.
    named = {r.key if r.is_url else f"{FILE}{i}": r for i, r in enumerate(requests)}
    with tempfile.TemporaryDirectory(dir=spool.folder) as scratch:
        rows = Path(scratch) / "urls.arrow"
        table = pa.table({"url": list(named)})
        with pa.OSFile(str(rows), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        # The Downloader deletes the list, which is a copy, and writes a JSON that nobody reads: to
        # a store in memory, since on a full disk it would print a traceback. It would retry a 404
        # and an opt-out too, so its retries are off.
        downloader = downloader_class()(
            sample_writer_class=partial(SampleWriter, spool),
            resizer=resizer,
            thread_count=min(config.thread_count, len(requests)),
            save_caption=False,
            extract_exif=False,
            output_folder="memory://img2dataset",
            column_list=["url"],
            timeout=config.timeout,
            number_sample_per_shard=max(10, len(requests)),
            oom_shard_count=1,
            compute_hash=None,
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,
            user_agent_token=None,
            disallowed_header_directives=None,
        )
        broken: list[Exception] = []

        got_on = beat_for_this_thread()

        def fetch(name: str) -> bytes:
            got_on()
            if spool.broken is not None:
                raise spool.broken
            if broken:
                raise broken[0]
            request = named[name]
            try:
                found = opt_outs[request.key] = OptOuts()
                return resizer.accept(request.get(fetcher, found), found)
            except FetchStoppedError as error:
                # img2dataset would note a failure of each row, and the part would be committed.
                broken.append(error)
                raise

        # In a thread of its own, because img2dataset waits for ever for the rest of its URLs if
        # Ctrl-C interrupts it in this one.
        with installed(fetch), ThreadPoolExecutor(1) as thread:
            try:
                with held_signals():  # else a thread may run of which the pool does not know yet
                    done = thread.submit(downloader.download_shard, (0, str(rows)))
                done.result()
            except BaseException:
                broken.append(FetchStoppedError("interrupted"))  # so that nothing more is requested
                raise
        if spool.broken is not None:
            raise spool.broken
        if broken:
            raise broken[0]
    return opt_outs
