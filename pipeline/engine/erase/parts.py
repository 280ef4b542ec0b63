"""Emptying rows in the stages' parts, whatever stage and settings made them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.engine.erase.rows import numbers, rows_of
from pipeline.engine.merging import MERGED, is_of_whole
from pipeline.engine.patches import marked
from pipeline.ingest.rows import blank
from pipeline.measure.download import fetch_summary
from pipeline.table.freshness import INGEST, Expected, why_stale
from pipeline.table.parquet import read_parquet, write_parquet
from pipeline.table.part import (
    Sidecar,
    file_digest,
    part_digest,
    part_folder,
    read_sidecar,
    shard_name,
    versions_of,
)
from pipeline.table.run import Run
from pipeline.table.sealed import unseal
from pipeline.table.storage import Folder
from pipeline.table.tars import members, row_of, write_tar

EXPORT = "export-"
"""Prefix of the names of folders that hold an export's sidecars."""


def holding(run: Run, uids: Sequence[str]) -> dict[str, Any]:
    """`parts` {folder: {shard's name: {rows, current, asked}}}, each folder after those it was made
    from: the rows to empty, whether the part was made from today's shard and parts, and the folders
    of the parts that its masks were read from, by stage. `whole`: folders of stages over all
    shards, whose parts depend on every row, so that they are made anew. `torn`: files that no
    sidecar names."""
    wanted = pa.array(sorted(uids), pa.string())
    found: dict[str, Any] = {"parts": {}, "whole": [], "torn": []}
    for name in _in_order(run, [n for n in run.folder.names("parts") if not n.startswith(EXPORT)]):
        _look(run, f"parts/{name}", wanted, found)
    return found


def erase(run: Run, held: Mapping[str, Any]) -> None:
    """Empty the rows. A part that was up to date before stays up to date."""
    run.folder.remove(*held["torn"])
    for path in held["whole"]:
        folder = run.folder.sub(path)
        folder.remove(*(name for name in folder.names() if name != "recipe.json"))
    index = run.index
    for path, found in held["parts"].items():
        folder, above = run.folder.sub(path), upstream_of(run, path)
        for name, part in found.items():
            inputs = None
            # A journal that an earlier version wrote has `stood` in place of `current`.
            if part.get("current", part.get("stood")) and index is not None:
                inputs = part_inputs(run, above, name, index.shards[int(name)][1])
            erase_part(folder, name, part["rows"], inputs)
    for path, found in held["parts"].items():
        for name, part in found.items():
            _note_asked(run, path, name, part["asked"])


def _look(run: Run, path: str, wanted: pa.Array, found: dict[str, Any]) -> None:
    folder, index = run.folder.sub(path), run.index
    names = folder.names()
    if any(is_of_whole(name) for name in names):
        found["whole"].append(path)
        return
    named = {"recipe.json"}
    for number in numbers(names, ".json"):
        name = shard_name(number)
        sidecar = read_sidecar(folder, name)
        if sidecar is None:
            continue
        if MERGED in sidecar.inputs:
            found["whole"].append(path)
            return
        named.update((f"{name}.json", *sidecar.files))
        if rows := rows_of(folder, f"{name}.parquet", wanted):
            shard = index.shards[number][1] if index and number < len(index) else None
            inputs = part_inputs(run, upstream_of(run, path), name, shard)
            # Rows that an earlier policy let in or left out are checked by the next run.
            current = (
                inputs is not None
                and why_stale(sidecar, Expected(sidecar.fingerprint, inputs, sidecar.policy))
                is None
            )
            part = {"rows": rows, "current": current, "asked": _asked(run, sidecar, name)}
            found["parts"].setdefault(path, {})[name] = part
    found["torn"].extend(f"{path}/{n}" for n in names if n not in named)


def _in_order(run: Run, folders: Sequence[str]) -> list[str]:
    """The folders, each after those of the stages that its own reads."""
    above = {name: set(upstream_of(run, f"parts/{name}").values()) for name in folders}

    def depth(name: str) -> int:
        below = [path.removeprefix("parts/") for path in above.get(name, ())]
        return 1 + max(map(depth, below), default=0)

    return sorted(folders, key=lambda name: (depth(name), name))


def upstream_of(run: Run, path: str) -> dict[str, str]:
    """The part folders that a folder's parts are made from, by stage; {} without a recipe."""
    try:
        recipe = unseal(run.folder.read(f"{path}/recipe.json"))
    except (FileNotFoundError, ValueError):
        return {}
    return {stage: part_folder(stage, print_) for stage, print_ in recipe["upstream"].items()}


