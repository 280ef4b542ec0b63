"""Counts everything that the page shows in one pass over a run's samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.engine.parts import Parts
from pipeline.inspect.chunks import each_chunk, first_shards
from pipeline.inspect.report.balance import Grouping, Groups, count_groups, groupings
from pipeline.inspect.report.examples import Candidates, add_candidates, candidates
from pipeline.inspect.report.facts import Margin, count_margins
from pipeline.inspect.report.histograms import (
    Axis,
    Bins,
    Lines,
    axes_of,
    count_bins,
    lines_of,
    more_axes,
    numeric,
)
from pipeline.inspect.rules import ShownRule, rules_of
from pipeline.inspect.tally import Tally, tally_of
from pipeline.inspect.view import connect, quote
from pipeline.table.run import Run
from pipeline.table.sql import free_name

SAMPLED = 100_000
"""Rows from which axes and groupings are chosen; all rows are then counted."""
COUNTED = ("uid", "shard", "row", "repeats", "verdict", "reason", "reasons", "aligned")


@dataclass(frozen=True)
class Questions:
    """What is to be counted."""

    types: Mapping[str, str]
    """The samples' columns and their DuckDB types."""
    rules: Sequence[ShownRule]
    lines: Lines
    axes: Sequence[Axis]
    ways: Sequence[Grouping]

    @classmethod
    def of(cls, run: Run, parts: Sequence[Parts]) -> "Questions":
        with connect(run, first_shards(run, SAMPLED), parts, own=True) as db:
            types = {str(r[0]): str(r[1]) for r in db.execute("DESCRIBE samples").fetchall()}
            rules = rules_of(run, list(types))
            lines = lines_of(rules)
            passthrough = list(run.index.passthrough) if run.index else []
            ways = groupings(db, types, passthrough)
            return cls(types, rules, lines, axes_of(db, types, lines), ways)


@dataclass
class Answers:
    """What was counted of all rows."""

    tally: Tally = field(default_factory=Tally)
    bins: Bins = field(default_factory=Bins)
    margins: dict[int, Margin] = field(default_factory=dict)
    axes: list[Axis] = field(default_factory=list)
    examples: Candidates = field(default_factory=dict)
    balances: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Chunk:
    tally: Tally
    bins: Bins
    margins: dict[int, Margin]
    groups: pa.Table
    candidates: Candidates


def count(run: Run, parts: Sequence[Parts], asked: Questions, nearby: bool, seed: int) -> Answers:
    """Read every chunk of the samples once. `nearby` and `seed` choose examples."""

    def one(db: duckdb.DuckDBPyConnection) -> _Chunk:
        keys = _create_table(db, asked)
        return _Chunk(
            tally_of(db, "counted"),
            count_bins(db, "counted", numeric(asked.types), asked.axes),
            count_margins(db, "counted", asked.rules),
            count_groups(db, "counted", keys),
            candidates(db, "counted", nearby, seed),
        )

    found = Answers(axes=list(asked.axes))
    with Groups(asked.ways) as groups:
        for chunk in each_chunk(run, parts, one):
            found.tally.add(chunk.tally)
            found.bins.add(chunk.bins)
            for i, margin in chunk.margins.items():
                found.margins.setdefault(i, Margin()).add(margin)
            groups.add(chunk.groups)
            add_candidates(found.examples, chunk.candidates)
        found.balances = groups.balances()
    _count_rare(run, parts, asked, found)
    return found


def _create_table(db: duckdb.DuckDBPyConnection, asked: Questions) -> list[str]:
    """Create `counted`: a chunk's rows with the columns that are counted.

    Returns the names of those that hold the groupings' keys.
    """
    columns = {quote(name): quote(name) for name in (*COUNTED, *numeric(asked.types))}
    keys = []
    for i, way in enumerate(asked.ways):
        keys.append(free_name(f"key{i}", asked.types))
        columns[keys[-1]] = way.key
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    db.execute(f"CREATE TEMP TABLE counted AS SELECT {chosen} FROM checked")
    return keys


def _count_rare(run: Run, parts: Sequence[Parts], asked: Questions, found: Answers) -> None:
    """Count the bins of columns that vary, though not in the sampled rows."""
    rare = more_axes(found.axes, found.bins.spreads, asked.types, asked.lines)
    if not rare:
        return
    columns = ", ".join(quote(axis.column) for axis in rare)

    def one(db: duckdb.DuckDBPyConnection) -> Bins:
        db.execute(f"CREATE TEMP TABLE counted AS SELECT {columns}, verdict FROM samples")
        return count_bins(db, "counted", [], rare)

    for bins in each_chunk(run, parts, one):
        found.bins.add(bins)
    found.axes += rare
