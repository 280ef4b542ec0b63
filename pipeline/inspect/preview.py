"""`winnow plan`: what a run would do, and why."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.config.job import Job
from pipeline.engine.plan import Node
from pipeline.engine.product import CURRENT, Status
from pipeline.engine.why import short
from pipeline.table.run import Run


def preview(job: Job) -> dict[str, Any]:
    """For each product: keys to make, keys in all, and why. Writes nothing.

    InputError for a job that cannot be run.
    """
    from pipeline.engine.runner import claim, prepare

    prepared = prepare(job)
    run, plan = prepared.run, prepared.plan
    claim(run, None)
    found: dict[str, Status] = {}
    rows: list[dict[str, Any]] = []
    for product in prepared.products:
        status = product.status(plan, found)
        why = CURRENT if status.current else product.why(plan, found)
        found[product.name] = status
        todo, total = None, status.total
        if total is not None:
            todo = total - len(status.digests) or int(status.unfinished)
        if todo == 0 and product.name in plan.by_name:
            why = "; ".join([why, *_effort(run, plan.by_name[product.name])])
        row: dict[str, Any] = {"stage": product.name, "todo": todo, "shards": total, "why": why}
        if product.keys == "one":
            row["shards"] = None
        elif rows and rows[0]["todo"] != 0:
            # The list is read again, which may add shards and remove some.
            row["todo"] = None
            row["why"] = why if why != CURRENT else "up to date, except for what the input changes"
        rows.append(row)
    return {"run": run.folder.url, "stages": rows}


def _effort(run: Run, node: Node) -> list[str]:
    """Changed keys of the stage that can only turn one failure into another."""
    changes = [
        f"{name}: {short(old)} → {short(new)}"
        for name, (old, new) in node.stage.changed_effort(run.job).items()
    ]
    if not changes:
        return []
    return [*changes, "that makes nothing stale, and `winnow retry` tries failed rows again"]


def render(answer: Mapping[str, Any]) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("to do", justify="right")
    table.add_column("why")
    for row in answer["stages"]:
        if row["todo"] is None:
            share = "?"
        else:
            share = f"{row['todo']} of {row['shards']}" if row["shards"] else str(row["todo"])
        table.add_row(row["stage"], share, row["why"], style="dim" if row["todo"] == 0 else "")
    return Group(Text(f"what `winnow run` would do in {answer['run']}, in shards"), table)
