"""The judgement: the job's rules over the measurements, and the best survivor of each group.

Of duplicates the best member that survives the *other* rules is kept; otherwise a good picture
would go as the duplicate of one that itself goes.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job, Rule
from pipeline.errors import InputError
from pipeline.rules import FACTS, fetch_rules
from pipeline.shard import Mask, ShardData, drawn_for_audit
from pipeline.sql import columns_of, evaluate
from pipeline.stage import Output, WholeStage
from pipeline.stages.download import expected_columns
from pipeline.table import Column

DUPLICATE = "duplicate"


class DecideStage(WholeStage):
    """`reason` (null: kept), all `reasons`, and for a duplicate the uid of the kept one."""

    name = "decide"
    version = 2

    def __init__(self, job: Job, schema: Mapping[str, pa.DataType]) -> None:
        super().__init__(job)
        self._expected = expected_columns(job, schema)
        self.rules: tuple[Rule, ...] = (*fetch_rules(job, self._expected), *(job.rules or ()))
        """Those of the `download:` section, then the job's."""
        self._schema = schema
        self._read = self._columns()

    def _columns(self) -> tuple[str, ...]:
        """What the rules read. InputError names the rule that cannot be judged."""
        names = ["status", "fetch_reason", "input_error", "dup_group", *self._prefer()]
        names += [*FACTS, *self._expected.values()]
        for i, rule in enumerate(self.job.rules or ()):
            names += columns_of(rule.when, self._schema, f"rules[{i}].when")
        return tuple(name for name in dict.fromkeys(names) if name in self._schema)

    def _prefer(self) -> list[str]:
        """Columns that rank duplicates. InputError for one that is not there or no number."""
        names = []
        for i, name in enumerate(self.job.dedup.prefer):
            if name == "clip_score" and not self.job.embed.model:
                continue  # the default names it for jobs that measure it
            place, kind = f"dedup.prefer[{i}]", self._schema.get(name)
            if kind is None:
                near = difflib.get_close_matches(name, self._schema, n=1)
                hint = f"did you mean `{near[0]}`?" if near else "name a measured column"
                raise InputError(f"{place}: no stage of this job makes the column `{name}`; {hint}")
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise InputError(f"{place}: `{name}` is {kind}; only numbers rank duplicates")
            names.append(name)
        return names

    @property
    def reads(self) -> tuple[str, ...]:
        return self._read

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column("reason", pa.string(), "The first reason that took the row; null: kept."),
            Column("reasons", pa.list_(pa.string()), "All reasons, in the order of the rules."),
            Column("dup_of", pa.string(), "For a duplicate: the uid of the member that is kept."),
            Column(
                "audit",
                pa.bool_(),
                "Measured for the audit although an `only_if` leaves the row out; it is judged as "
                "if it had not been measured.",
            ),
        )

    def masks(self, masks: Sequence[Mask]) -> tuple[Mask, ...]:
        return tuple(masks)  # also those that hide nothing that a rule reads: for `audit`

    def settings(self) -> dict[str, Any]:
        rules = [rule.recipe() for rule in self.rules]
        return {"rules": rules, "prefer": list(self.job.dedup.prefer)}

    def prepare(self, shard: ShardData) -> pa.Table:
        """`reasons` but for `duplicate`, and `rank` values of the members of groups."""
        table = shard.table(*self.reads)
        verdicts = evaluate(table, [rule.when for rule in self.rules])
        failed = _first_given(table["input_error"], table["fetch_reason"])
        reasons: list[list[str]] = [[f] if f else [] for f in failed]
        skipped = pc.equal(table["status"], "skipped").to_numpy(zero_copy_only=False)
        # A row that failed or was left out lacks measurements for that very reason: its nulls say
        # no more, and calling it unsafe would be a lie.
        pictureless = np.array([f is not None for f in failed], bool) | skipped
        doubtful = np.zeros(table.num_rows, bool)
        for rule, verdict in zip(self.rules, verdicts, strict=True):
            if rule.reason == DUPLICATE:
                doubtful |= verdict == 1
                continue
            unknown = (verdict == -1) & (rule.if_null == "drop") & ~pictureless
            for row in np.flatnonzero((verdict == 1) | unknown):
                if rule.reason not in reasons[row]:
                    reasons[row].append(rule.reason)
        for row in np.flatnonzero(skipped):
            if not reasons[row]:
                reasons[row].append("not_measured")
        drawn = drawn_for_audit(table["uid"].to_pylist(), self.job.audit_fraction)
        columns = {
            "uid": table["uid"],
            "audit": pa.array(drawn & shard.left_out()),
            "reasons": pa.array(reasons, pa.list_(pa.string())),
            "group": pc.if_else(pa.array(doubtful), table["dup_group"], None),
        }
        for name in self.job.dedup.prefer:
            if name in table.column_names:
                columns[f"rank_{name}"] = table[name]
        return pa.table(columns)

    def merge(
        self, shards: Sequence[ShardData], prepared: Callable[[ShardData], pa.Table]
    ) -> pa.Table:
        members: dict[str, list[tuple[Any, ...]]] = {}
        places: list[tuple[int, str, str]] = []
        for shard in shards:
            table = prepared(shard)
            for row in table.filter(pc.is_valid(table["group"])).to_pylist():
                places.append((shard.shard, row["uid"], row["group"]))
                if row["reasons"]:
                    continue
                ranks = [-_number(v) for n, v in row.items() if n.startswith("rank_")]
                members.setdefault(row["group"], []).append((*ranks, row["uid"]))
        best = {group: min(rows)[-1] for group, rows in members.items()}
        return pa.table(
            {
                "shard": pa.array([shard for shard, _, _ in places], pa.int32()),
                "uid": pa.array([uid for _, uid, _ in places], pa.string()),
                "best": pa.array([best.get(group) for _, _, group in places], pa.string()),
            }
        )

    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        best = dict(zip(merged["uid"].to_pylist(), merged["best"].to_pylist(), strict=True))
        order = [rule.reason for rule in self.rules]
        reasons, dup_of = [], []
        for uid, found in zip(
            prepared["uid"].to_pylist(), prepared["reasons"].to_pylist(), strict=True
        ):
            kept = best.get(uid)
            twin = kept if kept != uid else None
            if twin is not None:
                found = _in_order([*found, DUPLICATE], order)
            reasons.append(found)
            dup_of.append(twin)
        first = [found[0] if found else None for found in reasons]
        table = pa.table(
            {
                "uid": prepared["uid"],
                "reason": pa.array(first, pa.string()),
                "reasons": pa.array(reasons, pa.list_(pa.string())),
                "dup_of": pa.array(dup_of, pa.string()),
                "audit": prepared["audit"],
            }
        )
        kept_rows = sum(reason is None for reason in first)
        return Output(table, summary={"kept": kept_rows, "dropped": len(first) - kept_rows})


def _first_given(*columns: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    result: npt.NDArray[np.object_] = np.array(pc.coalesce(*columns).to_pylist(), dtype=object)
    return result


def _number(value: Any) -> float:
    """For ranking: what is not known comes last."""
    return float("-inf") if value is None or math.isnan(value) else float(value)


def _in_order(reasons: list[str], rules: list[str]) -> list[str]:
    """Failures first, then the rules' order, `not_measured` last."""
    place = {reason: i for i, reason in reversed(list(enumerate(rules)))}
    last = len(rules)
    return sorted(reasons, key=lambda r: place.get(r, last if r == "not_measured" else -1))
