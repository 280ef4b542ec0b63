"""Dealing: repeats are merged, invalid rows get a reason, up-to-date shards do not change."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_run import make_job, pairs, write_rows

from pipeline.config.job import Job
from pipeline.engine.ingest import _check_all_dealt
from pipeline.ingest.deal import deal, find_listing, why_not_current
from pipeline.table.part import shard_name
from pipeline.table.run import Run, ShardIndex
from pipeline.words.errors import PartError
from pipeline.words.uid import make_uid


class Dealt:
    """A list and what was dealt from it."""

    def __init__(self, job: Job) -> None:
        self.job, self.run = job, Run(f"{job.output}/{job.name}")
        self.source = Path(job.inputs()[0])

    def deal(self) -> ShardIndex:
        return deal(self.run, self.job, find_listing(self.job, frozenset()), lambda rows: None)

    def rewrite(self, rows) -> ShardIndex:
        write_rows(self.source, rows)
        return self.deal()

    def is_current(self) -> bool:
        return why_not_current(self.run, self.job, find_listing(self.job, frozenset())) is None

    def shards(self) -> list[list[dict]]:
        return [self.run.shard(i).to_pylist() for i in range(len(self.run.index))]

    def rows(self) -> list[dict]:
        return [row for shard in self.shards() for row in shard]

    def repeats(self) -> dict[str, int]:
        return {row["caption"]: row["repeats"] for row in self.rows()}


@pytest.fixture
def dealt_of(job_of):
    return lambda rows, **sections: Dealt(job_of(rows, **sections))


def uids(rows) -> list[str]:
    return [make_uid(row["url"], row["caption"]) for row in rows]


def test_rows_are_dealt_into_shards_of_the_given_size(dealt_of):
    dealt = dealt_of(pairs(25), shard_size=10)
    index = dealt.deal()
    assert [rows for rows, _ in index.shards] == [10, 10, 5]
    assert (index.rows_in, index.rows) == (25, 25)
    assert sorted(row["uid"] for row in dealt.rows()) == sorted(uids(pairs(25)))
    assert index == dealt.run.index


def test_exact_repeats_are_merged_and_counted(dealt_of):
    rows = pairs(6)
    dealt = dealt_of([*rows, *rows[:3], rows[0]])
    index = dealt.deal()
    assert (index.rows_in, index.rows) == (10, 6)
    assert sum(dealt.repeats().values()) == index.rows_in
    assert dealt.repeats()[rows[0]["caption"]] == 3
    assert dealt.repeats()[rows[5]["caption"]] == 1


def test_the_first_of_repeated_rows_gives_the_other_columns(dealt_of):
    row = pairs(1)[0]
    dealt = dealt_of([row | {"forum": "first"}, row | {"forum": "second"}])
    dealt.deal()
    assert [row["forum"] for row in dealt.rows()] == ["first"]


def test_invalid_rows_are_dealt_and_counted_like_others(dealt_of):
    dealt = dealt_of([])
    lines = [json.dumps(row) for row in pairs(3)] + ["{oops", "{oops", '{"url": null}']
    dealt.source.write_text("\n".join(lines))
    index = dealt.deal()
    errors = {row["input_error"]: row["repeats"] for row in dealt.rows() if row["input_error"]}
    assert errors == {"malformed_row": 2, "url_missing": 1}
    assert index.rows_in == 6 == sum(row["repeats"] for row in dealt.rows())


def test_a_shard_that_lost_a_row_is_an_error(dealt_of):
    rows = pairs(5)
    dealt = dealt_of([*rows, rows[0]], shard_size=2)
    index = dealt.deal()
    _check_all_dealt(dealt.run, index)
    path = dealt.run.folder.path("shards/00001.parquet")
    pq.write_table(dealt.run.shard(1).slice(0, 1), path)
    with pytest.raises(PartError, match=r"ingest: 6 rows read, but [45] dealt"):
        _check_all_dealt(dealt.run, index)
    assert not dealt.run.folder.exists("shards/index.json")


def test_the_same_list_is_current_until_it_changes(dealt_of):
    dealt = dealt_of(pairs(5))
    assert not dealt.is_current()
    dealt.deal()
    assert dealt.is_current()
    write_rows(dealt.source, pairs(6))
    assert not dealt.is_current()


def test_a_lost_shard_file_is_noticed(dealt_of):
    dealt = dealt_of(pairs(5), shard_size=2)
    dealt.deal()
    dealt.run.folder.remove("shards/00001.parquet")
    assert not dealt.is_current()
    before = dealt.run.index
    assert dealt.deal() == before


def test_appended_rows_go_to_new_shards(dealt_of):
    dealt = dealt_of(pairs(25), shard_size=10)
    before, old = dealt.deal(), dealt.shards()
    after = dealt.rewrite([*pairs(5, first=100), *pairs(25)])
    assert after.shards[:3] == before.shards
    assert dealt.shards()[:3] == old
    assert [rows for rows, _ in after.shards] == [10, 10, 5, 5]  # a short shard stays as it is
    assert {row["uid"] for row in dealt.shards()[3]} == set(uids(pairs(5, first=100)))


def test_a_later_repeat_changes_only_the_count(dealt_of):
    rows = pairs(25)
    dealt = dealt_of(rows, shard_size=10)
    before, old = dealt.deal(), dealt.rows()
    after = dealt.rewrite([*rows, rows[7], rows[7]])
    assert after.shards == before.shards  # so no part becomes stale
    assert after.rows_in == 27
    changed = [(a, b) for a, b in zip(old, dealt.rows(), strict=True) if a != b]
    assert [(a["caption"], a["repeats"], b["repeats"]) for a, b in changed] == [
        (rows[7]["caption"], 1, 3)
    ]


def test_a_changed_value_makes_its_own_shard_stale_and_no_other(dealt_of):
    rows = [row | {"forum": "a"} for row in pairs(25)]
    dealt = dealt_of(rows, shard_size=10)
    before = dealt.deal()
    rows[3]["forum"] = "b"
    after = dealt.rewrite(rows)
    other = [a == b for a, b in zip(before.shards, after.shards, strict=True)]
    assert sorted(other) == [False, True, True]
    assert [r["forum"] for r in dealt.rows() if r["caption"] == rows[3]["caption"]] == ["b"]


def test_unknown_numbers_do_not_make_a_shard_stale(tmp_path: Path, dealt_of):
    """NaN is not equal to itself, but a row that contains it has not changed."""
    dealt = dealt_of(pairs(4))
    table = pa.table({"url": list("abcd"), "caption": list("abcd"), "x": [float("nan")] * 4})
    pq.write_table(table, tmp_path / "x.parquet")
    job = dealt.job.model_copy(update={"input": str(tmp_path / "x.parquet")})
    dealt = Dealt(job)
    before = dealt.deal()
    shard = Path(dealt.run.folder.path("shards/00000.parquet"))
    written = shard.stat().st_mtime_ns
    more = pa.table({"url": ["e"], "caption": ["e"], "x": [1.0]})
    pq.write_table(pa.concat_tables([table, more]), tmp_path / "x.parquet")
    after = dealt.deal()
    assert after.shards[:1] == before.shards
    assert shard.stat().st_mtime_ns == written


def test_a_removed_row_makes_all_rows_be_dealt_again(dealt_of):
    dealt = dealt_of(pairs(25), shard_size=10)
    before = dealt.deal()
    after = dealt.rewrite(pairs(24))
    assert [rows for rows, _ in after.shards] == [10, 10, 4]
    assert after.shards != before.shards
    assert sorted(row["uid"] for row in dealt.rows()) == sorted(uids(pairs(24)))


def test_another_shard_size_deals_all_rows_again_and_leaves_no_old_shard(dealt_of):
    dealt = dealt_of(pairs(25), shard_size=5)
    dealt.deal()
    dealt.job = dealt.job.model_copy(update={"shard_size": 20})
    assert not dealt.is_current()
    dealt.deal()
    assert dealt.run.folder.names("shards") == ["00000.parquet", "00001.parquet", "index.json"]


def test_another_column_makes_all_rows_be_dealt_again(dealt_of):
    dealt = dealt_of(pairs(5))
    dealt.deal()
    dealt.rewrite([row | {"forum": "a"} for row in pairs(5)])
    assert {row["forum"] for row in dealt.rows()} == {"a"}


@pytest.mark.parametrize("left", ["shards only", "torn index", "torn shard", "a shard too many"])
def test_a_killed_deal_is_done_correctly_the_next_time(dealt_of, left: str):
    dealt = dealt_of(pairs(25), shard_size=10)
    before = dealt.deal()
    shards = Path(dealt.run.folder.path("shards"))
    if left == "shards only":
        (shards / "index.json").unlink()
    elif left == "torn index":
        (shards / "index.json").write_text('{"inputs": "ab')
    elif left == "torn shard":
        (shards / "00001.parquet").write_bytes(b"PAR1 and no more")
    else:  # killed while growing: a new shard, and the index still of before
        (shards / "00003.parquet").write_bytes((shards / "00002.parquet").read_bytes())
    rows = pairs(27) if left == "a shard too many" else pairs(25)
    after = dealt.rewrite(rows)
    assert after.shards[:3] == before.shards
    assert sorted(row["uid"] for row in dealt.rows()) == sorted(uids(rows))


class Killed(BaseException):
    pass


def test_a_kill_between_new_shards_and_index_loses_nothing(dealt_of, monkeypatch):
    dealt = dealt_of(pairs(25), shard_size=10)
    before = dealt.deal()
    rows = [*pairs(40), pairs(1)[0]]
    write_rows(dealt.source, rows)

    def die(self):
        raise Killed

    monkeypatch.setattr(ShardIndex, "encode", die)
    with pytest.raises(Killed):
        dealt.deal()
    monkeypatch.undo()
    assert dealt.run.index == before
    assert not dealt.is_current()
    after = dealt.deal()
    assert after.shards[:3] == before.shards
    assert sum(row["repeats"] for row in dealt.rows()) == after.rows_in == 41
    assert dealt.repeats()[rows[-1]["caption"]] == 2


def test_an_unreadable_list_does_not_change_the_shards(dealt_of):
    dealt = dealt_of(pairs(5))
    before, old = dealt.deal(), dealt.rows()
    broken = find_listing(dealt.job, frozenset())
    dealt.source.unlink()
    with pytest.raises(Exception, match="cannot be read"):
        deal(dealt.run, dealt.job, broken, lambda rows: None)
    assert (dealt.run.index, dealt.rows()) == (before, old)


def test_the_order_of_files_and_of_lines_does_not_matter(tmp_path: Path):
    rows = pairs(30)
    mixed = random.Random(0).sample(rows, len(rows))
    found = []
    for number, part in enumerate((rows, mixed)):
        files = [write_rows(tmp_path / f"{number}-{i}.jsonl", part[i::3]) for i in range(3)]
        job = make_job(tmp_path / f"job{number}", rows, shard_size=7)
        order = files if number == 0 else files[::-1]
        dealt = Dealt(job.model_copy(update={"input": tuple(map(str, order))}))
        found.append([digest for _, digest in dealt.deal().shards])
    assert found[0] == found[1]


def test_many_buckets_deal_the_same_rows(dealt_of, monkeypatch: pytest.MonkeyPatch):
    rows = [*pairs(300), *pairs(40)]
    few = dealt_of(rows, shard_size=50, name="few")
    few.deal()
    monkeypatch.setattr("pipeline.ingest.deal._SMALL", 0)
    many = dealt_of(rows, shard_size=50, name="many")
    many.deal()
    assert sorted(map(str, few.rows())) == sorted(map(str, many.rows()))


def test_progress_is_reported(dealt_of):
    dealt = dealt_of(pairs(12))
    reported: list[int] = []
    deal(dealt.run, dealt.job, find_listing(dealt.job, frozenset()), reported.append)
    assert reported[-1] == 12


def test_nothing_but_shards_is_left_behind(dealt_of):
    dealt = dealt_of(pairs(12))
    dealt.deal()
    assert dealt.run.folder.names() == ["shards"]


def test_dealing_onto_an_object_store(tmp_path: Path):
    job = make_job(tmp_path, pairs(12), shard_size=5, output="memory://ingest-test/runs")
    dealt = Dealt(job)
    dealt.deal()
    assert len(dealt.rows()) == 12
    assert dealt.is_current()


TEXTS = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=3)
LISTS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=30)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(LISTS, LISTS, st.integers(1, 7))
def test_no_row_of_any_list_is_lost_and_added_rows_change_no_old_shard(
    tmp_path_factory, first, more, size
):
    folder = tmp_path_factory.mktemp("any")

    def rows(given_rows):
        return [{"url": url, "caption": caption} for url, caption in given_rows]

    dealt = Dealt(make_job(folder, rows(first), shard_size=size))
    before = dealt.deal()
    after = dealt.rewrite(rows(first + more))
    assert after.shards[: len(before.shards)] == before.shards
    named = [make_uid(url, caption) for url, caption in first + more]
    assert {row["uid"]: row["repeats"] for row in dealt.rows()} == {
        uid: named.count(uid) for uid in named
    }
    assert len(dealt.rows()) == len(set(named))
    assert after.rows_in == len(named)
    assert all(rows <= size for rows, _ in after.shards)
    names = [f"{shard_name(i)}.parquet" for i in range(len(after))]
    assert dealt.run.folder.names("shards") == [*names, "index.json"]
