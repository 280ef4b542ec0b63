"""Counts over the files of shards and verdicts, with a look at every part's uids."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from pipeline.engine.parts import Parts, index_of
from pipeline.inspect.alignment import aligned_parts
from pipeline.inspect.chunks import each_chunk
from pipeline.table.part import digest_of
from pipeline.table.run import Run


@dataclass
class Tally:
    """Rows of a run, each counted once by its verdict."""

    verdicts: Counter[str] = field(default_factory=Counter)
    """kept, dropped, failed, unfinished."""
    first: Counter[str] = field(default_factory=Counter)
    """By the first reason."""
    anywhere: Counter[str] = field(default_factory=Counter)
    """By every reason that a row carries, so a row may count more than once."""
    alone: Counter[str] = field(default_factory=Counter)
    """By a reason that is a row's only one."""
    repeats: int = 0
    """Rows of the input that were merged into others."""
    misaligned: int = 0
    """Rows beside which a part holds another uid, or which a shard or one of its parts lacks."""

    def add(self, other: "Tally") -> None:
        for name in ("verdicts", "first", "anywhere", "alone"):
            getattr(self, name).update(getattr(other, name))
        self.repeats += other.repeats
        self.misaligned += other.misaligned


ROWS = 500_000
"""Rows of a chunk, of which no column is held: the larger, the fewer databases are opened."""
_kept: dict[str, Tally] = {}
"""At most one: see `keep`."""


def tally(run: Run, parts: Sequence[Parts]) -> Tally:
    """Count all rows of a run."""
    if (kept := _kept.pop(_content(run, parts), None)) is not None:
        return kept
    found = Tally()
    with run.folder.hold():
        for chunk in each_chunk(run, _needed(run, parts), tally_of, ROWS):
            found.add(chunk)
    return found


def _needed(run: Run, parts: Sequence[Parts]) -> Sequence[Parts]:
    """The parts whose files have to be read: on an object store not those that only have to be
    aligned, and are known to be."""
    if run.folder.is_local:
        return parts
    aligned = aligned_parts(run, parts, range(len(index_of(run))))
    return [
        part
        for part in parts
        if part.name == "decide" or any(part.name not in aligned[k] for k in part.sidecars)
    ]


def keep(run: Run, parts: Sequence[Parts], found: Tally) -> None:
    """Let the next `tally` of these parts, in this process, give these counts; once.

    A run counts its rows for the report, and right after that for the summary on the terminal.
    """
    _kept.clear()
    _kept[_content(run, parts)] = found


def _content(run: Run, parts: Sequence[Parts]) -> str:
    shards = {part.name: [s.digest for s in part.sidecars.values()] for part in parts}
    return digest_of([run.folder.url, index_of(run).shards, shards])


def tally_of(db: duckdb.DuckDBPyConnection, table: str = "checked") -> Tally:
    """Count the rows of a table that has the columns of `checked` (`pipeline.inspect.view`)."""
    found = Tally()
    rows = db.execute(
        "SELECT verdict, reason, reasons, count(*), count(*) FILTER (aligned IS NOT TRUE), "
        f"coalesce(sum(repeats), 0)::BIGINT - count(repeats) FROM {table} GROUP BY ALL"
    ).fetchall()
    for verdict, reason, reasons, count, misaligned, repeats in rows:
        found.verdicts[verdict] += count
        found.misaligned += misaligned
        found.repeats += repeats
        if reason is not None:
            found.first[reason] += count
        carried = set(reasons or ())
        for name in carried:
            found.anywhere[name] += count
        if len(carried) == 1:
            found.alone[carried.pop()] += count
    return found
