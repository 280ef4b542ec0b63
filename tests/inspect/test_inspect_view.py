import json
import shutil
from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pytest
from made_run import STAGES, Made, make_run, many_samples, sample

from pipeline.engine.parts import stage_parts
from pipeline.inspect.view import connect
from pipeline.table.parquet import write_parquet
from pipeline.table.part import digest_of
from pipeline.table.run import Run
from pipeline.words.errors import InputError


def test_every_row_is_joined_with_its_own_measurements(made: Made) -> None:
    with connect(made.run) as db:
        rows = db.sql("SELECT * FROM samples ORDER BY shard, row").to_arrow_table().to_pylist()
    assert [(row["shard"], row["row"]) for row in rows] == [(i // 25, i % 25) for i in range(60)]
    for row, expected in zip(rows, made.rows, strict=True):
        for name, value in expected.items():
            exact = (
                row[name] == pytest.approx(value)
                if isinstance(value, float)
                else row[name] == value
            )
            assert exact, (name, row[name], value)


def test_verdicts_say_kept_dropped_or_failed(made: Made) -> None:
    with connect(made.run) as db:
        counts = dict(db.execute("SELECT verdict, count(*) FROM samples GROUP BY 1").fetchall())
    assert counts == {"kept": 44, "dropped": 10, "failed": 6}


def test_rows_of_a_quarantined_shard_appear_as_unfinished(make) -> None:
    skip = frozenset({("images", 1), ("dedup", 1), ("decide", 1)})
    made = make(many_samples(), skip=skip)
    with connect(made.run) as db:
        rows = db.sql("SELECT * FROM samples WHERE shard = 1").to_arrow_table().to_pylist()
    assert len(rows) == 25
    assert {row["verdict"] for row in rows} == {"unfinished"}
    assert {row["punsafe"] for row in rows} == {None}
    assert sum(row["clip_score"] is not None for row in rows) > 0


def test_before_decide_the_reason_columns_are_there_as_nulls(make) -> None:
    made = make(many_samples(), stages=("captions",))
    with connect(made.run) as db:
        found = db.execute(
            "SELECT DISTINCT verdict, reason, reasons, dup_of FROM samples"
        ).fetchall()
    assert found == [("unfinished", None, None, None)]


def test_a_part_made_from_an_older_shard_does_not_count(make) -> None:
    made = make(many_samples())
    index = json.loads(made.run.folder.read("shards/index.json"))
    index["shards"][2][1] = "another digest"
    made.run.folder.write("shards/index.json", json.dumps(index).encode())
    assert {part.name: sorted(part.sidecars) for part in stage_parts(made.run)} == {
        stage: [0, 1] for stage in STAGES
    }


def test_a_part_made_from_an_older_part_does_not_count(make) -> None:
    made = make(many_samples())
    (folder,) = Path(made.run.folder.path("parts")).glob("embed-*")
    sidecar = json.loads((folder / "00001.json").read_text())
    again = dict.fromkeys(sidecar["digests"] or ["00001.parquet"], "embedded again")
    (folder / "00001.json").write_text(
        json.dumps(sidecar | {"digest": digest_of(again), "digests": again})
    )
    shards = {part.name: sorted(part.sidecars) for part in stage_parts(made.run)}
    assert shards["embed"] == [0, 1, 2]
    assert shards["images"] == [0, 2]
    assert shards["decide"] == [0, 2]


def test_a_column_of_the_input_that_the_view_needs_is_renamed(tmp_path: Path) -> None:
    made = make_run(tmp_path, [sample(0), sample(1)])
    path = Path(made.run.folder.path("shards/00000.parquet"))
    table = made.run.shard(0).rename_columns({"source": "verdict"})
    write_parquet(table, path)
    with connect(Run(tmp_path)) as db:
        assert db.execute("SELECT verdict, input_verdict FROM samples").fetchall() == [
            ("kept", "crawl-0"), ("kept", "crawl-1"),
        ]  # fmt: skip


def test_only_the_named_shards_are_read(made: Made) -> None:
    with connect(made.run, [2]) as db:
        assert db.execute("SELECT DISTINCT shard FROM samples").fetchall() == [(2,)]
    with connect(made.run, []) as db:
        assert db.execute("SELECT count(*) FROM samples").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM listed").fetchone() == (0,)


def test_a_remote_run_reads_the_same(made: Made) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(made.run.folder.path(), "/inspected", recursive=True)
    try:
        run = Run.open("memory://inspected")
        with connect(run) as db:
            remote = db.sql("SELECT * FROM samples ORDER BY shard, row").to_arrow_table()
    finally:
        memory.rm("/inspected", recursive=True)
    with connect(made.run) as db:
        assert remote.equals(db.sql("SELECT * FROM samples ORDER BY shard, row").to_arrow_table())


def test_rows_of_large_shards_keep_their_order_across_row_groups(tmp_path: Path) -> None:
    rows = 250_000
    made = make_run(tmp_path, [sample(0)], stages=("captions",))
    shard = Path(made.run.folder.path("shards/00000.parquet"))
    (part,) = Path(made.run.folder.path("parts")).glob("captions-*/00000.parquet")
    uids = [f"{i:032x}" for i in range(rows)]
    for path, values in (
        (shard, {"url": uids, "repeats": [1] * rows}),
        (part, {"caption_words": range(rows)}),
    ):
        table = pa.table({"uid": uids, **{k: pa.array(v) for k, v in values.items()}})
        write_parquet(table, path)
    sidecar = json.loads(part.with_suffix(".json").read_text())
    sidecar |= {"rows": rows, "files": {"00000.parquet": part.stat().st_size}}
    part.with_suffix(".json").write_text(json.dumps(sidecar))
    index = json.loads(made.run.folder.read("shards/index.json"))
    index["shards"][0][0] = rows
    made.run.folder.write("shards/index.json", json.dumps(index).encode())
    with connect(made.run) as db:
        query = "SELECT count(*) FILTER (aligned AND row = caption_words), count(*) FROM checked"
        assert db.execute(query).fetchone() == (rows, rows)


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO 'run://shards/00000.parquet' (USE_TMP_FILE false)",
        "WITH a AS (COPY (SELECT 1) TO 'run://shards/00000.parquet' (USE_TMP_FILE false)) SELECT 1",
        "WITH a AS (COPY (SELECT 1) TO '{local}' (USE_TMP_FILE false)) SELECT 1",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_parquet('{local}')",
        "ATTACH '{local}.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ],
)
def test_the_database_reads_nothing_else_and_writes_nothing(tmp_path: Path, statement: str) -> None:
    made = make_run(tmp_path, [sample(0)])
    local = made.run.folder.path("shards/00000.parquet")
    before = Path(local).read_bytes()
    with connect(made.run) as db, pytest.raises(duckdb.Error, match=r"Permission|only read|locked"):
        db.execute(statement.format(local=local)).fetchall()
    assert Path(local).read_bytes() == before


def test_a_run_without_shards_says_what_to_do(make) -> None:
    made = make([sample(0)])
    shutil.rmtree(made.run.folder.path("shards"))
    with pytest.raises(InputError, match=r"no shards yet .*winnow run"):
        connect(made.run)
