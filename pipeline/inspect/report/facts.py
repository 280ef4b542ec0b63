"""The report's figures about reasons: the funnel, and each rule with its threshold and margin."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from pipeline.inspect.plain import number
from pipeline.inspect.rules import ShownRule
from pipeline.inspect.view import literal, quote
from pipeline.measure.registry import registered, step_of
from pipeline.words.reasons import FETCH, INGEST, MEASURE, TAKEDOWN, VOCABULARY, kind_of

READING = INGEST | FETCH | MEASURE | TAKEDOWN
"""Reasons that no rule gives: not to be read or fetched, refused by the fetch, or taken down."""
LIMITS = {
    "timeout": ("connect_timeout", "first_byte_timeout", "timeout", "deadline"),
    "redirect_limit": ("max_redirects",),
    "http_rate_limited": ("retries",),
    "http_server_error": ("retries",),
    "too_large": ("max_bytes",),
    "host_failing": ("host_failures", "host_cooldown"),
    "metadata_oversize": ("max_metadata_bytes",),
    "decoder_crash": ("decode_timeout", "decode_memory_mb"),
    "image_too_small": ("min_image_size",),
    "image_too_large": ("max_image_side",),
    "image_too_many_pixels": ("max_image_pixels",),
    "image_aspect_ratio": ("max_aspect_ratio",),
}
"""The settings under `download` that a reason depends on."""
NEAR = 0.1
"""A row is near a threshold within this share of it."""
DISTANCES = 20_000
"""Rows of which the median distance to a threshold is taken. Rows are dealt to shards by their uid,
so the first ones are a fair sample."""


def funnel(
    stats: Mapping[str, Any], rules: Sequence[ShownRule], stage_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Steps from rows in to rows kept: `label`, `removed`, `left`, and `why` (the largest reasons).

    Each row leaves once, at its first reason; the steps follow the order in which rules judge.
    """
    groups: dict[str, dict[str, int]] = {}
    for reason, rows in stats["reasons"].items():
        if rows:
            groups.setdefault(_step(reason, rules, stage_of), {})[reason] = rows
    order = ["Unreadable rows", "Taken down", "Opted out", "Not fetched", "Refused by the fetch"]
    order += [_step(rule.reason, rules, stage_of) for rule in rules]
    labels = [label for label in dict.fromkeys([*order, *groups]) if label in groups]
    left = stats["ingested"]
    steps = [{"label": "Rows in", "removed": 0, "left": left, "why": [], "kind": "in"}]

    def leave(label: str, reasons: Mapping[str, int], kind: str) -> None:
        nonlocal left
        removed = sum(reasons.values())
        left -= removed
        largest = sorted(reasons.items(), key=lambda entry: -entry[1])
        steps.append(
            {"label": label, "removed": removed, "left": left, "why": largest, "kind": kind}
        )

    if stats["merged_repeats"]:
        leave("Same pair again", {"same URL and caption": stats["merged_repeats"]}, "merged")
    for label in labels:
        kinds = {kind_of(reason) for reason in groups[label]}
        leave(label, groups[label], "failed" if kinds == {"failed"} else "dropped")
    if stats["unfinished"]:
        leave("Unfinished shards", {"unfinished": stats["unfinished"]}, "unfinished")
    steps.append({"label": "Kept", "removed": 0, "left": stats["kept"], "why": [], "kind": "kept"})
    return steps


def _step(reason: str, rules: Sequence[ShownRule], stage_of: Mapping[str, str]) -> str:
    if reason in INGEST:
        return "Unreadable rows"
    if reason in TAKEDOWN:
        return "Taken down"
    if reason.startswith("opted_out_"):
        return "Opted out"
    if reason in FETCH:
        return "Not fetched" if kind_of(reason) == "failed" else "Refused by the fetch"
    if reason in MEASURE:
        return "Not measurable"
    if reason == "duplicate":
        return step_of("dedup")
    if reason == "not_measured":
        return "Left out by only_if"
    columns = [name for rule in rules if rule.reason == reason for name in rule.columns]
    stages = [stage_of[name] for name in columns if name in stage_of]
    latest = [name for name in registered() if name in stages]
    return step_of(latest[-1] if latest else "")


