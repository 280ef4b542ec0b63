"""A merge in partitions: each task reads only its rows; their number changes no result."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lab import Lab
from leaks import leaks
from takedown import folder, take

from pipeline.config.load import load_job
from pipeline.engine.damage import find_damage
from pipeline.engine.merging import NOTHING, Partition, deal
from pipeline.engine.parts import stage_parts
from pipeline.inspect.preview import preview
from pipeline.inspect.query import query
from pipeline.inspect.stats import stats
from pipeline.judge.decide import DecideStage
from pipeline.table.part import part_folder
from pipeline.table.run import Run

KINDS = ("merged", "dealt")
DUPLICATES = "select uid, reason, reasons, dup_of from samples order by uid"


@pytest.fixture
def parts_of(monkeypatch):
    """`parts_of(rows)`: `decide` merges a partition for so many rows of the run."""
    return lambda rows: monkeypatch.setattr(DecideStage, "rows_at_once", rows)


@pytest.fixture
def merges(monkeypatch) -> list[set[str]]:
    """Records the groups of each merge of `decide`."""
    seen: list[set[str]] = []
    merge = DecideStage.merge

    def noting(self, shards, rows):
        assert "_hash" not in rows.column_names
        seen.append(set(rows["group"].to_pylist()))
        return merge(self, shards, rows)

    monkeypatch.setattr(DecideStage, "merge", noting)
    return seen


@pytest.fixture
def pairs(lab) -> Path:
    """A job that lists each picture twice, with the copies at the end of another shard."""
    rows = [*lab.site.rows[:12]]
    duplicates = [{**row, "caption": f"{row['caption']}, again"} for row in rows]
    return lab.job([*rows, *duplicates, *lab.site.dead], shard_size=9)


def place(result) -> Path:
    """The folder of the parts of `decide`."""
    fingerprint = result.run.state["products"]["decide"]["fingerprint"]
    return Path(result.run.folder.path(part_folder("decide", fingerprint)))


def made(lab: Lab, result, before: int) -> list[tuple[list[str], str | None]]:
    return [(e["stages"], e["step"]) for e in lab.log(result)[before:] if e["event"] == "done"]


def test_a_merge_reads_only_its_partition_and_their_number_changes_no_verdict(
    lab, pairs, parts_of, merges
):
    whole = lab.run(pairs)
    (all_groups,) = merges
    verdicts = query(whole.run, DUPLICATES).to_pylist()
    assert len(all_groups) >= 10
    for rows, count in ((14, 2), (4, 7)):
        merges.clear()
        parts_of(rows)
        result = lab.run(pairs)
        assert len(merges) == count
        assert set().union(*merges) == all_groups
        assert sum(map(len, merges)) == len(all_groups), "a group was seen by two merges"
        assert query(result.run, DUPLICATES).to_pylist() == verdicts
        assert result.digest == whole.digest
        assert (result.cached["dedup"], result.cached["decide"]) == (True, False)
        assert preview(load_job(pairs))["stages"][-2]["why"] == "up to date"
        assert stats(result.run)["conserved"] is True


def test_a_row_without_a_key_goes_to_no_partition(lab, pairs, parts_of):
    parts_of(9)
    result = lab.run(pairs)
    dealt = [pq.read_table(path) for path in sorted(place(result).glob("*.dealt.parquet"))]
    members = query(result.run, "select uid from samples where dup_group is not null")
    assert {uid for table in dealt for uid in table["uid"].to_pylist()} == set(
        members["uid"].to_pylist()
    )
    for table in dealt:
        hashes = table["_hash"].to_pylist()
        assert hashes == sorted(hashes), "a partition is no run of rows"


def test_one_lost_partition_is_merged_again_and_no_other(lab, pairs, parts_of, merges):
    parts_of(7)
    first = lab.run(pairs)
    folder, events = place(first), len(lab.log(first))
    (of_one,) = [m for n, m in enumerate(merges) if n == 1]
    merges.clear()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.dealt.parquet")}
    kept |= {n: (folder / n).stat().st_mtime_ns for n in ("merged-000.json", "merged-002.parquet")}
    (folder / "merged-001.parquet").unlink()
    assert (stage_parts(first.run)[-1].name, stage_parts(first.run)[-1].sidecars) == ("decide", {})
    again = lab.run(pairs)
    assert merges == [of_one]
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept
    assert made(lab, again, events).count(([], "merge 1")) == 1
    assert {tuple(stages) for stages, _ in made(lab, again, events)} == {(), ("decide",)}
    assert again.digest == first.digest
    lab.run(pairs)
    assert lab.said == ["everything is up to date; nothing to do"]


def test_with_fewer_partitions_no_stale_one_is_read(lab, pairs, parts_of):
    parts_of(4)
    many = lab.run(pairs)
    parts_of(14)
    few = lab.run(pairs)
    (part,) = [part for part in stage_parts(few.run) if part.name == "decide"]
    merged = [one for one in part.shared if one.shard == -1]
    assert [one.inputs["partitions"] for one in merged] == ["2", "2"]
    assert len(part.sidecars) == len(few.run.index)
    assert many.digest == few.digest


def test_a_changed_partition_is_found_as_damage(lab, pairs, parts_of):
    parts_of(7)
    result = lab.run(pairs)
    file = place(result) / "merged-002.parquet"
    file.write_bytes(file.read_bytes()[:-9] + b"\0" * 9)
    assert str(find_damage(result.run)).startswith(f"{file} was cut or changed from outside")


def test_a_takedown_removes_every_partition(copy, parts_of):
    parts_of(9)
    before = copy.run(copy.folder / "job.yaml")
    (duplicate,) = query(before.run, "select * from samples where dup_of is not null").to_pylist()

    def holding() -> set[tuple[str, str]]:
        """Stages and kinds of intermediate files that contain the duplicate's uid."""
        files = [*folder(copy).glob("parts/*/merged-*.parquet")]
        files += folder(copy).glob("parts/*/*.dealt.parquet")
        return {
            (path.parent.name.split("-")[0], re.search("merged|dealt", path.name)[0])
            for path in files
            if duplicate["uid"] in pq.read_table(path)["uid"].to_pylist()
        }

    assert len(list(place(before).glob("merged-*.json"))) == 5
    assert holding() == {(stage, kind) for stage in ("pairs", "dedup", "decide") for kind in KINDS}
    # Its picture is also that of the duplicate that stays.
    secret = {name: duplicate[name].encode() for name in ("url", "caption", "licence")}
    take(copy, ("uid", duplicate["uid"]))
    assert holding() == set()
    assert leaks(folder(copy), secret) == []
    assert stats(Run(folder(copy)))["reasons"]["forgotten"] == 1


