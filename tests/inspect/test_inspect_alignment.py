"""Parts that are found aligned without decoding hold exactly their shard's uids."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_run import Made, many_samples

from pipeline.engine.parts import Parts, stage_parts
from pipeline.inspect.alignment import aligned_parts
from pipeline.inspect.stats import stats
from pipeline.inspect.view import connect
from pipeline.table.parquet import write_parquet


def names(made: Made) -> frozenset[str]:
    return frozenset(part.name for part in stage_parts(made.run))


def embed(made: Made) -> tuple[list[Parts], Path]:
    """The run's parts, read before any change, and the file of shard 1 of `embed`."""
    (path,) = Path(made.run.folder.path("parts")).glob("embed-*/00001.parquet")
    return stage_parts(made.run), path


def test_every_part_of_a_finished_run_is_found_without_decoding(made: Made) -> None:
    found = aligned_parts(made.run, stage_parts(made.run), [0, 1, 2])
    assert found == dict.fromkeys([0, 1, 2], names(made))
    assert "embed" in names(made)


@pytest.mark.parametrize("change", ["swapped", "lost", "repeated", "another uid"])
def test_a_part_with_other_rows_is_not_found(make, change: str) -> None:
    made = make(many_samples())
    parts, path = embed(made)
    table = pq.read_table(path)
    rows = list(range(table.num_rows))
    rows = {"swapped": [1, 0, *rows[2:]], "lost": rows[:-1], "repeated": [0, *rows[:-1]]}.get(
        change, rows
    )
    table = table.take(rows)
    if change == "another uid":
        uids = table["uid"].to_pylist()
        uids[3] = uids[3][:-1] + ("0" if uids[3][-1] != "0" else "1")
        table = table.set_column(0, "uid", pa.array(uids))
    write_parquet(table, path)
    found = aligned_parts(made.run, parts, [0, 1, 2])
    assert found == {0: names(made), 1: names(made) - {"embed"}, 2: names(made)}
    count = "SELECT count(*) FILTER (aligned IS NOT TRUE) FROM checked"
    counted = []
    for known in (found, None):
        with connect(made.run, parts=parts, own=True, aligned=known) as db:
            counted += db.execute(count).fetchone()
    # Behind a lost row the rows of later shards move too, unless these are known to be aligned.
    assert 0 < counted[0] <= counted[1]


@pytest.mark.parametrize("options", [{"compression": "snappy"}, {"use_dictionary": True}])
def test_a_part_that_was_written_in_another_way_is_compared_by_its_uids(make, options) -> None:
    made = make(many_samples())
    parts, path = embed(made)
    pq.write_table(pq.read_table(path), path, **{"compression": "zstd", **options})
    assert aligned_parts(made.run, parts, [1]) == {1: names(made) - {"embed"}}
    with connect(made.run, parts=parts, own=True) as db:
        assert db.execute("SELECT bool_and(aligned) FROM checked").fetchone() == (True,)
    assert stats(made.run)["misaligned"] == 0


def test_a_file_without_uids_is_aligned_with_nothing(make) -> None:
    made = make(many_samples())
    parts, path = embed(made)
    write_parquet(pq.read_table(path).drop_columns(["uid"]), path)
    assert aligned_parts(made.run, parts, [1]) == {1: names(made) - {"embed"}}
