"""How much space the rest of a run takes on its disk, estimated from the parts that are there."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.engine.plan import Node, Plan
from pipeline.engine.product import Status
from pipeline.table.disk import free_space
from pipeline.table.part import Sidecar, part_folder, read_sidecars, shard_name
from pipeline.words.errors import InputError
from pipeline.words.sizes import size

_USUAL = {"captions": 60, "download": 25_000, "embed": 2_200}
"""Bytes per row with the default settings, for stages of which a run has no part yet."""
_OTHER = 60
_SAMPLED = 16
"""Parts of a stage that are looked at: their sizes differ little."""


@dataclass(frozen=True)
class Space:
    """Bytes: the `free` ones of the run's disk, and those `needed` for the rest of the run.

    `measured` is the share of the needed ones that follows from parts of this run, made with the
    same or with other settings; the rest is what such parts usually take.
    """

    free: int
    needed: int
    measured: int


def space_for_rest(plan: Plan, statuses: Mapping[str, Status]) -> Space | None:
    """None on an object store, and before the input is dealt into shards."""
    index, path = plan.run.index, plan.run.folder.local_path
    if index is None or path is None or (free := free_space(path)) is None:
        return None
    needed = measured = 0.0
    of_stage: dict[str, list[Sidecar]] = {}
    for node in plan.nodes:
        of_stage[node.name] = found = _parts(plan, node, statuses)
        made = statuses[node.name].digests if node.name in statuses else {}
        rows = sum(count for shard, (count, _) in enumerate(index.shards) if shard not in made)
        own = _bytes_per_row(found)
        needed += rows * (own if own is not None else _USUAL.get(node.name, _OTHER))
        measured += rows * (own or 0)
    if "export" in statuses and not statuses["export"].current:
        pictures = _bytes_per_row(of_stage.get("download", []))
        kept = _kept_share(of_stage.get("decide", []))
        needed += index.rows * (pictures or _USUAL["download"]) * (1 if kept is None else kept)
        measured += index.rows * (pictures or 0) * (kept or 0)
    return Space(free, round(needed), round(measured))


def check_space(space: Space | None, folder: str) -> str | None:
    """A sentence for the user if the rest of the run may not fit on its disk, else None.

    InputError if it certainly will not: if not even half of what its own parts show is free.
    """
    if space is None or space.free >= space.needed:
        return None
    text = f"{folder} needs about {size(space.needed)} more, and {size(space.free)} are free"
    if space.free < space.measured / 2:
        raise InputError(f"{text}; free some space, or give the job another `output`")
    return f"{text}; it may not fit"


def _parts(plan: Plan, node: Node, statuses: Mapping[str, Status]) -> list[Sidecar]:
    """Some parts of the stage: those of today's settings, else of others."""
    made = sorted(statuses[node.name].digests if node.name in statuses else ())
    folders = {node.folder: [shard_name(shard) for shard in made[:_SAMPLED]]}
    if not made:
        for name in plan.run.folder.names("parts"):
            place = f"parts/{name}"
            if place.startswith(part_folder(node.name, "")):
                there = plan.run.folder.sub(place).names()
                numbers = [one.removesuffix(".json") for one in there if one.endswith(".json")]
                folders[place] = [one for one in numbers if one.isdecimal()][:_SAMPLED]
    for place, names in folders.items():
        read = read_sidecars(plan.run.folder.sub(place), names)
        if found := [one for one in read if one is not None and one.rows]:
            return found
    return []


def _bytes_per_row(parts: list[Sidecar]) -> float | None:
    rows = sum(one.rows for one in parts)
    return sum(sum(one.files.values()) for one in parts) / rows if rows else None


def _kept_share(parts: list[Sidecar]) -> float | None:
    rows = sum(one.rows for one in parts)
    return sum(one.summary.get("kept", 0) for one in parts) / rows if rows else None
