"""`winnow plan`: what a run would do, and why."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.config.job import Job
from pipeline.engine.plan import Node
from pipeline.engine.product import CURRENT, Status
from pipeline.engine.space import check_space
from pipeline.engine.why import short
from pipeline.inspect.outline import SAMPLED
from pipeline.inspect.plain import plain
from pipeline.table.run import Run
from pipeline.words.sizes import size

if TYPE_CHECKING:
    from pipeline.engine.runner import Prepared

VALUE = 60
"""Characters of a cell of the list that are shown at most."""


def preview(job: Job) -> dict[str, Any]:
    """For each product: keys to make, keys in all, and why; what the list is taken for, as
    `pipeline.inspect.outline` gives it; the list's own scores to judge by; what its stages say
    of the work, what else they have to say, and what its models cannot tell; and the disk space, as
    `pipeline.engine.space.Space` has it (null where it is not known). Writes nothing.

    InputError for a job that cannot be run, and for a disk that is certainly too small.
    """
    from pipeline.engine.runner import claim, prepare
    from pipeline.inspect.outline import outline

    prepared = prepare(job)
    with prepared.run.folder.hold():
        claim(prepared.run, None)
        rows, space = _rows(prepared)
    return {
        "run": prepared.run.folder.url,
        "input": outline(prepared.listing),
        "listed_scores": list(prepared.job.columns.scores),
        "stages": rows,
        "outlook": _outlook(prepared, rows),
        "notices": [said for node in prepared.plan.nodes if (said := node.stage.notice())],
        "limits": [line for node in prepared.plan.nodes for line in node.stage.limits()],
        "space": space,
    }


def _rows(prepared: "Prepared") -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """A row for each product, and the disk space."""
    run, plan = prepared.run, prepared.plan
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
    space = check_space(plan, found, lambda _: None)
    return rows, asdict(space) if space is not None else None


def _outlook(prepared: "Prepared", rows: list[dict[str, Any]]) -> list[str]:
    """What the stages that have work to do say of it."""
    index, todo = prepared.run.index, {row["stage"]: row["todo"] for row in rows}
    count = None if index is None or todo.get("ingest") != 0 else index.rows
    nodes = [node for node in prepared.plan.nodes if todo.get(node.stage.name) != 0]
    return [said for node in nodes if (said := node.stage.outlook(count))]


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
    lists = [part for entry in answer["input"] for part in _list(entry)]
    if answer["listed_scores"]:
        names = ", ".join(answer["listed_scores"])
        lists.append(Text(f"judged by the list's own scores, which are not measured: {names}\n"))
    head = Text(f"what `winnow run` would do in {answer['run']}, in shards")
    notices = [Text(f"\n{said}") for said in answer["outlook"]]
    notices += [Text(f"\n{said}", style="yellow") for said in answer["notices"]]
    limits = [Text("\n" + "\n".join(answer["limits"]), style="dim")] if answer["limits"] else []
    return Group(*lists, head, table, *notices, *_space(answer["space"]), *limits)


def _space(space: Mapping[str, int] | None) -> list[RenderableType]:
    if space is None or not space["needed"]:
        return []
    tight = space["free"] < space["needed"]
    text = f"\nabout {size(space['needed'])} more on disk, where {size(space['free'])} are free"
    return [Text(f"{text}; it may not fit" if tight else text, style="red" if tight else "")]


def _list(entry: Mapping[str, Any]) -> list[RenderableType]:
    """A line on files that are read alike, and a line for each of their columns."""
    name = entry["first"].rsplit("/", 1)[-1]
    what = f"{entry['format']}, {entry['files']:,} files from {name} on"
    if entry["files"] == 1:
        what = f"{entry['format']}, {name}"
    if "header" in entry:
        mark = {"\t": "tab"}.get(entry["delimiter"], entry["delimiter"])
        what += f", cells divided by `{mark}`, {'a' if entry['header'] else 'no'} header line"
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("column", no_wrap=True)
    table.add_column("type", no_wrap=True)
    for i in range(SAMPLED):
        table.add_column(f"row {i + 1}", no_wrap=True, ratio=1)
    for column in entry["columns"]:
        name = column["source"] or column["column"]
        name = name if isinstance(name, str) else " or ".join(name)
        if name != column["column"]:
            name = f"{plain(name, 40)} → {column['column']}"
        values = [
            "–" if value is None else plain(value, VALUE)
            for value in column["values"] + [""] * (SAMPLED - len(column["values"]))
        ]
        table.add_row(
            plain(name, 60), column["type"], *values,
            style="" if column["column"] in ("url", "caption") else "dim",
        )  # fmt: skip
    return [Text(f"the list: {what}"), table, Text("")]
