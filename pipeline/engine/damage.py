"""Finds files of a run that were truncated or changed from outside, after something has failed.

The checksums in the sidecars show which files are damaged. Checking all files before each command
would be slow; but after a failure, naming the damaged file is more useful than a library's error.
"""

import contextlib
from collections.abc import Collection, Iterator

from pipeline.engine.parts import Parts, product_parts
from pipeline.ingest.restore import damaged_shards
from pipeline.table.checked import damage_line, damaged_files
from pipeline.table.disk import full
from pipeline.table.part import Sidecar, shard_name
from pipeline.table.run import Run
from pipeline.words.errors import DamagedError, InputError, PlanMismatchError, StoppedError


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
        if (stopped := full(error, run.folder.local_path)) is not None:
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
    sums = {f"shards/{shard_name(k)}.parquet": one.sha256 for k, one in enumerate(index.dealt)}
    for part in parts:
        for sidecar in part.sidecars.values():
            tables = (item for item in sidecar.digests.items() if item[0].endswith(".parquet"))
            sums |= {f"{part.folder}/{name}": sum_ for name, sum_ in tables}
    known = {name: sum_ for name, sum_ in sums.items() if sum_ is not None}
    if (name := next(damaged_files(run.folder, known), None)) is not None:
        raise DamagedError(damage_line(run.folder.url, run.folder.path(name)))


def _damaged(run: Run, shards: Collection[int] | None) -> Iterator[str]:
    _ = run.job
    index = run.index
    if index is None:
        return
    wanted = range(len(index)) if shards is None else shards
    for shard in damaged_shards(run, index, wanted):
        yield f"shards/{shard_name(shard)}.parquet"
    for part in product_parts(run):
        if shards is None:
            yield from _changed(run, part, [*part.sidecars.values(), *part.shared])
        elif part.keys == "shards":
            found = [part.sidecars[shard] for shard in wanted if shard in part.sidecars]
            yield from _changed(run, part, found)


def _changed(run: Run, part: Parts, sidecars: list[Sidecar]) -> Iterator[str]:
    sums = {name: sum_ for one in sidecars for name, sum_ in one.digests.items()}
    for name in damaged_files(run.folder.sub(part.folder), sums):
        yield f"{part.folder}/{name}"
