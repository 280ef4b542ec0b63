"""Finds files of a run that were truncated or changed from outside, after something has failed.

The checksums in the sidecars show which files are damaged. Checking all files before each command
would be slow; but after a failure, naming the damaged file is more useful than a library's error.
"""

import contextlib
from collections.abc import Collection, Iterator

from pipeline.engine.parts import Parts, product_parts
from pipeline.ingest.buckets import shard_digest
from pipeline.table.part import Sidecar, file_digest, shard_name
from pipeline.table.run import Run
from pipeline.table.storage import full
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
    return DamagedError(
        f"{run.folder.path(name)} was cut or changed from outside; "
        "remove it, and `winnow run` makes it anew"
    )


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