def _asked(run: Run, sidecar: Sidecar, name: str) -> dict[str, str]:
    """The folders of the parts that decided which rows this one measured, by stage."""
    found = {}
    for stage, digest in (sidecar.policy or {}).get("asked", {}).items():
        for folder in run.folder.names("parts"):
            if folder.rsplit("-", 1)[0] == stage:
                asked = read_sidecar(run.folder.sub(f"parts/{folder}"), name)
                if asked is not None and asked.digest == digest:
                    found[stage] = f"parts/{folder}"
    return found


def part_inputs(
    run: Run, folders: Mapping[str, str], name: str, shard: str | None
) -> dict[str, str] | None:
    """What a shard's part would be made from today: the digests of the shard and of its parts.

    `folders` are those of the stages it is made from, `shard` is the digest of its rows. None if
    one of them is missing.
    """
    found = {stage: read_sidecar(run.folder.sub(path), name) for stage, path in folders.items()}
    known = {stage: sidecar.digest for stage, sidecar in found.items() if sidecar is not None}
    return {INGEST: shard, **known} if shard is not None and len(known) == len(found) else None


def _note_asked(run: Run, path: str, name: str, asked: Mapping[str, str]) -> None:
    """Note on a part's sidecar that its masks were read from the parts as they are now."""
    folder = run.folder.sub(path)
    sidecar = read_sidecar(folder, name)
    digests = {}
    for stage, place in asked.items():
        if (other := read_sidecar(run.folder.sub(place), name)) is not None:
            digests[stage] = other.digest
    if sidecar is not None and digests:
        policy = dict(sidecar.policy or {})
        policy["asked"] = {**policy.get("asked", {}), **digests}
        folder.write(f"{name}.json", replace(sidecar, policy=policy).encode())


def erase_part(
    folder: Folder, name: str, rows: Sequence[int], inputs: Mapping[str, str] | None
) -> None:
    """Empty rows of one part's files; `inputs` are the sidecar's new ones (None: unchanged).

    The sidecar is written last. A part with files of an unknown kind is removed as a whole.
    """
    sidecar = Sidecar.decode(folder.read(f"{name}.json"), name)
    kinds = {target: Path(target).suffix for target in sidecar.files}
    if set(kinds.values()) - {".parquet", ".npy", ".tar"}:
        folder.remove(f"{name}.json")
        folder.remove(*sidecar.files)
        return
    table = _emptied(read_parquet(folder, f"{name}.parquet"), rows, sidecar.stage)
    sizes, digests = {}, {}
    for target, kind in kinds.items():
        with folder.create(target) as path:
            if kind == ".parquet":
                write_parquet(table, path)
            else:
                with folder.local(target) as source:
                    (_zeroed if kind == ".npy" else _without)(source, path, rows)
            sizes[target], digests[target] = path.stat().st_size, file_digest(path)
    killed = {row: cause for row, cause in sidecar.killed.items() if int(row) not in rows}
    changed = replace(
        sidecar,
        files=sizes,
        digests=digests,
        digest=part_digest(digests, killed),
        killed=killed,
        versions=versions_of(folder, sizes),
        inputs=dict(inputs) if inputs is not None else sidecar.inputs,
        summary=fetch_summary(table) if sidecar.stage == "download" else sidecar.summary,
    )
    folder.write(f"{name}.json", changed.encode())


def _emptied(table: pa.Table, rows: Sequence[int], stage: str) -> pa.Table:
    mask = marked(table.num_rows, rows)
    table = blank(table, mask)
    if stage == "download":  # the status that the stage gives to a row with an input error
        cells = np.where(mask, "invalid", np.array(table["status"].to_pylist(), object))
        place = table.column_names.index("status")
        table = table.set_column(place, "status", pa.array(cells.tolist(), pa.string()))
    return table


def _zeroed(source: Path, target: Path, rows: Sequence[int]) -> None:
    array = np.load(source, allow_pickle=False)
    array[list(rows)] = 0
    with target.open("wb") as out:
        np.save(out, array, allow_pickle=False)


def _without(source: Path, target: Path, rows: Sequence[int]) -> None:
    gone = set(rows)
    left = (member for member in members(source) if row_of(member[0]) not in gone)
    write_tar(target, left, sums=True)
