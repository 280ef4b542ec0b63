"""What a run would do, and why."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.config.base import role_of
from pipeline.config.job import Job
from pipeline.product import STANDS, Standing
from pipeline.run import Run
from pipeline.why import short


def preview(job: Job) -> dict[str, Any]:
    """Per product: keys to do, keys in all, and why. Writes nothing.

    InputError for a job that could not run.
    """
    from pipeline.runner import claim, prepare

    prepared = prepare(job)
    run, plan = prepared.run, prepared.plan
    claim(run, None)
    found: dict[str, Standing] = {}
    rows: list[dict[str, Any]] = []
    for product in prepared.products:
        why = product.why(plan, found)
        standing = found[product.name] = product.look(plan, found)
        todo, total = None, standing.total
        if total is not None:
            todo = total - len(standing.digests) or int(standing.unfinished)
        if product.name == "download" and todo == 0:
            why = "; ".join([why, *_effort(run, prepared.job)])
        row: dict[str, Any] = {"stage": product.name, "todo": todo, "shards": total, "why": why}
        if product.keys == "one":
            row["shards"] = None
        elif rows and rows[0]["todo"] != 0:
            # The list is read anew, which may bring shards and take some away.
            row["todo"] = None
            row["why"] = why if why != STANDS else "stands, but for what the changed input brings"
        rows.append(row)
    return {"run": run.folder.url, "stages": rows}


def _effort(run: Run, job: Job) -> list[str]:
    """Changed keys of the fetch that can only turn one failure into another."""
    before, now = run.job.get("download", {}), job.download.model_dump(mode="json")
    changes = [
        f"{name}: {short(before[name])} → {short(now[name])}"
        for name, field in type(job.download).model_fields.items()
        if role_of(field) == "effort" and name in before and before[name] != now[name]
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
