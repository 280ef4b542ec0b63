"""Merges repeated rows on disk, and fills shards of a fixed size."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.parquet import write_parquet
from pipeline.table.part import file_digest, shard_name
from pipeline.table.run import Dealt, Run
from pipeline.words.heartbeat import beat

ORDER, SHARD = "_order", "_shard"
"""Columns of rows while they are dealt: their position in the list or shard, and the shard."""
Changes = dict[int, dict[int, dict[str, Any]]]
"""Rows to rewrite in existing shards: shard -> row -> values."""


class Buckets:
    """Two sets of rows on disk, `new` and `old`, in buckets by the first bits of their uid."""

    def __init__(self, folder: Path, schema: pa.Schema, count: int) -> None:
        self.count = count
        self._folder = folder
        self._schema = schema.append(pa.field(ORDER, pa.int64())).append(
            pa.field(SHARD, pa.int32())
        )
        self._writers: dict[tuple[str, int], pa.RecordBatchStreamWriter] = {}

    def add(self, group: str, table: pa.Table, first: int, shard: int | None = None) -> None:
        """Add rows; `first` is the order of the table's first row, `shard` that of old rows."""
        n = table.num_rows
        table = table.append_column(ORDER, pa.array(range(first, first + n), pa.int64()))
        table = table.append_column(SHARD, pa.array([shard] * n, pa.int32())).cast(self._schema)
        bucket = pa.array([int(uid[:4], 16) * self.count >> 16 for uid in table["uid"].to_pylist()])
        for value in pc.unique(bucket).to_pylist():
            self._writer(group, value).write_table(table.filter(pc.equal(bucket, value)))

    def _writer(self, group: str, bucket: int) -> pa.RecordBatchStreamWriter:
        if (group, bucket) not in self._writers:
            path = str(self._folder / f"{group}-{bucket}.arrows")
            self._writers[group, bucket] = pa.ipc.new_stream(path, self._schema)
        return self._writers[group, bucket]

    def close(self) -> None:
        """Finish writing; afterwards `table` may be called."""
        for writer in self._writers.values():
            writer.close()

    def table(self, group: str, bucket: int) -> pa.Table:
        beat()
        if (group, bucket) not in self._writers:
            return self._schema.empty_table()
        with pa.memory_map(str(self._folder / f"{group}-{bucket}.arrows")) as handle:
            return pa.ipc.open_stream(handle).read_all()

    def keeps_all(self) -> bool:
        """Whether every row of the existing shards is in the input, and is in one shard only."""
        for bucket in range(self.count):
            old = self.table("old", bucket)["uid"]
            new = self.table("new", bucket)["uid"].combine_chunks()
            kept = pc.all(pc.is_in(old, value_set=new), min_count=0).as_py()
            if len(pc.unique(old)) != len(old) or not kept:
                return False
        return True


def merge(table: pa.Table) -> pa.Table:
    """One row per uid, the first in the input's order; `repeats` counts them."""
    if table.num_rows == 0:
        return table
    table = table.sort_by([("uid", "ascending"), (ORDER, "ascending")])
    uids = table["uid"].combine_chunks()
    changes = pc.not_equal(uids[1:], uids[:-1]).to_numpy(zero_copy_only=False)
    first = np.flatnonzero(np.concatenate([[True], changes]))
    repeats = np.add.reduceat(table["repeats"].to_numpy(), first)
    index = table.column_names.index("repeats")
    counted = pa.array(repeats, pa.int32())
    return table.take(pa.array(first)).set_column(index, "repeats", counted)


def note_changes(merged: pa.Table, old: pa.Table, changes: Changes) -> None:
    """Note existing rows whose passthrough values or repeats changed, by shard and row."""
    names = [name for name in merged.column_names if name not in (ORDER, SHARD)]
    place = pc.index_in(old["uid"], value_set=merged["uid"].combine_chunks())
    now = merged.select(names).take(place)
    changed = np.zeros(old.num_rows, bool)
    for name in names:
        changed |= ~_same(old[name], now[name])
    rows = now.filter(pa.array(changed)).to_pylist()
    where = old.select([SHARD, ORDER]).filter(pa.array(changed)).to_pylist()
    for row, place in zip(rows, where, strict=True):
        changes.setdefault(place[SHARD], {})[place[ORDER]] = row


def _same(a: pa.ChunkedArray, b: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Compares cell by cell; a null equals a null, and NaN equals NaN."""
    if pa.types.is_nested(a.type):
        pairs = zip(a.to_pylist(), b.to_pylist(), strict=True)
        return np.array([repr(one) == repr(other) for one, other in pairs], bool)
    equal = pc.fill_null(pc.equal(a, b), False)
    unknown = pc.and_(pc.is_null(a, nan_is_null=True), pc.is_null(b, nan_is_null=True))
    result: npt.NDArray[np.bool_] = pc.or_(equal, unknown).to_numpy(zero_copy_only=False)
    return result


def apply(run: Run, changes: Changes, shards: list[Dealt]) -> None:
    for shard, rows in changes.items():
        table = run.shard(shard)
        values = table.to_pylist()
        for order, row in rows.items():
            values[order] = row
        shards[shard] = write_shard(run, shard, pa.Table.from_pylist(values, schema=table.schema))


class Dealer:
    """Fills shards of a fixed size, numbered after the existing ones."""

    def __init__(self, run: Run, size: int, shards: list[Dealt], schema: pa.Schema) -> None:
        self._run, self._size, self.shards = run, size, shards
        self._rest = schema.empty_table()
        self._names = schema.names

    def add(self, table: pa.Table) -> None:
        self._rest = pa.concat_tables([self._rest, table.select(self._names)])
        while self._rest.num_rows >= self._size:
            self._deal(self._size)

    def flush(self) -> None:
        if self._rest.num_rows:
            self._deal(self._rest.num_rows)

    def _deal(self, rows: int) -> None:
        table = self._rest.slice(0, rows).combine_chunks()
        self.shards.append(write_shard(self._run, len(self.shards), table))
        self._rest = self._rest.slice(rows)


def write_shard(run: Run, shard: int, table: pa.Table) -> Dealt:
    """Write a shard's file; its entry of the index."""
    with run.folder.create(f"shards/{shard_name(shard)}.parquet") as path:
        write_parquet(table, path)
        size, sum_ = path.stat().st_size, file_digest(path)
        run.folder.remember(path, sum_)
    return Dealt(table.num_rows, shard_digest(table), size, sum_)


def shard_digest(table: pa.Table) -> str:
    """sha256 over a shard's rows without `repeats`, so that one more repeat makes no part stale."""
    digest = hashlib.sha256()
    table = table.drop_columns(["repeats"])
    for name in table.column_names:
        digest.update(name.encode())
        digest.update(repr(table[name].to_pylist()).encode())
    return digest.hexdigest()
