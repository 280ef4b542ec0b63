"""The shards as a product of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from pipeline.engine.plan import Plan
from pipeline.engine.product import CURRENT, Product, Status, Work
from pipeline.ingest.deal import deal, why_not_current
from pipeline.ingest.schema import Listing
from pipeline.table.checked import checked
from pipeline.table.freshness import INGEST
from pipeline.table.parquet import read_file
from pipeline.table.part import shard_name
from pipeline.table.run import Run, ShardIndex
from pipeline.words.errors import PartError

REPORT_EVERY = 1_000_000
"""Rows of the list between two progress lines."""


@dataclass(frozen=True)
class Ingest(Product):
    """The list's rows in shards. Without a `listing` the existing shards are used."""

    listing: Listing | None
    shard_size: int
    name = INGEST
    keys = "shards"
    folder = "shards"

    @property
    def fingerprint(self) -> str:
        return self.listing.expected(self.shard_size).fingerprint if self.listing else ""

    def status(self, plan: Plan, before: Mapping[str, Status]) -> Status:
        """All shards or none: a changed list is read as a whole, though most shards stay."""
        index = plan.run.index
        if index is None:
            return Status({}, None)
        shards = {shard: digest for shard, (_, digest) in enumerate(index.shards)}
        return Status(shards, len(index), self.why(plan, before) != CURRENT)

    def why(self, plan: Plan, before: Mapping[str, Status]) -> str:
        if self.listing is None:
            return CURRENT
        return why_not_current(plan.run, plan.job, self.listing) or CURRENT

    def make(self, work: Work) -> Status:
        status = work.statuses[self.name]
        if status.current or self.listing is None:
            return status
        work.remade.add(self.name)
        reported, say = 0, work.reporter.say
        say("ingest: reading the list")

        def report(rows: int) -> None:
            nonlocal reported
            if rows - reported >= REPORT_EVERY:
                reported = rows
                say(f"ingest: {rows:,} rows read")

        run = work.plan.run
        index = deal(run, work.plan.job, self.listing, report)
        _check_all_dealt(run, index)
        say(
            f"ingest: {index.rows_in:,} rows, {index.rows_in - index.rows:,} repeats merged, "
            f"{len(index)} shards"
        )
        with run.folder.hold():
            return self.status(work.plan, work.statuses)

    @classmethod
    def holding(cls, run: Run, uids: Sequence[str]) -> dict[str, Any]:
        from pipeline.engine.erase import shards

        return shards.holding(run, uids)

    @classmethod
    def erase(cls, run: Run, uids: Sequence[str], held: Mapping[str, Any]) -> None:
        from pipeline.engine.erase import shards

        shards.erase(run, held)


def _check_all_dealt(run: Run, index: ShardIndex) -> None:
    """PartError unless the shards' files hold every row that was read, repeats counted."""
    # On an object store what was just written need not be read back: it is known by its checksum.
    sums = [None if run.folder.is_local else one.sha256 for one in index.dealt]
    dealt = sum(_rows_read(run, shard, sum_) for shard, sum_ in enumerate(sums))
    if dealt != index.rows_in:
        run.folder.remove("shards/index.json")
        raise PartError(f"ingest: {index.rows_in} rows read, but {dealt} dealt")


def _rows_read(run: Run, shard: int, sum_: str | None) -> int:
    """Rows of the list that a shard's rows stand for."""
    name = f"{shard_name(shard)}.parquet"
    with checked(run.folder.url, run.folder.sub("shards"), name, sum_) as path:
        return int(pc.sum(read_file(path, ["repeats"])["repeats"]).as_py() or 0)
