"""What the filters did to the balance of the data: shares before and after, group by group."""

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.inspect.plain import plain
from pipeline.inspect.view import OWN_COLUMNS, quote
from pipeline.table.columns import SHARD_COLUMNS, STORED_COLUMN

TOP = 8
FEW = 40
"""A text column of the input with at most this many values is a grouping of its own."""
LOW_RATE = 0.8
"""Groups kept at less than this share of the overall rate are marked: the four-fifths rule of
thumb of the US Uniform Guidelines on Employee Selection Procedures (29 CFR 1607.4 D)."""
ENOUGH = 30
"""Rows that a group needs before it is marked."""
_STATED = {
    "optout_metadata": "Reserved from training",
    "ai_generated_declared": "Made by a model",
    "license_declared": "Licence stated",
}
"""What pictures say of themselves, where some do."""
ADDED = 5_000_000
"""Groups of chunks after which those of the same key are added up."""
_ORIGIN = (
    "concat_ws('/', split_part(url, '/', 1), split_part(url, '/', 2), split_part(url, '/', 3))"
)
"""A URL up to its path. There are far fewer of these than URLs, so the slow `_HOST` is evaluated
for these and not for every URL."""
_HOST = (
    r"lower(regexp_extract(key, "
    r"'^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?"
    r"(\[[0-9A-Fa-f:.]+\]|[^/:?#\[\]\s]+)(?:[:/?#]|$)', 1))"
)


@dataclass(frozen=True)
class Grouping:
    """A way to divide the rows: by `key`, an SQL expression over a row.

    `name` is an SQL expression for the name of a key's group; several keys may share one. If the
    groups are ordered, a name is a sort key, `|`, and the text to show.
    """

    title: str
    key: str
    ordered: bool = False
    note: str = ""
    name: str = "key"


def groupings(
    db: duckdb.DuckDBPyConnection, types: Mapping[str, str], passthrough: Sequence[str]
) -> list[Grouping]:
    """Those that the run's columns allow, and the text columns of the input that have few values in
    `db`. `types` are the samples' columns and their DuckDB types."""
    here, extra = set(types), _text_columns(types, passthrough)
    found = []
    if "language" in here:
        found.append(Grouping("Language", "language", note="as identified from the caption"))
    host = f"nullif({_HOST}, '')"
    found.append(Grouping("Host", _ORIGIN, note="the URL's host", name=host))
    if "caption_words" in here:
        edges = [2, 5, 10, 20, 50]
        found.append(Grouping("Caption length", _ranges("caption_words", edges, "words"), True))
    if {"original_width", "original_height"} <= here:
        short = "least(original_width, original_height)"
        ranges = _ranges(short, [127, 255, 511, 1023], "px")
        note = "shorter side as fetched; fetched rows only"
        found.append(Grouping("Resolution", ranges, True, note))
        ratio = "original_width::DOUBLE / nullif(original_height, 0)"
        shape = (
            f"CASE WHEN {ratio} IS NULL THEN NULL WHEN {ratio} < 0.8 THEN '1|portrait' "
            f"WHEN {ratio} <= 1.25 THEN '2|about square' ELSE '3|landscape' END"
        )
        found.append(Grouping("Shape", shape, True, "fetched rows only"))
    stated = [name for name in _STATED if name in here]
    filled = ", ".join(f"count({name})" for name in stated)
    [held] = db.execute(f"SELECT {filled} FROM samples").fetchall() if stated else [()]
    note = "as the picture's own metadata says"
    found += [
        Grouping(_STATED[n], n, note=note) for n, some in zip(stated, held, strict=True) if some
    ]
    names = ", ".join(f"approx_count_distinct({quote(name)})" for name in extra)
    [counts] = db.execute(f"SELECT {names} FROM samples").fetchall() if extra else [()]
    for name, count in zip(extra, counts, strict=True):
        if 1 < count <= FEW:
            found.append(Grouping(name, quote(name), note="a column of the input"))
    return found


def _ranges(column: str, edges: Sequence[int], unit: str) -> str:
    """Ranges up to each edge and one beyond, as text that sorts in their order."""
    cases, start = [], 0
    for i, edge in enumerate(edges):
        label = f"{start}–{edge} {unit}" if i else f"up to {edge} {unit}"
        cases.append(f"WHEN {column} <= {edge} THEN '{i}|{label}'")
        start = edge + 1
    cases.append(f"WHEN {column} > {edges[-1]} THEN '{len(edges)}|over {edges[-1]} {unit}'")
    return f"CASE {' '.join(cases)} END"


def _text_columns(types: Mapping[str, str], passthrough: Sequence[str]) -> list[str]:
    known = {column.name for column in (*SHARD_COLUMNS, STORED_COLUMN)} | set(OWN_COLUMNS)
    return [n for n in passthrough if types.get(n) == "VARCHAR" and n not in known]