def reason_rows(
    stats: Mapping[str, Any],
    rules: Sequence[ShownRule],
    margins: Mapping[int, Mapping[str, Any]],
    job: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """One entry per reason that took a row or has a rule, in the order of judgement.

    `rules` holds each rule's SQL, `if_null` and, of those in `margins`, the margin; `limit` the
    settings that a reason of the fetch depends on.
    """
    found = list(stats["reasons_any"])
    names = [name for name in found if name in READING]
    names = list(dict.fromkeys([*names, *(rule.reason for rule in rules), *found]))
    total = max(1, stats["ingested"])
    return [
        {
            "name": name,
            "kind": kind_of(name),
            "meaning": VOCABULARY[name].text if name in VOCABULARY else "A rule of this job.",
            "limit": _limit(name, job),
            "rows": stats["reasons"].get(name, 0),
            "share": stats["reasons"].get(name, 0) / total,
            "anywhere": stats["reasons_any"].get(name, 0),
            "alone": stats["reasons_alone"].get(name, 0),
            "rules": [
                {"when": rule.when, "if_null": rule.if_null, "margin": margins.get(i)}
                for i, rule in enumerate(rules)
                if rule.reason == name
            ],
        }
        for name in names
    ]


def _limit(reason: str, job: Mapping[str, Any]) -> str:
    download = job.get("download") or {}
    settings = [name for name in LIMITS.get(reason, ()) if name in download]
    return ", ".join(f"{name} {number(download[name])}" for name in settings)


@dataclass
class Margin:
    """Rows near the only threshold of a rule: of all rows, or of a chunk."""

    distances: list[float] = field(default_factory=list)
    """From the threshold, of rows that the rule dropped: the first `DISTANCES`."""
    beyond: int = 0
    """Rows past the threshold, within `NEAR` of it."""
    short: int = 0
    """Rows not past the threshold, within `NEAR` of it."""

    def add(self, other: "Margin") -> None:
        self.distances += other.distances[: DISTANCES - len(self.distances)]
        self.beyond += other.beyond
        self.short += other.short


def count_margins(
    db: duckdb.DuckDBPyConnection, table: str, rules: Sequence[ShownRule]
) -> dict[int, Margin]:
    """By the number of each rule that has exactly one threshold."""
    asked = {i: rule for i, rule in enumerate(rules) if len(rule.thresholds) == 1}
    parts = []
    for rule in asked.values():
        (line,) = rule.thresholds
        column, band = f"{quote(line.column)}::DOUBLE", abs(line.value) * NEAR
        distance, beyond = f"abs({column} - {line.value!r})", f"{column} {line.op} {line.value!r}"
        taken = f"list_contains(reasons, {literal(rule.reason)}) AND {beyond}"
        parts.append(
            f"(list({distance}) FILTER (WHERE {taken}))[:{DISTANCES}], "
            f"count(*) FILTER (WHERE {beyond} AND {distance} <= {band!r}), "
            f"count(*) FILTER (WHERE NOT ({beyond}) AND {distance} <= {band!r})"
        )
    if not parts:
        return {}
    (row,) = db.execute(f"SELECT {', '.join(parts)} FROM {table}").fetchall()
    return {
        i: Margin(row[3 * k] or [], row[3 * k + 1], row[3 * k + 2]) for k, i in enumerate(asked)
    }


def margins_of(
    margins: Mapping[int, Margin], rules: Sequence[ShownRule], types: Mapping[str, str]
) -> dict[int, dict[str, Any]]:
    """By the rule's number: the median distance of the dropped rows from the threshold.

    If the rule is only this threshold, and it is no small count, also how many rows are within
    `NEAR` of it on either side: these could change with a slightly different threshold.
    """
    found = {}
    for i, margin in margins.items():
        (line,) = rules[i].thresholds
        whole = "INT" in types[line.column].upper()
        is_all = len(rules[i].columns) == 1 and line.value != 0
        shown = is_all and (not whole or abs(line.value) * NEAR >= 1)
        if margin.distances:
            found[i] = {
                "median": number(statistics.median(margin.distances)),
                "band": number(abs(line.value) * NEAR),
                "beyond": margin.beyond if shown else None,
                "short": margin.short if shown else None,
            }
    return found
