"""The figures of a run, recomputed from its files, and the law that they must obey."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.engine.parts import Parts, index_of, product_parts, stage_parts
from pipeline.inspect.exported import exported
from pipeline.inspect.view import connect
from pipeline.table.run import Run
from pipeline.words.reasons import FETCH, INGEST, TAKEDOWN, VOCABULARY, kind_of

STYLES = {"kept": "green", "dropped": "yellow", "failed": "red", "unfinished": "magenta"}


def stats(run: Run) -> dict[str, Any]:
    """The run's counts, from the Parquet files of its shards and parts.

    Keys: `ingested` (rows of the input), `merged_repeats`, `kept`, `dropped`, `failed`,
    `unfinished` (rows of shards that a stage has not finished), `reasons` {reason: rows by their
    first reason}, `reasons_any` {reason: rows that carry it anywhere}, `reasons_alone` {reason:
    rows that carry no other}, `stages` {name: {rows, shards, seconds, peak_memory_mb, cached}},
    `shards`, `misaligned` (rows where a part holds another uid), `export` {folder, rows, shards,
    bytes} or null, `quarantined`, `finished`, and `conserved`: whether
    ingested = merged_repeats + kept + dropped + failed + unfinished with every part aligned.

    Raises InputError if the input has not been dealt into shards yet.
    """
    parts = stage_parts(run)
    with connect(run, parts=parts) as db:
        return count(run, db, parts)


def count(run: Run, db: duckdb.DuckDBPyConnection, parts: Sequence[Parts]) -> dict[str, Any]:
    """`stats` over a database that is open already."""
    index, state = index_of(run), run.state
    groups = db.execute(
        "SELECT verdict, reason, count(*), sum(repeats - 1)::BIGINT, "
        "count(*) FILTER (WHERE aligned IS NOT TRUE), "
        "count(*) FILTER (WHERE len(list_distinct(reasons)) = 1) "
        "FROM checked GROUP BY ALL"
    ).fetchall()
    carried: dict[str, int] = dict(
        db.execute(
            "SELECT reason, count(*) FROM (SELECT unnest(list_distinct(reasons)) AS reason "
            "FROM samples) GROUP BY 1"
        ).fetchall()
    )
    totals = dict.fromkeys(("kept", "dropped", "failed", "unfinished"), 0)
    first: dict[str, int] = {}
    alone: dict[str, int] = {}
    for verdict, reason, rows, _, _, single in groups:
        totals[verdict] += rows
        if reason is not None:
            first[reason] = first.get(reason, 0) + rows
            alone[reason] = alone.get(reason, 0) + single
    merged = sum(group[3] or 0 for group in groups)
    misaligned = sum(group[4] for group in groups)
    order = _order(run, {*first, *carried})
    return {
        "ingested": index.rows_in,
        "merged_repeats": merged,
        **totals,
        "conserved": misaligned == 0 and index.rows_in == merged + sum(totals.values()),
        "misaligned": misaligned,
        "reasons": {reason: first[reason] for reason in order if reason in first},
        "reasons_any": {reason: carried.get(reason, first.get(reason, 0)) for reason in order},
        "reasons_alone": {reason: alone.get(reason, 0) for reason in order},
        "stages": {part.name: _stage(part) for part in product_parts(run)},
        "shards": len(index),
        "export": exported(run),
        "quarantined": state.get("quarantined", []),
        "finished": state.get("finished"),
    }


def _stage(part: Parts) -> dict[str, Any]:
    return {
        "rows": part.rows,
        "shards": len(part.sidecars),
        "seconds": part.seconds,
        "peak_memory_mb": part.peak_memory_mb,
        "cached": part.cached,
    }


def _order(run: Run, found: set[str]) -> list[str]:
    """Those of reading and fetching first, then the job's rules in their order, then the rest."""
    rules = [rule["reason"] for rule in run.job.get("rules") or []]
    known = dict.fromkeys([*INGEST, *TAKEDOWN, *FETCH, *rules, *VOCABULARY, *sorted(found)])
    return [reason for reason in known if reason in found]


def law(stats: Mapping[str, Any]) -> str:
    """The conservation law in one line, with this run's figures."""
    terms = [("kept", stats["kept"]), ("dropped", stats["dropped"]), ("failed", stats["failed"])]
    if stats["merged_repeats"]:
        terms.append(("repeats merged", stats["merged_repeats"]))
    if stats["unfinished"]:
        terms.append(("unfinished", stats["unfinished"]))
    right = " + ".join(f"{rows:,} {word}" for word, rows in terms)
    if stats["conserved"]:
        return f"{stats['ingested']:,} rows in = {right}"
    if stats["misaligned"]:
        return (
            f"{stats['misaligned']:,} rows stand beside another row's measurements: "
            "a part was changed from outside"
        )
    gap = stats["ingested"] - sum(rows for _, rows in terms)
    return f"{stats['ingested']:,} rows in ≠ {right}: {abs(gap):,} rows {_gap(gap)}"


def _gap(gap: int) -> str:
    return "unaccounted for" if gap > 0 else "too many"


def render(stats: Mapping[str, Any]) -> RenderableType:
    """For the terminal: the law, the reasons, the stages."""
    lines: list[RenderableType] = []
    good = stats["conserved"]
    lines.append(
        Text(("✓ " if good else "✗ ") + law(stats), style="bold green" if good else "bold red")
    )
    lines.append(_reasons(stats))
    if stats["stages"]:
        lines.append(_stages(stats["stages"]))
    if (export := stats["export"]) is not None:
        text = f"export: {export['rows']:,} rows in {export['shards']:,} shards, {export['folder']}"
        lines.append(Text(text))
    for entry in stats["quarantined"]:
        place = f"{entry.get('stage')} shard {entry.get('shard')}"
        lines.append(Text(f"quarantined: {place}: {entry.get('error')}", style="red"))
    return Group(*lines)


def _reasons(stats: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("reason")
    table.add_column("kind")
    for name in ("rows", "share", "anywhere", "alone"):
        table.add_column(name, justify="right")
    total = max(1, stats["ingested"])

    def add(name: str, kind: str, rows: int, *more: str) -> None:
        style = STYLES.get(kind, "")
        table.add_row(name, Text(kind, style=style), f"{rows:,}", f"{rows / total:.1%}", *more)

    add("kept", "kept", stats["kept"])
    for reason, anywhere in stats["reasons_any"].items():
        more = (f"{anywhere:,}", f"{stats['reasons_alone'].get(reason, 0):,}")
        add(reason, kind_of(reason), stats["reasons"].get(reason, 0), *more)
    if stats["merged_repeats"]:
        add("merged repeats", "", stats["merged_repeats"])
    if stats["unfinished"]:
        add("unfinished", "unfinished", stats["unfinished"])
    return table


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("rows", "shards", "seconds", "rows/s", "peak MB"):
        table.add_column(name, justify="right")
    table.add_column("")
    for name, stage in stages.items():
        speed = f"{stage['rows'] / stage['seconds']:,.0f}" if stage["seconds"] else "–"
        table.add_row(
            name, f"{stage['rows']:,}", f"{stage['shards']:,}", f"{stage['seconds']:,.1f}", speed,
            f"{stage['peak_memory_mb']:,.0f}", "cached" if stage["cached"] else "",
        )  # fmt: skip
    return table