@pytest.fixture
def alone(lab):
    """A run of 12 different pictures in four shards, whose judgement has no group to merge."""
    return lab.run(lab.job(lab.site.rows[:12], shard_size=3))


def inputs_of_the_merge(result) -> list[str]:
    names = sorted(path.name for path in place(result).glob("?????.json"))
    return [json.loads((place(result) / name).read_text())["inputs"]["merged"] for name in names]


def test_without_groups_nothing_is_merged_and_nothing_is_kept_for_it(lab, alone, merges):
    assert inputs_of_the_merge(alone) == [NOTHING] * 4
    files = {f"0000{n}.{end}" for n in range(4) for end in ("parquet", "json")}
    assert {path.name for path in place(alone).iterdir()} == {*files, "recipe.json"}
    assert stats(alone.run)["kept"] == 12
    assert preview(load_job(lab.folder / "job.yaml"))["stages"][-2]["why"] == "up to date"
    lab.run(lab.folder / "job.yaml")
    assert lab.said == ["everything is up to date; nothing to do"]


def test_a_lost_part_without_groups_is_made_alone(lab, alone):
    before = {p.name: p.stat().st_mtime_ns for p in place(alone).glob("?????.parquet")}
    (place(alone) / "00002.json").unlink()
    events = len(lab.log(alone))
    again = lab.run(lab.folder / "job.yaml")
    after = {p.name: p.stat().st_mtime_ns for p in place(alone).glob("?????.parquet")}
    assert {name for name in after if after[name] != before[name]} == {"00002.parquet"}
    assert made(lab, again, events).count((["decide"], "prepare")) == 4
    assert again.digest == alone.digest


def test_shards_with_a_group_are_merged_and_the_others_stay(lab, alone, merges):
    merges.clear()
    rows = lab.site.rows[:12]
    copy = {**rows[0], "caption": "the first picture again"}
    grown = lab.run(lab.job([*rows, copy], shard_size=3))
    (members,) = query(grown.run, "select list(distinct shard) l from samples where dup_group is "
                       "not null")["l"].to_pylist()  # fmt: skip
    assert (len(merges[-1]), len(members)) == (1, 2)
    merged = {n: one != NOTHING for n, one in enumerate(inputs_of_the_merge(grown))}
    assert [shard for shard, needs in merged.items() if needs] == sorted(members)
    assert stats(grown.run)["reasons"] == {"duplicate": 1}
    # Without the copy nothing of the merge is left behind that could be read or taken for damage.
    (place(grown) / "merged-000.json").unlink()
    (part,) = [part for part in stage_parts(grown.run) if part.name == "decide"]
    assert set(part.sidecars) == set(range(5)) - set(members)
    again = lab.run(lab.folder / "job.yaml")
    assert (again.digest, find_damage(again.run)) == (grown.digest, None)


def test_a_takedown_judges_anew_what_was_never_merged(lab, alone):
    (row,) = query(alone.run, "select uid, url, caption from samples limit 1").to_pylist()
    take(lab, ("uid", row["uid"]))
    shown = stats(Run(folder(lab)))
    assert (shown["kept"], shown["reasons"], shown["conserved"]) == (11, {"forgotten": 1}, True)
    assert leaks(folder(lab), {"url": row["url"].encode()}) == []


def test_rows_go_to_the_same_partition_in_every_process():
    rows = pa.table({"uid": ["1", "2", "3", "4"], "group": ["b", None, "a", "b"]})
    dealt = deal(rows, "group")
    assert dealt["uid"].to_pylist() == ["3", "1", "4"]
    assert dealt["_hash"].to_pylist() == [3391310933, 4254941009, 4254941009]
    assert [Partition(n, 3).bounds for n in range(3)] == [(0, 2**32 // 3), (2**32 // 3, 2**33 // 3),
                                                     (2**33 // 3, 2**32)]  # fmt: skip
