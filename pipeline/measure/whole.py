"""The base class of stages that look at all shards at once."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from pipeline.measure.stage import Output, Stage
from pipeline.table.shard import Mask, ShardData


@dataclass
class Prepared:
    """What a whole stage makes of one shard before the merge.

    `own` is read only by the shard's `run`, `dealt` holds the rows that take part in the merge.
    Both have `uid`; no column is called `shard`.
    """

    own: pa.Table
    dealt: pa.Table


class WholeStage(Stage):
    """A stage that must see all shards: `prepare` each, `merge` each partition, then `run` each.

    The rows that `prepare` gives in `dealt` go to partitions by the value of `key`; a separate task
    merges each partition and holds only its rows. The result must not depend on the number of
    partitions: rows that have to be compared must have the same key.
    """

    whole = True
    reads_deaths: ClassVar[bool] = False
    """Whether its `prepare` gets `killed` as well: rows on which a process of any stage died."""
    keeps_own: ClassVar[bool] = True
    """Whether the `own` table of its `prepare` is stored; else `run` gets the uids alone."""
    reads_own: ClassVar[bool] = False
    """Whether its `run` finds in `shard.stood` the part that it made of the shard before."""
    key: ClassVar[str | None] = None
    """Column of the dealt rows; a row whose key is null takes no part. None: one partition."""
    rows_at_once: ClassVar[int] = 5_000_000
    """Rows of the run for each partition, if there is a `key`."""

    def partitions(self, rows: int) -> int:
        """Number of partitions for a run of so many rows, at least 1."""
        return 1 if self.key is None else max(1, -(-rows // self.rows_at_once))

    def masks(self, masks: Sequence[Mask]) -> tuple[Mask, ...]:
        """Those of the masks that hide cells which this stage reads."""
        return tuple(mask for mask in masks if mask.hides.intersection(self.reads))

    @abstractmethod
    def prepare(self, shard: ShardData) -> Prepared:
        """What `merge` and `run` need of one shard."""

    @abstractmethod
    def merge(self, shards: Sequence[ShardData], rows: pa.Table) -> pa.Table:
        """One partition's result over all shards.

        `rows` are the partition's dealt rows, shard after shard, with a column `shard` (int32),
        which the result must have too: the row is given to that shard's `run`.
        """

    @abstractmethod
    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        """One shard's columns; `prepared` is its `own` table, `merged` its rows of all results."""
