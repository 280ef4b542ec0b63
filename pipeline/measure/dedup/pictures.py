"""The pictures of a run, for a search over all of them: a few cells of each at hand, the rest read
shard by shard where it lies."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.measure.dedup.edges import Indices
from pipeline.measure.dedup.stored import new_array, release
from pipeline.table.arrays import Flags, from_numbers
from pipeline.table.shard import ShardData
from pipeline.words.heartbeat import beat


class Pictures:
    """Rows with `uid`, `shard`, `row` (the place in the shard) and whatever else is at hand, in the
    order of their uids. A row is named by its number in that order."""

    def __init__(self, rows: pa.Table, shards: Sequence[ShardData]) -> None:
        self.rows = rows.sort_by("uid")
        self._shards = {shard.shard: shard for shard in shards}

    @property
    def names(self) -> list[str]:
        """The columns that are at hand."""
        return list(self.rows.column_names)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def codes(self, name: str) -> Indices:
        """A number for each value of a column, −1 for null."""
        codes = self.rows[name].combine_chunks().dictionary_encode().indices
        return np.asarray(pc.fill_null(codes, -1), np.int64)

    def there(self, *names: str) -> Flags:
        """Where none of the columns is null; of a column that is not at hand nothing is known."""
        known = [self.rows[name] for name in names if name in self.rows.column_names]
        valid = [np.asarray(column.is_valid(), bool) for column in known]
        return np.logical_and.reduce([np.ones(len(self), bool), *valid])

    def of_each_shard(self, wanted: Indices) -> Iterator[tuple[ShardData, Indices, Indices]]:
        """Of the shards that hold some of the rows: which of `wanted`, and their places there."""
        number, place = (np.asarray(self.rows[name])[wanted] for name in ("shard", "row"))
        order = np.argsort(number, kind="stable")
        ends = np.flatnonzero(np.diff(number[order], append=-1)) + 1
        start = 0
        for end in ends.tolist():
            beat()
            mine = order[start:end]
            # Anew, so that what was read of a shard is not kept.
            yield self._shards[int(number[mine[0]])].afresh(), mine, place[mine]
            start = end

    def in_parts(self, wanted: Indices, count: int) -> Iterator[Indices]:
        """Places in `wanted`, shard after shard, about `count` at a time."""
        order = np.argsort(np.asarray(self.rows["shard"])[wanted], kind="stable")
        for start in range(0, len(order), count):
            yield order[start : start + count]

    def cells(self, name: str, wanted: Indices, width: int) -> npt.NDArray[np.uint8]:
        """Cells of `width` bytes of these rows, shape (rows, width); none may be null."""
        if name in self.rows.column_names:
            return _bytes(self.rows[name].take(from_numbers(wanted)), width)
        found = np.zeros((len(wanted), width), np.uint8)
        for shard, mine, places in self.of_each_shard(wanted):
            found[mine] = _bytes(shard.table(name)[name].take(from_numbers(places)), width)
        return found

    def vectors(self, stage: str, name: str, wanted: Indices) -> npt.NDArray[np.float16]:
        """The stored vectors of these rows, shape (rows, dim); many of them in a file."""
        found: npt.NDArray[Any] = np.zeros((len(wanted), 0), np.float16)
        for shard, mine, places in self.of_each_shard(wanted):
            part = shard.array(stage, name)
            if found.shape[1] == 0:
                found = new_array((len(wanted), part.shape[1]), shard.scratch, "vectors")
            found[mine] = part[places]
            release(found)
        return found


def _bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.uint8]:
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(len(column), width)
