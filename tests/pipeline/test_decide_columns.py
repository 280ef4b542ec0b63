"""`decide` works on whole columns; here the same is computed row by row, and both must agree."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planned_run import BARE

from pipeline.config.job import Job
from pipeline.config.load import parse_job
from pipeline.engine.merging import deal, partitions_for
from pipeline.judge.decide import DecideStage
from pipeline.table.columns import check_columns

KINDS = {
    "status": pa.string(), "fetch_reason": pa.string(), "input_error": pa.string(),
    "dup_group": pa.string(), "width": pa.int32(), "height": pa.float32(), "bytes": pa.int64(),
    **dict.fromkeys(("original_width", "original_height", "original_pixels"), pa.int32()),
    **dict.fromkeys(("robots_txt", "robots_tag", "format", "sha256", "md5"), pa.string()),
    "optout_metadata": pa.string(),
    "tdm_reservation": pa.bool_(),
}  # fmt: skip
AUDITED = 0.4
RULES = [
    {"reason": "low_resolution", "when": "width < 3", "if_null": "drop"},
    {"reason": "x_tall", "when": "height > 3"},
    {"reason": "low_resolution", "when": "height < 1"},
    {"reason": "not_measured", "when": "bytes = 0"},
    {"reason": "duplicate", "when": "dup_group is not null and coalesce(bytes, 1) < 4"},
    {"reason": "duplicate", "when": "dup_group = 'c'"},
    {"reason": "x_tall", "when": "width > 5", "if_null": "drop"},
]


@dataclass
class Shard:
    """The part of a shard's interface that `decide` uses."""

    shard: int
    rows: list[dict[str, Any]]

    def table(self, *names: str) -> pa.Table:
        schema = pa.schema([("uid", pa.string()), *((name, KINDS[name]) for name in names)])
        return pa.Table.from_pylist(self.rows, schema=schema)

    def left_out(self) -> np.ndarray:
        return np.array([row["left_out"] for row in self.rows], bool)


FETCH_RULES = [
    {"reason": "opted_out_robots_txt", "when": "robots_txt = 'forbidden'"},
    {"reason": "too_large", "when": "bytes > 4"},
]
"""Rules of `download:` that the rows may break; they come before the job's."""


def holds(rule: dict[str, Any], row: dict[str, Any]) -> bool | None:
    """The result of the rule's SQL for one row; None if it is unknown."""
    width, height, size, group = (row[n] for n in ("width", "height", "bytes", "dup_group"))
    if rule["when"].startswith("dup_group is"):
        return group is not None and (1 if size is None else size) < 4
    value, test = {
        "robots_txt = 'forbidden'": (row["robots_txt"], lambda: row["robots_txt"] == "forbidden"),
        "bytes > 4": (size, lambda: size > 4),
        "width < 3": (width, lambda: width < 3),
        "height > 3": (height, lambda: height > 3 or math.isnan(height)),  # SQL: NaN is largest
        "height < 1": (height, lambda: height < 1),
        "bytes = 0": (size, lambda: size == 0),
        "dup_group = 'c'": (group, lambda: group == "c"),
        "width > 5": (width, lambda: width > 5),
    }[rule["when"]]
    return None if value is None else test()


def judge(
    shards: list[Shard], rules: list[dict[str, Any]], prefer: list[str]
) -> list[dict[str, Any]]:
    """The verdicts, computed row by row."""
    rows = [row for shard in shards for row in shard.rows]
    found: dict[str, list[str]] = {}
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        failure = row["input_error"] or row["fetch_reason"]
        reasons = [failure] if failure else []
        doubtful = False
        for rule in rules:
            answer = holds(rule, row)
            excused = failure is not None or row["status"] == "skipped"
            if rule["reason"] == "duplicate":
                doubtful |= answer is True
            elif answer or (answer is None and rule.get("if_null") == "drop" and not excused):
                reasons += [rule["reason"]] if rule["reason"] not in reasons else []
        if row["status"] == "skipped" and not reasons:
            reasons = ["not_measured"]
        found[row["uid"]] = reasons
        if doubtful and row["dup_group"] is not None:
            groups.setdefault(row["dup_group"], []).append(row)
    order = [rule["reason"] for rule in rules]

    def place(reason: str) -> int:
        return (
            order.index(reason)
            if reason in order
            else len(order) * (reason == "not_measured") or -1
        )

    def rank(row: dict[str, Any]) -> tuple[Any, ...]:
        values = [row[name] for name in prefer]
        return (*(math.inf if v is None or math.isnan(v) else -v for v in values), row["uid"])

    best: dict[str, str] = {}
    for members in groups.values():
        clean = [row for row in members if not found[row["uid"]]]
        if clean:
            kept = min(clean, key=rank)["uid"]
            best |= {row["uid"]: kept for row in members if row["uid"] != kept}
    for uid in best:
        found[uid] = sorted([*found[uid], "duplicate"], key=place)
    return [
        {
            "uid": row["uid"], "reason": next(iter(found[row["uid"]]), None),
            "reasons": found[row["uid"]], "dup_of": best.get(row["uid"]),
            "audit": row["left_out"] and int(row["uid"][-8:], 16) < AUDITED * 2**32,
        }
        for row in rows
    ]  # fmt: skip


