"""Gather what the page shows, in a few passes over the samples, and write it whole."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml

from pipeline.engine.parts import Parts, columns_of, index_of, product_parts, schema_of
from pipeline.inspect.report.counting import Questions, count
from pipeline.inspect.report.examples import (
    NO_GROUPS,
    PER_REASON,
    SHARDS,
    cards,
    choose_groups,
)
from pipeline.inspect.report.facts import READING, funnel, margins_of, reason_rows
from pipeline.inspect.report.histograms import Histogram, histograms
from pipeline.inspect.report.pictures import thumbnail
from pipeline.inspect.report.product import PAGE
from pipeline.inspect.stats import account, law
from pipeline.inspect.tally import keep
from pipeline.inspect.view import connect
from pipeline.table.part import shard_name
from pipeline.table.run import JOB_SUM, Run
from pipeline.table.sealed import unseal
from pipeline.words.arithmetic import arithmetic_lines

GRID_SIDE = 1_000
LARGE = 1_000_000
"""Rows from which the steps are printed to stderr."""


def write_report(run: Run, seed: int = 0) -> str:
    """Write `report.html` into the run folder, whole or not at all; its path.

    The page needs no network. `seed` chooses the examples. InputError if the input has not been
    dealt into shards yet.
    """
    values = gather(run, seed)
    from pipeline.inspect.report.page import render

    run.folder.write(PAGE, render(values).encode())
    return run.folder.path(PAGE)


def gather(run: Run, seed: int) -> dict[str, Any]:
    """Everything the page shows, as plain values and Bokeh items."""
    # Bokeh and Jinja take a second, in Python; this thread meanwhile waits for DuckDB.
    with ThreadPoolExecutor(1) as beside:
        return _gather(run, seed, beside)


def _load_what_draws() -> None:
    from pipeline.inspect.report import page, plots  # noqa: F401

    page.template()


def _gather(run: Run, seed: int, beside: ThreadPoolExecutor) -> dict[str, Any]:
    products = product_parts(run)
    parts = columns_of(products)
    report_step = _step_reporter(run)
    report_step("counting")
    asked = Questions.of(run, parts)
    loaded = beside.submit(_load_what_draws)
    few_shards = len(index_of(run)) > SHARDS[run.folder.is_local]
    counted = count(run, parts, asked, few_shards, seed)
    keep(run, parts, counted.tally)
    stats, rules = account(run, products, counted.tally), asked.rules
    margins = margins_of(counted.margins, rules, asked.types)
    reasons = reason_rows(stats, rules, margins, run.job)
    found, constant = histograms(counted.axes, counted.bins, asked.lines)
    loaded.result()
    drawn = beside.submit(lambda: [_shown(histogram) for histogram in found])
    report_step("examples")
    groups = NO_GROUPS
    if counted.bins.has_values("dup_sim"):  # which every member of a group has
        with connect(run, parts=parts, own=True) as db:
            groups = choose_groups(db, seed)
    chosen = {name: [place for _, place in some] for name, some in counted.examples.items()}
    places = {place for some in (*chosen.values(), *groups["groups"].values()) for place in some}
    shown = cards(run, parts, rules, places)
    thresholds = {line.column for rule in rules for line in rule.thresholds}
    return {
        "name": run.job.get("name") or run.folder.url.rsplit("/", 1)[-1],
        "stats": stats,
        "law": law(stats),
        "funnel": funnel(stats, rules, _stage_of(run, parts)),
        "judged": [r for r in reasons if r["name"] not in READING],
        "fetched": [r for r in reasons if r["name"] in READING],
        "histograms": [h for h in drawn.result() if h["column"] in thresholds],
        "more_histograms": [h for h in drawn.result() if h["column"] not in thresholds],
        "constant": constant,
        "examples": {
            name: [shown[place] for place in some if place in shown]
            for name, some in chosen.items()
        },
        "per_reason": PER_REASON,
        "few_shards": few_shards,
        "seed": seed,
        "groups": [[shown[p] for p in some if p in shown] for some in groups["groups"].values()],
        "group_sizes": groups["sizes"],
        "group_kinds": groups["kinds"],
        "searched": _searched(stats),
        "balance": counted.balances,
        "models": _models(run.state),
        "provenance": (provenance := _json(run, "provenance.json")),
        "arithmetic": arithmetic_lines(provenance),
        "job": _yaml({k: v for k, v in run.job.items() if k not in ("rules", "job_file", JOB_SUM)}),
        **training(run),
    }


def _searched(stats: Mapping[str, Any]) -> dict[str, Any] | None:
    """How many pairs were laid on each other; None if the job does not do that."""
    counts = stats["stages"].get("pairs", {}).get("counts", {})
    names = ("checked", "aligned", "unchecked")
    if "checked" not in counts:
        return None
    found: dict[str, Any] = {"recall": None, **{name: counts[name] for name in names}}
    if sampled := counts.get("sampled", 0):
        from scipy.stats import binomtest

        there = binomtest(sampled - counts["missed"], sampled)
        low, high = there.proportion_ci(method="wilson")
        found["recall"] = (
            f"{sampled:,} pairs of near neighbours in an exact search for 256 pictures, the "
            f"search itself found {1 - counts['missed'] / sampled:.1%} "
            f"({low:.1%}–{high:.1%}, 95 % interval)"
        )
    return found


def _step_reporter(run: Run) -> Callable[[str], None]:
    index = run.index
    large = index is not None and index.rows >= LARGE

    def report_step(step: str) -> None:
        if large:
            print(f"report: {step}", file=sys.stderr)

    return report_step


def _stage_of(run: Run, parts: Sequence[Parts]) -> dict[str, str]:
    """Which stage makes a column."""
    found: dict[str, str] = {}
    for part in parts:
        if part.sidecars:
            names = schema_of(run, f"{part.folder}/{shard_name(min(part.sidecars))}.parquet").names
            found |= {name: part.name for name in names if name != "uid"}
    return found


def _shown(histogram: Histogram) -> dict[str, Any]:
    from pipeline.inspect.report import plots

    return {
        "column": histogram.column,
        "item": plots.histogram_item(histogram),
        "lines": [text for _, text in histogram.lines],
        "nulls": histogram.nulls,
        "cut": histogram.cut,
        "steep": plots.is_steep(histogram),
        "log_x": histogram.log_x,
    }


def _models(state: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"stage": name, "model": model, "digest": digest}
        for name, product in state.get("products", {}).items()
        for model, digest in (product.get("models") or {}).items()
    ]


def _json(run: Run, name: str) -> dict[str, Any]:
    try:
        return unseal(run.folder.read(name))
    except (FileNotFoundError, ValueError):
        return {}


def _yaml(job: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(job), sort_keys=False, allow_unicode=True)


def _lines(run: Run, name: str) -> list[dict[str, Any]]:
    """The whole JSON lines of a log; one that is being written is left out."""
    if not run.folder.exists(name):
        return []
    found = []
    for line in run.folder.read(name).decode(errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def training(run: Run) -> dict[str, Any]:
    """The loss curve and the sheet of samples, where the run has them."""
    from pipeline.inspect.report import plots

    log = [line for line in _lines(run, "train/log.jsonl") if "loss" in line and "step" in line]
    drawn = _lines(run, "samples/samples.jsonl")
    sheet = None
    if run.folder.exists("samples/grid.png"):
        sheet = thumbnail(run.folder.read("samples/grid.png"), GRID_SIDE)
    kept = [line for line in drawn if line.get("kept")]
    return {
        "loss": plots.loss_item([x["step"] for x in log], [x["loss"] for x in log])
        if log
        else None,
        "loss_ends": (log[0], log[-1]) if log else None,
        "sheet": sheet,
        "prompts": list(dict.fromkeys(str(line.get("prompt")) for line in drawn)),
        "drawn": len(drawn),
        "sheet_kept": len(kept),
        "unsafe": sum(bool(line.get("unsafe")) for line in drawn),
    }