class Groups:
    """Rows by the keys of some groupings, added up chunk by chunk.

    They are kept in a separate database, which can spill to disk: there may be millions of hosts.
    """

    def __init__(self, ways: Sequence[Grouping]) -> None:
        self._ways = ways
        self._spill = Path(tempfile.gettempdir()) / f"winnow-groups-{uuid.uuid4().hex}"
        self._db = duckdb.connect(config={"temp_directory": str(self._spill)})
        self._db.execute("CREATE TABLE groups (way INTEGER, key VARCHAR, n BIGINT, k BIGINT)")
        self._added = 0

    def __enter__(self) -> "Groups":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, counted: pa.Table) -> None:
        """Add what `count_groups` counted."""
        self._db.register("counted", counted)
        self._db.execute("INSERT INTO groups SELECT * FROM counted")
        self._db.unregister("counted")
        self._added += counted.num_rows
        if self._added > ADDED:
            self._db.execute(
                "CREATE OR REPLACE TABLE groups AS SELECT way, key, sum(n)::BIGINT AS n, "
                "sum(k)::BIGINT AS k FROM groups GROUP BY way, key"
            )
            self._added = 0

    def balances(self) -> list[dict[str, Any]]:
        """One per grouping of which a row has a value."""
        found = (_balance(way, self._rows(i, way)) for i, way in enumerate(self._ways))
        return [balance for balance in found if balance is not None]

    def _rows(self, number: int, way: Grouping) -> list[tuple[str | None, int, int]]:
        """The groups' names with their rows and kept rows: all, or the largest `TOP` and all others
        as one with an empty name."""
        named = (
            f"WITH g AS (SELECT ({way.name})::VARCHAR AS name, sum(n)::BIGINT AS n, "
            f"sum(k)::BIGINT AS k FROM groups WHERE way = {number} GROUP BY 1) "
        )
        top = (
            ", ranked AS (SELECT *, row_number() OVER "
            "(PARTITION BY name IS NULL ORDER BY n DESC, name) AS place FROM g) "
            f"SELECT CASE WHEN name IS NULL THEN NULL WHEN place <= {TOP} THEN name ELSE '' END, "
            "sum(n)::BIGINT, sum(k)::BIGINT FROM ranked GROUP BY 1"
        )
        return self._db.execute(named + ("SELECT * FROM g" if way.ordered else top)).fetchall()


def count_groups(db: duckdb.DuckDBPyConnection, table: str, keys: Sequence[str]) -> pa.Table:
    """Rows and kept rows of a table by each of its columns `keys`; columns way, key, n, k."""
    counts = [
        f"SELECT {i}::INTEGER AS way, {quote(key)}::VARCHAR AS key, count(*) AS n, "
        f"count(*) FILTER (verdict = 'kept') AS k FROM {table} GROUP BY ALL"
        for i, key in enumerate(keys)
    ]
    return db.sql(" UNION ALL ".join(counts)).to_arrow_table()


def _balance(
    grouping: Grouping, rows: Sequence[tuple[str | None, int, int]]
) -> dict[str, Any] | None:
    """Shares before (all rows that have the value) and after (kept ones), and the rate of keeping.

    `moved` is half the sum of the shares' changes (total variation): the share of the data that
    would have to change groups to restore the balance. None where no row has a value.
    """
    known = [(name, of, kept) for name, of, kept in rows if name is not None]
    before, after = sum(row[1] for row in known), sum(row[2] for row in known)
    if not before:
        return None
    if grouping.ordered:
        known.sort()
    else:
        known.sort(key=lambda row: (row[0] == "", -row[1], row[0]))
    overall = after / before
    groups: list[dict[str, Any]] = []
    for name, all_rows, kept in known:
        label = str(name).split("|", 1)[-1] if grouping.ordered else name or "all others"
        rate = kept / all_rows
        groups.append(
            {
                "name": plain(label, 48),
                "before": all_rows,
                "after": kept,
                "share_before": all_rows / before,
                "share_after": kept / after if after else 0.0,
                "rate": rate,
                "low": bool(after and all_rows >= ENOUGH and rate < LOW_RATE * overall),
            }
        )
    moved = sum(abs(g["share_before"] - g["share_after"]) for g in groups) / 2 if after else None
    widest = max(max(g["share_before"], g["share_after"]) for g in groups)
    return {
        "title": plain(grouping.title, 48), "note": grouping.note, "groups": groups,
        "overall": overall, "moved": moved, "before": before, "after": after, "widest": widest,
        "unknown": sum(row[1] for row in rows if row[0] is None),
    }  # fmt: skip
