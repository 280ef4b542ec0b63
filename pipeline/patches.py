"""Parts made again for a few rows: the other rows keep their cells, vectors and pictures."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import PartError
from pipeline.plan import Node, Plan
from pipeline.stage import Output, ShardData
from pipeline.stages.download import fetch_summary
from pipeline.table import Sidecar, file_digest, read_parquet, read_sidecar
from pipeline.tars import merge_rows


@dataclass(frozen=True)
class Base:
    """A part that stands but for `rows`, whose inputs have changed since."""

    sidecar: Sidecar
    rows: tuple[int, ...]

    @property
    def patch(self) -> dict[str, Any]:
        return {"base": self.sidecar.digest, "rows": list(self.rows)}


def find_base(plan: Plan, node: Node, data: ShardData) -> Base | None:
    """The node's old part, if all but a few of its rows can stay; else None.

    It must have been made from today's shard and parts, some of which may since have been patched:
    their sidecars say from what, and in which rows.
    """
    old = read_sidecar(plan.run.folder.sub(node.folder), data.name)
    if old is None:
        return None
    upstream = {
        name: read_sidecar(plan.run.folder.sub(plan.by_name[name].folder), data.name)
        for name in node.upstream
    }
    known = {name: sidecar for name, sidecar in upstream.items() if sidecar is not None}
    patches = {name: sidecar.patch for name, sidecar in known.items() if sidecar.patch}
    index = plan.run.index if patches and len(known) == len(upstream) else None
    if index is None:
        return None
    today = {name: sidecar.digest for name, sidecar in known.items()}
    # A stage may have followed one of its patched inputs already, and not yet another.
    for size in range(len(patches), 0, -1):
        for names in itertools.combinations(patches, size):
            digests = today | {name: patches[name]["base"] for name in names}
            if plan.inputs(node, index.shards[data.shard][1], digests) == old.inputs:
                rows = {row for name in names for row in patches[name]["rows"]}
                return Base(old, tuple(sorted(rows)))
    return None


def marked(count: int, rows: Sequence[int]) -> npt.NDArray[np.bool_]:
    """True at `rows`; bool, shape (count,)."""
    mask = np.zeros(count, bool)
    mask[list(rows)] = True
    return mask


def patched_pictures(data: ShardData, stage: str, base: Base, new: Output, scratch: Path) -> Output:
    """`new`, a picture stage's output for the base's rows, with the old part's other rows."""
    folder = data.run.folder.sub(data.folders[stage])
    table = patched_table(read_parquet(folder, f"{data.name}.parquet"), new.table, base.rows)
    files = {}
    for suffix, path in new.files.items():
        old, fresh = data.array(stage, suffix), np.load(path, allow_pickle=False)
        target = Path(tempfile.mkdtemp(dir=scratch)) / suffix
        np.save(target, patched_array(old, fresh, base.rows), allow_pickle=False)
        files[suffix] = target
    stay = table.num_rows - len(base.rows)
    return Output(table, files, {**new.summary, "reused": stay})


def patched_fetch(
    data: ShardData, stage: str, new: Output, rows: Sequence[int], tar: Path
) -> Output:
    """`new`, the download stage's output for `rows`, with the old part's other rows.

    `tar` is the path to write the merged pictures to.
    """
    folder = data.run.folder.sub(data.folders[stage])
    table = patched_table(read_parquet(folder, f"{data.name}.parquet"), new.table, rows)
    with data.file(stage, "tar") as old:
        merge_rows(old, new.files["tar"], rows, tar)
    return Output(table, {"tar": tar}, fetch_summary(table))


def is_same(data: ShardData, stage: str, before: Sidecar, output: Output) -> bool:
    """Whether an output is what stands already: then nothing follows from it."""
    stored = read_parquet(data.run.folder.sub(data.folders[stage]), f"{data.name}.parquet")
    return output.table.equals(stored) and all(
        before.digests.get(f"{data.name}.{suffix}") == file_digest(path)
        for suffix, path in output.files.items()
    )


def patched_table(old: pa.Table, new: pa.Table, rows: Sequence[int]) -> pa.Table:
    """`old` with `rows` as in `new`. PartError unless both have the same columns."""
    if set(old.column_names) != set(new.column_names) or old.num_rows != new.num_rows:
        raise PartError(f"a patch of {new.column_names} does not fit {old.column_names}")
    place = np.arange(old.num_rows)
    place[list(rows)] += old.num_rows
    new = new.select(old.column_names).cast(old.schema)
    return pa.concat_tables([old, new]).take(pa.array(place)).combine_chunks()


def patched_array(
    old: npt.NDArray[Any], new: npt.NDArray[Any], rows: Sequence[int]
) -> npt.NDArray[Any]:
    """`old` with `rows` as in `new`, both (rows, dim); an array of no picture has no width."""
    width = max(old.shape[1], new.shape[1])
    if {old.shape[1], new.shape[1]} - {0, width}:
        raise PartError(f"vectors of width {new.shape[1]} do not fit those of {old.shape[1]}")
    whole = np.zeros((len(old), width), old.dtype)
    whole[:, : old.shape[1]] = old
    whole[list(rows)] = 0
    if new.shape[1]:
        whole[list(rows)] = new[list(rows)]
    return whole
