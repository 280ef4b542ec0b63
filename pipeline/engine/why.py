"""Why parts are stale, in words for a user: compares today's recipe with that of the last run."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.engine.product import CURRENT, Status
from pipeline.table.freshness import INGEST, why_stale
from pipeline.table.part import part_folder, read_sidecar, shard_name
from pipeline.table.sealed import unseal

if TYPE_CHECKING:
    from pipeline.engine.plan import Node, Plan


def why_parts(plan: "Plan", node: "Node", before: Mapping[str, Status]) -> str:
    """Why not all parts of a stage are up to date; `CURRENT` if they are."""
    status = node.status(plan, before)
    if status.current:
        return CURRENT
    last = plan.run.state.get("products", {}).get(node.name)
    if last is None or not before["ingest"].digests:
        return "not done yet"
    if last["fingerprint"] == node.fingerprint:
        return _why_not_current(plan, node, before, status)
    try:
        name = f"{part_folder(node.name, last['fingerprint'])}/recipe.json"
        old = unseal(plan.run.folder.read(name))
    except (FileNotFoundError, ValueError):
        return "its settings changed"
    changes = [
        text for key, text in differences(old, node.recipe) if not key.startswith("upstream")
    ]
    if changes:
        return "; ".join(changes[:3]) + (" …" if len(changes) > 3 else "")
    changed = [n for n in node.upstream if old["upstream"].get(n) != node.recipe["upstream"][n]]
    return f"{', '.join(changed)} changed"


def _why_not_current(
    plan: "Plan", node: "Node", before: Mapping[str, Status], status: Status
) -> str:
    """Why parts of the same settings are stale: each reason once, in the words of a first shard."""
    names, reasons = (INGEST, *node.upstream, *node.mask_upstream), []
    for shard in before[INGEST].digests:
        if shard in status.digests:
            continue
        missing = [name for name in names if shard not in before[name].digests]
        if missing:
            reasons.append(f"waits for {', '.join(missing)}")
            continue
        expected = plan.expected(node, {name: before[name].digests[shard] for name in names})
        sidecar = read_sidecar(plan.run.folder.sub(node.folder), shard_name(shard))
        why = why_stale(sidecar, expected) or "the merged partitions changed"
        if sidecar is not None and sidecar.inputs == expected.inputs:
            changes = [text for _, text in differences(sidecar.policy or {}, expected.policy or {})]
            why = "; ".join([*changes[:3], "only the rows that this concerns are done again"])
        reasons.append(why)
    return "; ".join(dict.fromkeys(reasons))


def differences(old: Any, new: Any, key: str = "") -> list[tuple[str, str]]:
    """Changed leaves as (key, "key: old → new")."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(n for n in new if n not in old)]
        return [
            found
            for name in names
            for found in differences(
                old.get(name), new.get(name), f"{key}.{name}" if key else str(name)
            )
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for i, (a, b) in pairs for found in differences(a, b, f"{key}[{i}]")]
    old, new = json.loads(json.dumps(old)), json.loads(json.dumps(new))
    if old == new:
        return []
    name = key.removeprefix("settings.")
    return [(key, f"{name}: {short(old)} → {short(new)}")]


def short(value: Any) -> str:
    """A value as at most 60 characters of text."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
