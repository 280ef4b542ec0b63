"""Emptying rows in a run's shards and parts, whatever stage made them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.erasing.journal import Journal, part_inputs, upstream_of
from pipeline.patches import marked
from pipeline.run import Run
from pipeline.stages.dealing import shard_digest
from pipeline.stages.download import fetch_summary
from pipeline.stages.rows import blank, forgotten
from pipeline.storage import Folder
from pipeline.table import (
    Sidecar,
    digest_of,
    file_digest,
    read_parquet,
    read_sidecar,
    write_parquet,
)
from pipeline.tars import members, row_of, write_tar


def erase_shards(run: Run, journal: Journal) -> None:
    """Empty the rows in the shards' files, and note the new digests in their index."""
    index = run.index
    if index is None:
        return
    shards = list(index.shards)
    for name, rows in journal.shards.items():
        file = f"shards/{name}.parquet"
        table = read_parquet(run.folder, file)
        table = forgotten(table, marked(table.num_rows, rows))
        with run.folder.create(file) as path:
            write_parquet(table, path)
        shards[int(name)] = (table.num_rows, shard_digest(table))
    run.folder.write("shards/index.json", replace(index, shards=tuple(shards)).encode())


def erase_parts(run: Run, journal: Journal) -> None:
    """Empty the rows in the parts. A part that stood before stands on what it stood on before."""
    for file in journal.torn:
        run.folder.remove(file)
    for path in journal.whole:
        folder = run.folder.sub(path)
        for name in folder.names():
            if name != "recipe.json":
                folder.remove(name)
    index = run.index
    for path, found in journal.parts.items():
        folder, above = run.folder.sub(path), upstream_of(run, path)
        for name, part in found.items():
            inputs = None
            if part.stood and index is not None:
                inputs = part_inputs(run, above, name, index.shards[int(name)][1])
            erase_part(folder, name, part.rows, inputs)
    for path, found in journal.parts.items():
        for name, part in found.items():
            _note_asked(run, path, name, part.asked)


def _note_asked(run: Run, path: str, name: str, asked: Mapping[str, str]) -> None:
    """Say of a part that its masks were read from the parts as they are now."""
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
    """Empty rows of one part's files; `inputs` are the sidecar's new ones (None: they stay).

    The sidecar is written last. A part with files of a kind unknown here goes altogether.
    """
    sidecar = Sidecar(**json.loads(folder.read(f"{name}.json")))
    kinds = {target: Path(target).suffix for target in sidecar.files}
    if set(kinds.values()) - {".parquet", ".npy", ".tar"}:
        folder.remove(f"{name}.json")
        for target in sidecar.files:
            folder.remove(target)
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
    changed = replace(
        sidecar,
        files=sizes,
        digests=digests,
        digest=digest_of(digests),
        inputs=dict(inputs) if inputs is not None else sidecar.inputs,
        summary=fetch_summary(table) if sidecar.stage == "download" else sidecar.summary,
    )
    folder.write(f"{name}.json", changed.encode())


def _emptied(table: pa.Table, rows: Sequence[int], stage: str) -> pa.Table:
    mask = marked(table.num_rows, rows)
    table = blank(table, mask)
    if stage == "download":  # as the stage itself says of a row with an input error
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
    write_tar(target, (member for member in members(source) if row_of(member[0]) not in gone))
