"""What a run would do, and why: today's recipes held against those of the last run."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.config.base import role_of
from pipeline.config.job import Job
from pipeline.exporting import Exporter
from pipeline.freshness import SHARD, why_stale
from pipeline.plan import Node, Plan, standing
from pipeline.run import Run, ShardIndex
from pipeline.stages.ingest import is_current
from pipeline.table import part_folder, read_sidecar, shard_name


def preview(job: Job) -> dict[str, Any]:
    """Per stage: shards to do, shards in all, and why. Writes nothing.

    InputError for a job that could not run.
    """
    from pipeline.runner import claim, prepare

    prepared = prepare(job)
    run, plan = prepared.run, prepared.plan
    claim(run, None)
    index = run.index
    fresh = index is None or not is_current(run, prepared.job, prepared.listing)
    stages: list[dict[str, Any]]
    if fresh or index is None:
        why = "the input has not been read yet" if index is None else "the input changed"
        stages = [{"stage": "ingest", "todo": None, "shards": None, "why": why}]
    else:
        stages = [{"stage": "ingest", "todo": 0, "shards": len(index), "why": "stands"}]
    parts = standing(plan, index) if index is not None else {}
    for node in plan.nodes:
        total = len(index) if index is not None else None
        todo = None if total is None else total - len(parts[node.name])
        why = _why(run, plan, node, todo, index, parts)
        if node.name == "download" and todo == 0:
            why = "; ".join([why, *_effort(run, prepared.job)])
        if fresh and todo == 0:
            why, todo = "stands, but for what the changed input brings", None
        stages.append({"stage": node.name, "todo": todo, "shards": total, "why": why})
    stages.append(_export(plan, parts, None if fresh else index))
    return {"run": run.folder.url, "stages": stages}


def _export(
    plan: Plan, parts: Mapping[str, Mapping[int, str]], index: ShardIndex | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"stage": "export", "todo": None, "shards": None}
    if index is None or len(parts["decide"]) < len(index):
        return {**row, "why": "waits for the verdicts"}
    exporter = Exporter.of(plan, index, parts, range(len(index)))
    total = len(exporter.slices)
    if exporter.is_finished():
        return {"stage": "export", "todo": 0, "shards": total, "why": "stands"}
    todo = total - len(exporter.standing())
    return {"stage": "export", "todo": todo, "shards": total, "why": "not written yet"}


def _why(
    run: Run, plan: Plan, node: Node, todo: int | None, index: ShardIndex | None,
    parts: Mapping[str, Mapping[int, str]],
) -> str:  # fmt: skip
    if todo == 0:
        return "stands"
    before = run.state.get("stages", {}).get(node.name)
    if before is None or index is None:
        return "not done yet"
    if before["fingerprint"] == node.fingerprint:
        return _why_not_standing(plan, node, index, parts)
    try:
        name = f"{part_folder(node.name, before['fingerprint'])}/recipe.json"
        old = json.loads(run.folder.read(name))
    except (FileNotFoundError, ValueError):
        return "its settings changed"
    changes = [
        text for key, text in _differences(old, node.recipe) if not key.startswith("upstream")
    ]
    if changes:
        return "; ".join(changes[:3]) + (" …" if len(changes) > 3 else "")
    follows = [n for n in node.upstream if old["upstream"].get(n) != node.recipe["upstream"][n]]
    return f"follows {', '.join(follows)}"


def _effort(run: Run, job: Job) -> list[str]:
    """Changed keys of the fetch that can only turn one failure into another."""
    before, now = run.job.get("download", {}), job.download.model_dump(mode="json")
    changes = [
        f"{name}: {_short(before[name])} → {_short(now[name])}"
        for name, field in type(job.download).model_fields.items()
        if role_of(field) == "effort" and name in before and before[name] != now[name]
    ]
    if not changes:
        return []
    return [*changes, "that makes nothing stale, and `winnow retry` tries failed rows again"]


def _why_not_standing(
    plan: Plan, node: Node, index: ShardIndex, parts: Mapping[str, Mapping[int, str]]
) -> str:
    """Why parts of the same settings do not stand: the words for the first shard of each reason."""
    names, told = (*node.upstream, *node.asks), []
    for shard, (_, own) in enumerate(index.shards):
        if shard in parts[node.name]:
            continue
        missing = [name for name in names if shard not in parts[name]]
        if missing:
            told.append(f"follows {', '.join(missing)}")
            continue
        due = plan.due(node, {SHARD: own, **{name: parts[name][shard] for name in names}})
        sidecar = read_sidecar(plan.run.folder.sub(node.folder), shard_name(shard))
        why = why_stale(sidecar, due) or "follows the shards' merged answer"
        if sidecar is not None and sidecar.inputs == due.inputs:
            changes = [text for _, text in _differences(sidecar.policy or {}, due.policy or {})]
            why = "; ".join([*changes[:3], "only the rows that this concerns are looked at"])
        told.append(why)
    return "; ".join(dict.fromkeys(told))


def _differences(old: Any, new: Any, key: str = "") -> list[tuple[str, str]]:
    """Changed leaves as (key, "key: old → new")."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(n for n in new if n not in old)]
        return [
            found
            for name in names
            for found in _differences(
                old.get(name), new.get(name), f"{key}.{name}" if key else str(name)
            )
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for i, (a, b) in pairs for found in _differences(a, b, f"{key}[{i}]")]
    old, new = json.loads(json.dumps(old)), json.loads(json.dumps(new))
    if old == new:
        return []
    name = key.removeprefix("settings.")
    return [(key, f"{name}: {_short(old)} → {_short(new)}")]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


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
