"""The figures of a run, recomputed from its files, and the law that they must obey."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.engine.damage import check_tables
from pipeline.engine.parts import Parts, columns_of, index_of, product_parts
from pipeline.inspect.exported import exported
from pipeline.inspect.tally import Tally, tally
from pipeline.table.run import Run
from pipeline.words.reasons import FETCH, INGEST, MEASURE, TAKEDOWN, VOCABULARY, kind_of

STYLES = {"kept": "green", "dropped": "yellow", "failed": "red", "unfinished": "magenta"}


def stats(run: Run) -> dict[str, Any]:
    """The run's counts, from the Parquet files of its shards and parts.

    Keys: `ingested` (rows of the input), `merged_repeats`, `kept`, `dropped`, `failed`,
    `unfinished` (rows of shards that a stage has not finished), `reasons` {reason: rows by their
    first reason}, `reasons_any` {reason: rows that carry it anywhere}, `reasons_alone` {reason:
    rows that carry no other}, `stages` {name: {rows, shards, seconds, peak_memory_mb, cached,
    counts (what the stage counted, by name)}},
    `shards`, `misaligned` (rows where a part holds another uid), `export` {folder, rows, shards,
    bytes} or null, `quarantined`, `finished`, `alarms` (texts: no row is kept, or most failed), and
    `conserved`: whether ingested = merged_repeats + kept + dropped + failed + unfinished with every
    part aligned.

    Raises InputError if the input has not been dealt into shards yet, and DamagedError if a table
    is not as it was written (on an object store, tables of parts alone).
    """
    with run.folder.hold():
        parts = product_parts(run)
        check_tables(run, columns_of(parts))
        return account(run, parts, tally(run, columns_of(parts)))


def account(run: Run, parts: Sequence[Parts], found: Tally) -> dict[str, Any]:
    """`stats` of a run whose rows have been counted; `parts` are those of all products."""
    index, state = index_of(run), run.state
    totals = {name: found.verdicts[name] for name in ("kept", "dropped", "failed", "unfinished")}
    first, carried, alone = found.first, found.anywhere, found.alone
    order = _order(run, {*first, *carried})
    rows = sum(totals.values()) - totals["unfinished"]
    return {
        "ingested": index.rows_in,
        "merged_repeats": found.repeats,
        **totals,
        "conserved": found.misaligned == 0
        and index.rows_in == found.repeats + sum(totals.values()),
        "misaligned": found.misaligned,
        "reasons": {reason: first[reason] for reason in order if reason in first},
        "reasons_any": {reason: carried.get(reason, first.get(reason, 0)) for reason in order},
        "reasons_alone": {reason: alone.get(reason, 0) for reason in order},
        "stages": {part.name: _stage(part) for part in parts},
        "shards": len(index),
        "export": exported(run),
        "quarantined": state.get("quarantined", []),
        "finished": state.get("finished"),
        "alarms": _alarms(run, rows, totals, first),
    }


def _alarms(run: Run, rows: int, totals: Mapping[str, int], first: Mapping[str, int]) -> list[str]:
    """What a user must not overlook: no row is kept, or most of them failed."""
    if not rows or (totals["kept"] and totals["failed"] * 2 <= rows):
        return []
    reasons = [name for name in first if totals["kept"] == 0 or kind_of(name) == "failed"]
    reason = max(reasons, key=lambda name: first[name])
    meaning = VOCABULARY[reason].text if reason in VOCABULARY else "a rule of this job"
    what = "no row is kept"
    if totals["kept"]:
        what = f"{totals['failed']:,} of {rows:,} rows failed"
    return [
        f"{what}: {first[reason]:,} of {rows:,} have the reason {reason} ({meaning.rstrip('.')}); "
        f'see some with: winnow sql {run.folder.url} "select * from samples where reason = '
        f"'{reason}' limit 3\""
    ]


def _stage(part: Parts) -> dict[str, Any]:
    return {
        "rows": part.rows,
        "shards": len(part.sidecars),
        "seconds": part.seconds,
        "peak_memory_mb": part.peak_memory_mb,
        "cached": part.cached,
        "counts": part.counts,
    }


def _order(run: Run, found: set[str]) -> list[str]:
    """Those of reading and fetching first, then the job's rules in their order, then the rest."""
    rules = [rule["reason"] for rule in run.job.get("rules") or []]
    first = [*INGEST, *TAKEDOWN, *FETCH, *MEASURE]
    known = dict.fromkeys([*first, *rules, *VOCABULARY, *sorted(found)])
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
    lines += [Text(f"! {alarm}", style="bold red") for alarm in stats["alarms"]]
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
