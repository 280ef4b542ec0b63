"""What the filters did to the balance of the data: shares before and after, group by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from pipeline.inspect.plain import plain
from pipeline.inspect.view import OWN_COLUMNS, quote
from pipeline.table.columns import SHARD_COLUMNS

TOP = 8
FEW = 40
"""A text column of the input with at most this many values is a grouping of its own."""
LOW_RATE = 0.8
"""Groups kept at less than this share of the overall rate are marked: the four-fifths rule of
thumb of the US Uniform Guidelines on Employee Selection Procedures (29 CFR 1607.4 D)."""
ENOUGH = 30
"""Rows that a group needs before it is marked."""
_HOST = (
    r"lower(regexp_extract(url, "
    r"'^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?"
    r"(\[[0-9A-Fa-f:.]+\]|[^/:?#\[\]\s]+)(?:[:/?#]|$)', 1))"
)


@dataclass(frozen=True)
class Grouping:
    """A way to divide the rows: an SQL expression, and whether its groups have an order."""

    title: str
    sql: str
    ordered: bool = False
    note: str = ""


def groupings(db: duckdb.DuckDBPyConnection, extra: Sequence[str] = ()) -> list[Grouping]:
    """Those that the run's columns allow; `extra` are text columns of the input."""
    here = {str(row[0]) for row in db.execute("DESCRIBE samples").fetchall()}
    found = []
    if "language" in here:
        found.append(Grouping("Language", "language", note="as identified from the caption"))
    found.append(Grouping("Host", f"nullif({_HOST}, '')", note="the URL's host"))
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
    names = ", ".join(f"approx_count_distinct({quote(name)})" for name in extra)
    counts = db.execute(f"SELECT {names} FROM samples").fetchone() if extra else ()
    for name, count in zip(extra, counts or (), strict=True):
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


def text_columns(db: duckdb.DuckDBPyConnection, passthrough: Sequence[str]) -> list[str]:
    """The input's own text columns that the samples have."""
    known = {column.name for column in SHARD_COLUMNS} | set(OWN_COLUMNS)
    types = {str(row[0]): str(row[1]) for row in db.execute("DESCRIBE samples").fetchall()}
    return [n for n in passthrough if types.get(n) == "VARCHAR" and n not in known]


def balance(db: duckdb.DuckDBPyConnection, grouping: Grouping) -> dict[str, Any] | None:
    """Shares before (all rows that have the value) and after (kept ones), and the rate of keeping.

    `moved` is half the sum of the shares' changes (total variation): the share of the data that
    would have to change groups to restore the balance. None where no row has a value.
    """
    rows: list[tuple[str | None, int, int]] = db.execute(
        f"SELECT ({grouping.sql})::VARCHAR AS name, count(*), count(*) FILTER (verdict = 'kept') "
        "FROM samples GROUP BY 1"
        if grouping.ordered
        else _top(grouping.sql)
    ).fetchall()
    known = [row for row in rows if row[0] is not None]
    before, after = sum(row[1] for row in known), sum(row[2] for row in known)
    if not before:
        return None
    known.sort(key=lambda row: str(row[0]) if grouping.ordered else (row[0] == "", -row[1]))
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


def _top(sql: str) -> str:
    """The largest groups; the others as one group with an empty name."""
    return (
        f"WITH g AS (SELECT ({sql})::VARCHAR AS name, count(*) AS n, "
        "count(*) FILTER (verdict = 'kept') AS k FROM samples GROUP BY 1), "
        "ranked AS (SELECT *, row_number() OVER "
        "(PARTITION BY name IS NULL ORDER BY n DESC, name) AS place FROM g) "
        f"SELECT CASE WHEN name IS NULL THEN NULL WHEN place <= {TOP} THEN name ELSE '' END, "
        "sum(n)::BIGINT, sum(k)::BIGINT FROM ranked GROUP BY 1"
    )
