"""winnow from Python: in a script, a notebook or another program.

    from pipeline import api

    finished = api.run("job.yaml", set=["export.shard_size=1000"])
    finished.stats()["kept"]
    finished.samples().filter("reason = 'nsfw'").df()

A script needs no `if __name__ == "__main__":` around it.
"""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.job import Job
from pipeline.config.load import load_job, parse_job
from pipeline.table.run import Run

if TYPE_CHECKING:
    import duckdb

__all__ = ["Finished", "load", "open_run", "run"]


@dataclass(frozen=True)
class Finished:
    """A run folder to read."""

    folder: str
    """The run folder, a path or URL."""
    export: str | None = None
    """The folder of the exported shards; None if there is no finished export."""
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    """Shards that failed in this run: `stage`, `shard`, `error`."""

    def stats(self) -> dict[str, Any]:
        """What `winnow stats --json` prints: rows in, kept and by reason, stages."""
        from pipeline.inspect.stats import stats

        return stats(Run.open(self.folder))

    def samples(self) -> "duckdb.DuckDBPyRelation":
        """Every row with every column (docs/columns.md), as `winnow sql` has it; a lazy relation.

        Its database can read nothing but this run's files, and write nothing. InputError if the
        list was not read yet.
        """
        from pipeline.inspect.view import connect

        return connect(Run.open(self.folder)).view("samples")


def load(
    job: str | Path | Mapping[str, Any] | Job,
    set: Sequence[str] = (),  # noqa: A002 - the name of the command's option
) -> Job:
    """A checked job, of a job file or of its keys; `set` are `a.b=c` as the command's `--set`.

    InputError, in one line, for a key or value that is wrong. `set` is for job files only.
    """
    if set and not isinstance(job, str | Path):
        raise TypeError("`set` changes a job file; change the mapping itself")
    if isinstance(job, Job):
        return job
    if isinstance(job, Mapping):
        return parse_job({"name": "job", **job}, "the job")
    return load_job(Path(job), set)


def run(
    job: str | Path | Mapping[str, Any] | Job,
    set: Sequence[str] = (),  # noqa: A002 - the name of the command's option
    quiet: bool = False,
) -> Finished:
    """Run a job and what of it is not up to date, as `winnow run` does; progress goes to stderr.

    Raises the errors of `pipeline.words.errors`: InputError before any work, StoppedError and its
    kinds for what the same call goes on from.
    """
    from pipeline.engine.runner import execute, prepare
    from pipeline.words.progress import Lines

    job_file = Path(job) if isinstance(job, str | Path) else None
    prepared = prepare(load(job, set))
    with contextlib.ExitStack() as stack:
        stream = sys.stderr
        if quiet:
            stream = stack.enter_context(Path("/dev/null").open("w"))
        result = execute(prepared, job_file, Lines(stream))
    export = result.export.place.path() if result.export is not None else None
    return Finished(result.run.folder.url, export, result.quarantined)


def open_run(folder: str | Path) -> Finished:
    """An earlier run, of its folder. InputError if there is none."""
    from pipeline.inspect.exported import export_folder

    found = Run.open(str(folder))
    name = export_folder(found)
    export = found.folder.path(name) if name is not None else None
    return Finished(found.folder.url, export, list(found.state.get("quarantined", [])))
