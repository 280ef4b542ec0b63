"""Finds files of a run that were truncated or changed from outside, after something has failed.

The checksums in the sidecars show which files are damaged. Checking all files before each command
would be slow; but after a failure, naming the damaged file is more useful than a library's error.
"""

import contextlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from pipeline.engine.parts import Parts, product_parts
from pipeline.ingest.buckets import shard_digest
from pipeline.table.checked import damage_line, is_whole
from pipeline.table.part import Sidecar, file_digest, shard_name
from pipeline.table.run import Run
from pipeline.table.storage import full
from pipeline.words.errors import DamagedError, InputError, PlanMismatchError, StoppedError
from pipeline.words.threads import worker_threads


@contextlib.contextmanager
def reading(run_folder: str) -> Iterator[Run]:
    """The run of a folder, for a block that reads it; see `watched`."""
    run = Run.open(run_folder)
    with watched(run):
        yield run


@contextlib.contextmanager
def watched(run: Run) -> Iterator[None]:
    """Turns errors in the block that a full disk or a damaged file caused into one-line errors.

    Raises StorageError, DamagedError; other errors unchanged.
    """
    try:
        yield
    except (InputError, DamagedError, StoppedError, PlanMismatchError, BrokenPipeError):
        raise
    except Exception as error:
        if (stopped := full(error, run.folder)) is not None:
            raise stopped from error
        if (damage := find_damage(run)) is not None:
            raise damage from error
        raise


def find_damage(run: Run, shards: Collection[int] | None = None) -> DamagedError | None:
    """The first damaged file, as an error; if `shards` are given, only of their parts."""
    try:
        name = next(_damaged(run, shards), None)
    except DamagedError as error:
        return error
    if name is None:
        return None
    return DamagedError(damage_line(run.folder.url, run.folder.path(name)))


def check_tables(run: Run, parts: Collection[Parts]) -> None:
    """DamagedError unless every table of the shards and of these parts has its checksum.

    On a local disk only: from an object store each file would be copied for it.
    """
    index = run.index
    if index is None or not run.folder.is_local:
        return
    wanted = [(f"shards/{shard_name(s)}.parquet", d.sha256) for s, d in enumerate(index.dealt)]
    for part in parts:
        for sidecar in part.sidecars.values():
            tables = (item for item in sidecar.digests.items() if item[0].endswith(".parquet"))
            wanted += [(f"{part.folder}/{name}", sum_) for name, sum_ in tables]

    def is_damaged(file: tuple[str, str | None]) -> bool:
        return file[1] is not None and not is_whole(run.folder, *file)

    with ThreadPoolExecutor(worker_threads()) as pool:
        for (name, _), damaged in zip(wanted, pool.map(is_damaged, wanted), strict=True):
            if damaged:
                raise DamagedError(damage_line(run.folder.url, run.folder.path(name)))


def _damaged(run: Run, shards: Collection[int] | None) -> Iterator[str]:
    _ = run.job
    index = run.index
    if index is None:
        return
    wanted = range(len(index)) if shards is None else shards
    for shard in wanted:
        name = f"shards/{shard_name(shard)}.parquet"
        if not _is_dealt(run, shard, index.shards[shard][1]):
            yield name
    for part in product_parts(run):
        if shards is None:
            yield from _changed(run, part, [*part.sidecars.values(), *part.shared])
        elif part.keys == "shards":
            found = [part.sidecars[shard] for shard in wanted if shard in part.sidecars]
            yield from _changed(run, part, found)


def _is_dealt(run: Run, shard: int, digest: str) -> bool:
    try:
        return shard_digest(run.shard(shard)) == digest
    except Exception:  # a Parquet reader can raise anything on invalid bytes
        return False


def _changed(run: Run, part: Parts, sidecars: list[Sidecar]) -> Iterator[str]:
    folder = run.folder.sub(part.folder)
    for sidecar in sidecars:
        for name, digest in sidecar.digests.items():
            with folder.local(name) as path:
                if file_digest(path) != digest:
                    yield f"{part.folder}/{name}"