def verdicts(stage: DecideStage, shards: list[Shard], count: int) -> list[dict[str, Any]]:
    """The verdicts of the stage, merged in so many partitions."""
    prepared = {shard.shard: stage.prepare(shard) for shard in shards}
    dealt = pa.concat_tables(
        deal(own.dealt, stage.key).append_column(
            "shard",
            pa.array([number] * own.dealt["group"].is_valid().to_pylist().count(True), pa.int32()),
        )
        for number, own in prepared.items()
    )
    answers = []
    for share in partitions_for(count):
        low, high = share.bounds
        mine = pc.and_(pc.greater_equal(dealt["_hash"], low), pc.less(dealt["_hash"], high))
        answers.append(stage.merge(shards, dealt.filter(mine).drop_columns(["_hash"])))
    merged = pa.concat_tables(answers)
    found = []
    for shard in shards:
        mine = merged.filter(pc.equal(merged["shard"], shard.shard))
        output = stage.run(shard, prepared[shard.shard].own, mine)
        table = check_columns(stage.writes, output.table, "decide")
        found += table.to_pylist()
        kept = table["reason"].null_count
        assert output.summary == {"kept": kept, "dropped": table.num_rows - kept}
    return found


ROW = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["success", "failed", "skipped", None]),
        "fetch_reason": st.sampled_from([None, None, None, "timeout", "too_large"]),
        "robots_txt": st.sampled_from([None, "allowed", "forbidden"]),
        "left_out": st.booleans(),
        "input_error": st.sampled_from([None, None, "url_missing"]),
        "dup_group": st.sampled_from([None, "a", "b", "c"]),
        "width": st.none() | st.integers(0, 7),
        "height": st.none() | st.sampled_from([0.0, -0.0, 2.0, 9.0, math.nan, -math.inf]),
        "bytes": st.none() | st.integers(0, 5),
    }
)
SAME_GROUP = {
    "status": None, "fetch_reason": None, "input_error": None, "dup_group": "c", "width": 4,
    "height": -math.inf, "bytes": None, "robots_txt": None, "left_out": False,
}  # fmt: skip


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(ROW, max_size=8), min_size=1, max_size=4),
    st.lists(st.sampled_from(RULES), max_size=6),
    st.lists(st.sampled_from(["width", "height", "bytes"]), max_size=3, unique=True),
)
@example([[]], [], [])
@example(
    [[SAME_GROUP, SAME_GROUP | {"height": None}], [SAME_GROUP | {"height": math.nan}]],
    RULES[5:6],
    ["height"],
)
def test_columns_and_rows_give_the_same_verdicts(rows, rules, prefer):
    shards = [
        Shard(
            i,
            [
                {"uid": f"{(7 * j + i) % 10}{i}{(3 * j + i) % 8 << 29 | j:08x}", **row}
                for j, row in enumerate(members)
            ],
        )
        for i, members in enumerate(rows)
    ]
    job: Job = parse_job(
        {
            "input": "x", "name": "x", **BARE, "rules": rules, "dedup": {"prefer": prefer},
            "download": {"max_bytes": 4}, "audit_fraction": AUDITED,
        }, "job.yaml",
    )  # fmt: skip
    stage = DecideStage(job, {"uid": pa.string(), **KINDS})
    for count in (1, 2, 7):
        found = verdicts(stage, shards, count)
        assert found == judge(shards, FETCH_RULES + rules, prefer), f"{count} partitions"
