"""How much of a part must be made: all of it, some rows, or only a note on its sidecar."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.engine.patches import is_same, marked, patched
from pipeline.engine.plan import Node, Plan
from pipeline.engine.salvage import salvage
from pipeline.measure.stage import Output, TableStage
from pipeline.table.columns import check_columns, check_rows
from pipeline.table.freshness import INGEST, Expected, changed_inputs
from pipeline.table.parquet import read_parquet
from pipeline.table.part import (
    Sidecar,
    commit,
    pack_rows,
    read_sidecar,
    settle,
    unpack_rows,
)
from pipeline.table.shard import Rows, ShardData, drawn_for_audit
from pipeline.table.storage import Folder
from pipeline.words.errors import PartError


@dataclass(frozen=True)
class Renewal:
    """One stage's work on one shard: `stale` rows get new cells, of which `wanted` are measured.

    `base` is the existing part whose other rows are kept; None if no row can be kept.
    """

    node: Node
    data: ShardData
    expected: Expected
    wanted: Rows
    stale: Rows
    base: Sidecar | None

    @classmethod
    def of(
        cls,
        plan: Plan,
        node: Node,
        shard: int,
        digests: Mapping[str, str],
        again: Sequence[int] | None = None,
    ) -> "Renewal":
        """`digests` are those of the shard (INGEST) and of the parts that stage and masks read.

        `again` names rows to measure again though nothing has changed. PartError if there is no
        part that they could be rows of.
        """
        data, expected = plan.data(shard), plan.expected(node, digests)
        settle(_folder(plan, node), data.name)  # a worker may have been killed in this same task
        wanted = wanted_rows(plan, node, data)
        base = read_sidecar(_folder(plan, node), data.name) or salvage(plan, node, shard)
        stale = _stale_rows(plan, node, data, expected, base, wanted)
        if again:
            if stale is None:
                raise PartError(f"{node.name}, shard {data.name}: the existing part is gone")
            stale = stale | (marked(len(wanted), again) & wanted)
        if stale is None:
            return cls(node, data, expected, wanted, np.ones(len(wanted), bool), None)
        return cls(node, data, expected, wanted, stale, base)

    @property
    def measured(self) -> Rows:
        """The rows that the stage is to measure now."""
        return self.wanted & self.stale

    @property
    def is_needed(self) -> bool:
        """Whether the stage has anything to do."""
        return self.base is None or bool(self.stale.any())

    def note(self, plan: Plan) -> str:
        """Note today's inputs on the sidecar of a part that needs no work; the part's digest."""
        assert self.base is not None
        return self._restamp(plan, self.base)

    def commit(
        self, plan: Plan, output: Output, start: float, died: Mapping[int, str] | None = None
    ) -> tuple[str, Output]:
        """Check the output's rows and columns and commit it; the part's digest and the output.

        `died` are rows on which the process died, and of what. If there is a part to keep, only
        the stale rows are taken from `output`. PartError if rows or columns are wrong.
        """
        node, name = self.node, self.data.name
        place = f"{node.name}, shard {name}"
        own, found = self.data.table()["uid"], output.table["uid"]
        if not found.equals(own):  # lists of Python texts are made only to name the difference
            check_rows(own.to_pylist(), found.to_pylist(), place)
        output = replace(output, table=check_columns(node.stage.writes, output.table, place))
        asked, patches = self.wanted, []
        killed = {str(row): cause for row, cause in (died or {}).items()}
        with plan.scratch() as folder:
            if self.base is not None:
                rows = np.flatnonzero(self.stale).tolist()
                output = patched(self.data, node.stage, output, rows, folder)
                stay = {k: v for k, v in self.base.killed.items() if not self.stale[int(k)]}
                killed |= stay
                same = killed.keys() == self.base.killed.keys()
                if same and is_same(self.data, node.name, self.base, output):
                    return self._restamp(plan, self.base), output
                asked = self._asked()
                patches = [*self.base.patches, {"base": self.base.digest, "rows": rows}]
            sidecar = commit(
                _folder(plan, node), name, self.data.shard, {f"{name}.parquet": output.table},
                {f"{name}.{suffix}": path for suffix, path in output.files.items()},
                stage=node.name, fingerprint=node.fingerprint, inputs=self.expected.inputs,
                rows=output.table.num_rows, seconds=time.monotonic() - start,
                summary=output.summary, asked=pack_rows(asked), policy=self.expected.policy,
                patches=patches, killed=killed,
                # Old pictures and measurements may be impossible or slow to get again.
                aside=self.base is not None,
            )  # fmt: skip
        return sidecar.digest, output

    def _asked(self) -> Rows:
        """Rows that the stage has been asked to measure, now or before."""
        assert self.base is not None
        return unpack_rows(self.base.asked, len(self.wanted)) | self.wanted

    def _restamp(self, plan: Plan, base: Sidecar) -> str:
        noted = replace(
            base,
            inputs=dict(self.expected.inputs),
            policy=dict(self.expected.policy) if self.expected.policy else None,
            asked=pack_rows(self._asked()),
        )
        _folder(plan, self.node).write(f"{self.data.name}.json", noted.encode())
        return base.digest


def wanted_rows(plan: Plan, node: Node, data: ShardData) -> Rows:
    """Rows that a stage measures: those its masks let through, and the audit's share."""
    seen = plan.masked(data.shard)
    uids = data.table()["uid"].to_pylist()
    wanted = np.ones(len(uids), bool)
    for mask in node.masks:
        wanted &= seen.lets_in(mask)
    return wanted if wanted.all() else wanted | drawn_for_audit(uids, plan.job.audit_fraction)


def _folder(plan: Plan, node: Node) -> Folder:
    return plan.run.folder.sub(node.folder)


def _stale_rows(
    plan: Plan, node: Node, data: ShardData, expected: Expected, base: Sidecar | None, wanted: Rows
) -> Rows | None:
    """Rows whose cells must be made again; None if no row of the part can be kept."""
    if base is None or base.fingerprint != expected.fingerprint or base.rows != len(wanted):
        return None
    stale = wanted & ~unpack_rows(base.asked, len(wanted))
    for name in changed_inputs(base, expected):
        changed = _changed_rows(plan, name, data, expected, base)
        if changed is None:
            return None
        stale[changed] = True
    before, today = ((policy or {}).get("gates", {}) for policy in (base.policy, expected.policy))
    if before != today and isinstance(node.stage, TableStage):
        stored = read_parquet(_folder(plan, node), f"{data.name}.parquet")
        stale |= wanted & node.stage.reconsider(data, before, stored)
    return stale


def _changed_rows(
    plan: Plan, name: str, data: ShardData, expected: Expected, base: Sidecar
) -> list[int] | None:
    """Rows in which an input differs from what the part was made from; None if unknown."""
    old, today = base.inputs.get(name), expected.inputs.get(name)
    if name == INGEST or old is None or today is None:
        return None
    upstream = read_sidecar(_folder(plan, plan.by_name[name]), data.name)
    if upstream is None or upstream.digest != today:
        return None
    return upstream.changed_since(old)
