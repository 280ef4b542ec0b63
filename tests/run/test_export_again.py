"""An export of a changed list: tars whose rows are the same are not written again."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.inspect.query import query

RULES = [
    {"reason": "x_unwanted", "when": "flag = 'no'"},
    {"reason": "x_unneeded", "when": "flag = 'unneeded'"},
]


@pytest.fixture
def flagged(lab):
    """`flagged(uids)`: a run in which these rows are dropped, with four rows per shard and tar."""

    def run(unwanted=frozenset(), word="no"):
        rows = [
            {**row, "caption": f"{row['caption']}, no. {i}.", "flag": word if i in unwanted else ""}
            for i, row in enumerate(lab.site.rows[:20])
        ]
        settings = {"rules": RULES, "shard_size": 4, "export": {"shard_size": 4}}
        return lab.run(lab.job(rows, **settings))

    return run


def placed(result) -> list[list[int]]:
    """The list's rows by shard, in the order of the shards."""
    found = query(result.run, "select shard, caption from samples order by shard, row").to_pylist()
    shards: dict[int, list[int]] = {}
    for row in found:
        shards.setdefault(row["shard"], []).append(int(row["caption"].split()[-1].rstrip(".")))
    return [rows for _, rows in sorted(shards.items())]


def stamps(result) -> dict[str, dict[str, int]]:
    """The modification time of each file of each export shard, sidecars included."""
    folder, found = Path(result.export.place.path()), {}
    files = [*folder.glob("0*"), *Path(result.export.sidecars.path()).glob("0*.json")]
    for path in files:
        found.setdefault(path.name[:5], {})[path.name] = path.stat().st_mtime_ns
    return found


def rewritten(before: dict, after: dict) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def check(result) -> None:
    """The export has every kept row once, in order, and the manifest's counts are right."""
    folder = Path(result.export.place.path())
    manifest = json.loads((folder / "manifest.json").read_text())
    tables = [pq.read_table(folder / shard["parquet"]) for shard in manifest["shards"]]
    uids = [uid for table in tables for uid in table["uid"].to_pylist()]
    kept = query(result.run, "select uid from samples where reason is null order by shard, row")
    assert uids == kept["uid"].to_pylist()
    assert manifest["rows"] == manifest["counts"]["kept"] == len(uids)


def test_one_changed_verdict_rewrites_one_tar(flagged):
    shards = placed(flagged())
    first = flagged({shards[1][0]})
    before = stamps(first)
    assert sorted(before) == ["00000", "00001", "00002", "00003", "00004"]
    # Another row of the same shard is dropped: as many are kept, so no other slice moves.
    second = flagged({shards[1][3]})
    between = stamps(second)
    assert rewritten(before, between) == {"00001"}
    assert second.digest != first.digest
    check(second)
    # A row of the last shard is dropped: no shard follows it, and two tars have a slice of it.
    third = flagged({shards[1][3], shards[4][2]})
    assert rewritten(between, stamps(third)) == {"00003", "00004"}
    check(third)


def test_tars_whose_slices_moved_are_written_again(flagged):
    shards = placed(flagged())
    before = stamps(flagged())
    after = flagged({shards[2][0]})
    assert rewritten(before, stamps(after)) == {"00002", "00003", "00004"}
    check(after)


def test_a_changed_verdict_of_a_dropped_row_writes_the_manifest_again(flagged):
    """No tar has a slice of its shard, but the manifest counts it."""
    shards = placed(flagged())
    first = flagged({*shards[4]})
    before, manifest = stamps(first), Path(first.export.place.path()) / "manifest.json"
    assert json.loads(manifest.read_text())["counts"] == {"kept": 16, "x_unwanted": 4}
    second = flagged({*shards[4]}, word="unneeded")
    assert json.loads(manifest.read_text())["counts"] == {"kept": 16, "x_unneeded": 4}
    assert rewritten(before, stamps(second)) == set()
    check(second)
