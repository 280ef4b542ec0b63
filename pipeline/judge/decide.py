"""The judgement: the job's rules over the measurements, and the best survivor of each group.

Of a group of duplicates the best member that passes all other rules is kept. Otherwise a picture
could be dropped as the duplicate of one that is dropped itself.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job, Rule
from pipeline.judge.export_rules import export_rules
from pipeline.judge.fetch_rules import FACTS, fetch_rules
from pipeline.judge.survivors import CAPTION, RANK, SAME, SCORE, same_caption, survivors
from pipeline.judge.unknown_language import unknown_language_notice
from pipeline.measure.download import expected_columns
from pipeline.measure.stage import Output
from pipeline.measure.whole import Prepared, WholeStage
from pipeline.table.arrays import (
    Flags,
    from_flags,
    from_numbers,
    from_texts,
    is_valid,
    repeat,
    to_flags,
    to_numbers,
    whole,
)
from pipeline.table.columns import Column
from pipeline.table.shard import Mask, ShardData, drawn_for_audit
from pipeline.table.sql import columns_of, evaluate
from pipeline.table.stored import STORED
from pipeline.words.errors import InputError
from pipeline.words.reasons import MEASURE

CAPTIONS = (
    Column(
        "captions",
        pa.list_(pa.string()),
        "With `dedup.captions: merge`: the captions of all members of the group that no other rule "
        "takes, each once, by `clip_score`, at most 100; on the member that is kept.",
    ),
    Column("caption_uids", pa.list_(pa.string()), "The rows whose `captions` they are, by uid."),
)
DUPLICATE, NOT_MEASURED = "duplicate", "not_measured"
(KILLED,) = MEASURE


class DecideStage(WholeStage):
    """`reason` (null: kept), all `reasons`, and for a duplicate the uid of the kept one."""

    name = "decide"
    light = True
    version = 3
    reads_deaths = True
    key = "group"

    def __init__(self, job: Job, schema: Mapping[str, pa.DataType]) -> None:
        super().__init__(job)
        self._expected = expected_columns(job, schema)
        own = fetch_rules(job, self._expected, stored=STORED in schema)
        last = export_rules(job, schema)
        self.rules: tuple[Rule, ...] = (*own, *(job.rules or ()), *last)
        """Those of the `download:` section, then the job's, then those of the `export:` section."""
        self._before = len(own)
        self._schema = schema
        self._read = self._columns()

    def _columns(self) -> tuple[str, ...]:
        """What the rules read. InputError names the rule that cannot be judged."""
        names = ["status", "fetch_reason", "input_error", "dup_group", *self._prefer()]
        names += [*FACTS, *self._expected.values()]
        for i, rule in enumerate(self.rules[self._before :]):
            names += columns_of(rule.when, self._schema, f"rules[{i}].when")
        captions = self.job.dedup.captions
        names += {"drop": (), "keep": ("caption",), "merge": ("caption", "clip_score")}[captions]
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
        captions = CAPTIONS if self.job.dedup.captions == "merge" else ()
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
            *captions,
        )

    def notice(self) -> str | None:
        return unknown_language_notice(self.job, self._schema)

    def masks(self, masks: Sequence[Mask]) -> tuple[Mask, ...]:
        return tuple(masks)  # also those that hide nothing that a rule reads: for `audit`

    def settings(self) -> dict[str, Any]:
        own = [rule.recipe() for rule in self.rules]
        captions = self.job.dedup.captions
        return {
            "fetch_rules": own[: self._before],
            "rules": own[self._before :],
            "prefer": list(self.job.dedup.prefer),
            **({} if captions == "drop" else {"captions": captions}),
        }

    def prepare(self, shard: ShardData, killed: Collection[int] = ()) -> Prepared:
        """`reasons` but for `duplicate`; to the merge go the members of groups.

        A row in `killed` has failed, whatever else is known of it. Of the members the merge must
        know who they are, whether no other rule takes them, and their ranks.
        """
        table = shard.table(*self.reads)
        died = np.zeros(table.num_rows, bool)
        died[list(killed)] = True
        rows = table.num_rows
        word = pc.if_else(from_flags(died), repeat(KILLED, rows), pa.nulls(rows, pa.string()))
        failed = pc.coalesce(table["input_error"], table["fetch_reason"], word).combine_chunks()
        has_failed = is_valid(failed)
        skipped = _codes(table["status"], ["skipped"]) == 0
        reasons = list(dict.fromkeys(rule.reason for rule in self.rules))
        given_by_fetch = _codes(failed, reasons)
        verdicts = evaluate(table, [rule.when for rule in self.rules])
        taken: list[Flags] = []
        doubtful = np.zeros(table.num_rows, bool)
        for rule, verdict in zip(self.rules, verdicts, strict=True):
            # A row that failed or was left out has no measurements: its nulls do not show that it
            # is unsafe, so `if_null: drop` does not apply to it.
            unknown = (verdict == -1) & (rule.if_null == "drop") & ~has_failed & ~skipped
            if rule.reason == DUPLICATE:
                doubtful |= verdict == 1
                taken.append(np.zeros(table.num_rows, bool))
            else:
                is_new = given_by_fetch != reasons.index(rule.reason)
                taken.append(((verdict == 1) | unknown) & is_new)
        for i, rule in enumerate(self.rules):
            for j in range(i):
                if self.rules[j].reason == rule.reason:
                    taken[i] &= ~taken[j]  # a reason is given once
        measured = np.any([has_failed, *taken], axis=0)
        given = np.stack([has_failed, *taken, skipped & ~measured], axis=1)
        words = from_texts([*(rule.reason for rule in self.rules), NOT_MEASURED])
        row, place = np.nonzero(given)
        values = pa.concat_arrays([failed.cast(pa.string()), words])
        values = values.take(from_numbers(np.where(place == 0, row, table.num_rows + place - 1)))
        lists = _lists(row, values, table.num_rows)
        is_clean: Flags = ~np.any(given, axis=1)
        own = pa.table({"audit": from_flags(self._audit(shard)), "reasons": lists})
        return Prepared(own, self._members(table, doubtful, is_clean))

    def _audit(self, shard: ShardData) -> Flags:
        audit = shard.left_out()
        if self.job.audit_fraction and audit.any():
            uids = shard.table()["uid"].to_pylist()
            return audit & drawn_for_audit(uids, self.job.audit_fraction)
        return np.zeros(len(audit), bool)

    def _members(self, table: pa.Table, doubtful: Flags, is_clean: Flags) -> pa.Table:
        """The rows that may be duplicates."""
        members = table.filter(from_flags(doubtful))
        columns = {
            "uid": members["uid"],
            "group": members["dup_group"],
            "clean": from_flags(is_clean[doubtful]),
        }
        for name in self.job.dedup.prefer:
            if name in table.column_names:
                known = members[name].cast(pa.float64(), safe=False)
                rank = np.where(is_valid(known), to_numbers(known), -np.inf)  # unknown: last
                columns[f"{RANK}{name}"] = from_numbers(np.where(np.isnan(rank), -np.inf, rank))
        if self.job.dedup.captions == "keep":
            same = [same_caption(text or "") for text in members["caption"].to_pylist()]
            columns[SAME] = pa.array(same, pa.string())
        elif self.job.dedup.captions == "merge":
            columns[CAPTION] = members["caption"]
            columns[SCORE] = from_numbers(_scores(members))
        return pa.table(columns)

    def merge(self, shards: Sequence[ShardData], rows: pa.Table) -> pa.Table:
        return survivors(rows)

    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        uids = shard.table()["uid"].combine_chunks()
        place = pc.index_in(uids, value_set=whole(merged["uid"]))
        best = whole(merged["best"]).take(place)
        is_twin = to_flags(pc.not_equal(best, uids))
        reasons = self._with_duplicate(whole(prepared["reasons"]), is_twin)
        offsets = to_numbers(reasons.offsets)
        first = reasons.values.take(from_numbers(offsets[:-1], offsets[1:] > offsets[:-1]))
        dup_of = pc.if_else(from_flags(is_twin), best, pa.nulls(len(uids), pa.string()))
        columns = {"uid": uids, "reason": first, "reasons": reasons, "dup_of": dup_of}
        columns |= {"audit": prepared["audit"]}
        columns |= {c.name: merged[c.name].take(place) for c in self.writes if c in CAPTIONS}
        table = pa.table(columns)
        kept = first.null_count
        return Output(table, summary={"kept": kept, "dropped": len(first) - kept})

    def _with_duplicate(self, reasons: pa.ListArray, twins: Flags) -> pa.ListArray:
        """The lists with `duplicate` among those of `twins`, whose reasons go by the rules' order:
        failures first, `not_measured` last."""
        if not twins.any():
            return reasons
        rules = [rule.reason for rule in self.rules]
        known = list(dict.fromkeys([*rules, NOT_MEASURED]))
        places = np.array([rules.index(r) if r in rules else len(rules) for r in known] + [-1])
        values = reasons.flatten()
        row = np.repeat(np.arange(len(reasons)), np.diff(to_numbers(reasons.offsets)))
        own = places[_codes(values, known)]
        place = np.where(twins[row], own, np.arange(len(row)))
        extra = np.flatnonzero(twins)
        row = np.concatenate([row, extra])
        place = np.concatenate([place, np.full(len(extra), rules.index(DUPLICATE))])
        values = pa.concat_arrays([values, repeat(DUPLICATE, len(extra))])
        order = np.lexsort((place, row))
        return _lists(row[order], values.take(from_numbers(order)), len(reasons))


def _scores(members: pa.Table) -> npt.NDArray[np.float64]:
    """`clip_score`, or 0 for all where the job does not measure it."""
    if "clip_score" not in members.column_names:
        return np.zeros(members.num_rows)
    known = members["clip_score"].cast(pa.float64())
    return np.where(is_valid(known), to_numbers(known), np.nan)


def _codes(column: pa.Array | pa.ChunkedArray, values: Sequence[str]) -> npt.NDArray[np.int32]:
    """The place of each cell among the values, -1 for another one and for null."""
    index = pc.index_in(column, value_set=from_texts(values))
    return np.where(is_valid(index), to_numbers(index), -1)


def _lists(row: npt.NDArray[np.int64], values: pa.Array, rows: int) -> pa.ListArray:
    """One list a row of the values whose `row`, in ascending order, it is."""
    offsets = np.searchsorted(row, np.arange(rows + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(from_numbers(offsets), values)
