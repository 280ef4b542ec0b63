"""Parts made again for a few rows: the other rows keep their cells, vectors and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.measure.stage import Output, Stage
from pipeline.table.columns import LATE, with_late
from pipeline.table.parquet import read_parquet
from pipeline.table.part import Sidecar, file_digest
from pipeline.table.shard import ShardData
from pipeline.table.tars import merge_rows
from pipeline.words.errors import PartError


def marked(count: int, rows: Sequence[int]) -> npt.NDArray[np.bool_]:
    """True at `rows`; bool, shape (count,)."""
    mask = np.zeros(count, bool)
    mask[list(rows)] = True
    return mask


def patched(
    data: ShardData, stage: Stage, new: Output, rows: Sequence[int], scratch: Path
) -> Output:
    """The existing part with `rows` taken from `new`, companion files too, written to `scratch`.

    The files of `new` are removed. PartError for a companion file of an unknown kind.
    """
    folder = data.run.folder.sub(data.folders[stage.name])
    old = read_parquet(folder, f"{data.name}.parquet")
    if any(column.name in new.table.column_names for column in LATE):
        old = with_late(old).select(new.table.column_names)
    table = patched_table(old, new.table, rows)
    files = {}
    for suffix, path in new.files.items():
        files[suffix] = scratch / f"patched.{suffix}"
        if suffix.endswith("npy"):
            old, fresh = data.array(stage.name, suffix), np.load(path, allow_pickle=False)
            np.save(files[suffix], patched_array(old, fresh, rows), allow_pickle=False)
        elif suffix.endswith("tar"):
            with data.file(stage.name, suffix) as before:
                merge_rows(before, path, rows, files[suffix])
        else:
            raise PartError(f"{stage.name}: no way is known to change rows of a .{suffix} file")
        path.unlink(missing_ok=True)
    reused = table.num_rows - len(rows)
    return Output(table, files, stage.summary(table) or {**new.summary, "reused": reused})


def is_same(data: ShardData, stage: str, before: Sidecar, output: Output) -> bool:
    """Whether an output equals the existing part, so that later stages need not run again."""
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
