"""The sample table's checks, and parts that are complete or absent."""

import json
import operator
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.table.columns import Column, check_columns, check_rows
from pipeline.table.freshness import INGEST, Expected, why_stale
from pipeline.table.parquet import read_parquet, write_parquet
from pipeline.table.part import (
    Sidecar,
    commit,
    file_digest,
    pack_rows,
    read_sidecar,
    unpack_rows,
)
from pipeline.table.storage import Folder
from pipeline.words.errors import PartError

UIDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=2, unique=True)
TABLE = pa.table({"uid": ["a", "b"], "score": pa.array([0.5, None], pa.float32())})


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder on disk, and one on an object store."""
    return Folder(tmp_path if request.param == "local" else f"memory://{uuid.uuid4().hex}/run")


def put(folder: Folder, name: str = "00003", inputs: str = "in", **options) -> object:
    return commit(
        folder, name, 3, {f"{name}.parquet": TABLE}, options.pop("files", {}),
        stage="images", fingerprint="f" * 64, inputs={INGEST: inputs}, rows=2, seconds=1.23456,
        peak_memory_mb=10.04, **options,
    )  # fmt: skip


@given(UIDS)
def test_the_same_rows_in_the_same_order_are_accepted(uids):
    check_rows(uids, list(uids), "images, shard 00000")


@given(UIDS, st.data())
def test_lost_rows_are_refused(uids, data):
    gone = data.draw(st.sets(st.sampled_from(uids), min_size=1))
    with pytest.raises(PartError, match=f"{len(gone)} rows lost, the first {min(gone)}"):
        check_rows(uids, [uid for uid in uids if uid not in gone], "images, shard 00000")


@given(UIDS, st.data())
def test_repeated_rows_are_refused(uids, data):
    place = data.draw(st.integers(0, len(uids)))
    doubled = [*uids[:place], data.draw(st.sampled_from(uids)), *uids[place:]]
    with pytest.raises(PartError, match="1 rows repeated"):
        check_rows(uids, doubled, "images, shard 00000")


@given(UIDS, st.data())
def test_foreign_rows_are_refused(uids, data):
    place = data.draw(st.integers(0, len(uids)))
    with pytest.raises(PartError, match="1 rows of no shard, the first zzz"):
        check_rows(uids, [*uids[:place], "zzz", *uids[place:]], "images, shard 00000")


@given(UIDS, st.data())
def test_reordered_rows_are_refused_from_the_first_that_moved(uids, data):
    mixed = data.draw(st.permutations(uids).filter(lambda other: other != uids))
    first = next(i for i, (a, b) in enumerate(zip(uids, mixed, strict=True)) if a != b)
    with pytest.raises(
        PartError, match=rf"reordered from row {first} on \({uids[first]} expected\)"
    ):
        check_rows(uids, mixed, "images, shard 00000")


def test_a_row_that_replaces_another_is_a_lost_row_not_a_reordering():
    with pytest.raises(PartError, match="dedup, shard 00007: 1 rows lost, the first b"):
        check_rows(["a", "b"], ["a", "a"], "dedup, shard 00007")


SCORE = [Column("score", pa.float32(), "A score.")]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (pa.table({"uid": ["a"]}), r"columns missing \['score'\], surplus \[\]"),
        (TABLE.append_column("more", pa.array([1, 2])), r"missing \[\], surplus \['more'\]"),
        (pa.table({"uid": ["a"], "score": ["high"]}), "Failed to parse string: 'high'"),
    ],
)
def test_columns_other_than_declared_are_refused(table, expected):
    with pytest.raises(PartError, match=expected):
        check_columns(SCORE, table, "images, shard 00000")


def test_columns_are_brought_into_the_declared_types_and_order():
    loose = pa.table({"score": pa.array([1, 2], pa.int64()), "uid": ["a", "b"]})
    schema = check_columns(SCORE, loose, "images").schema
    assert schema == pa.schema([("uid", pa.string()), ("score", pa.float32())])


def test_a_committed_part_reads_back(folder: Folder, tmp_path: Path):
    vectors = tmp_path / "v.npy"
    np.save(vectors, np.arange(4))
    sent = put(folder, files={"00003.img.npy": vectors}, summary={"measured": 2})
    sidecar = read_sidecar(folder, "00003")
    assert sidecar == sent
    assert (sidecar.rows, sidecar.seconds, sidecar.summary) == (2, 1.235, {"measured": 2})
    assert set(sidecar.files) == {"00003.parquet", "00003.img.npy"}
    assert read_parquet(folder, "00003.parquet").equals(TABLE)
    assert read_parquet(folder, "00003.parquet", ["uid"]).column_names == ["uid"]
    with folder.local("00003.img.npy") as path:
        assert np.load(path).tolist() == [0, 1, 2, 3]
        assert file_digest(path) == sidecar.digests["00003.img.npy"]
    assert not vectors.exists()  # moved, not copied


def test_equal_parts_have_equal_digests_regardless_of_seconds(tmp_path: Path):
    first = put(Folder(tmp_path / "a"))
    second = put(Folder(tmp_path / "b"), inputs="other")
    assert first.digest == second.digest


def _truncate(folder: Folder, name: str) -> None:
    folder.write(name, folder.read(name)[:-1])


@pytest.mark.parametrize(
    "harm",
    [
        lambda f: _truncate(f, "00003.json"),
        lambda f: f.write("00003.json", b"null"),
        lambda f: f.write("00003.json", b'{"stage": "images"}'),
        lambda f: f.write("00003.json", b"\xff\xfe"),
        lambda f: f.remove("00003.json"),
        lambda f: _truncate(f, "00003.parquet"),
        lambda f: f.remove("00003.parquet"),
        lambda f: f.remove("00003.tar"),
    ],
    ids=["torn", "null", "partial", "bytes", "gone", "short", "no table", "no companion"],
)
def test_a_damaged_part_is_not_current(folder: Folder, tmp_path: Path, harm):
    companion = tmp_path / "x.tar"
    companion.write_bytes(b"tar")
    put(folder, files={"00003.tar": companion})
    assert read_sidecar(folder, "00003") is not None
    harm(folder)
    assert read_sidecar(folder, "00003") is None


def test_a_part_made_from_other_inputs_is_stale(folder: Folder):
    put(folder, inputs="yesterday")
    sidecar = read_sidecar(folder, "00003")
    expected = Expected("f" * 64, {INGEST: "today"})
    assert why_stale(sidecar, expected) == "the list changed"
    assert why_stale(sidecar, replace(expected, inputs={INGEST: "yesterday"})) is None
    assert why_stale(sidecar, replace(expected, fingerprint="g")) == "its settings changed"
    both = {INGEST: "yesterday", "captions": "c"}
    assert why_stale(sidecar, replace(expected, inputs=both)) == "captions changed"
    other = replace(expected, inputs={INGEST: "yesterday"}, policy={"gates": {"max_bytes": 1}})
    assert why_stale(sidecar, other) == "other rows are to be measured"
    assert why_stale(None, expected) == "missing or unfinished"


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_marks_of_rows_read_back(rows):
    marks = np.array(rows)
    packed = pack_rows(marks)
    assert (packed is None) == all(rows)
    assert unpack_rows(packed, len(rows)).tolist() == rows


def test_a_part_says_which_rows_changed_since():
    patches = [{"base": "a", "rows": [3, 1]}, {"base": "b", "rows": [1, 5]}]
    sidecar = Sidecar("images", "f", 0, 9, {}, "c", {}, {}, 1.0, 1.0, patches=patches)
    assert sidecar.changed_since("c") == []
    assert sidecar.changed_since("b") == [1, 5]
    assert sidecar.changed_since("a") == [1, 3, 5]
    assert sidecar.changed_since("z") is None


def test_a_part_without_its_own_sidecar_is_not_current(folder: Folder):
    put(folder)
    assert read_sidecar(folder, "00004") is None


class StopError(Exception):
    pass


@pytest.mark.parametrize("dies_at", ["00003.parquet", "00003.tar", "00003.json"])
def test_a_crash_at_any_write_leaves_no_valid_part(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
):
    """The old sidecar is removed first and the new one is written last."""
    companion = tmp_path / "x.tar"
    companion.write_bytes(b"old")
    put(folder, files={"00003.tar": companion})
    create = Folder.create

    def dying(self: Folder, name: str):
        if name == dies_at:
            raise StopError
        return create(self, name)

    monkeypatch.setattr(Folder, "create", dying)
    companion.write_bytes(b"new")
    with pytest.raises(StopError):
        put(folder, files={"00003.tar": companion})
    monkeypatch.undo()
    assert read_sidecar(folder, "00003") is None


def test_a_failed_write_leaves_the_old_file_and_no_temporary_file(folder: Folder):
    folder.write("note.json", b"old")

    def half():
        with folder.create("note.json") as path:
            path.write_bytes(b"ne")
            raise StopError

    with pytest.raises(StopError):
        half()
    assert folder.read("note.json") == b"old"
    assert folder.names() == ["note.json"]


def test_names_sizes_and_removal(folder: Folder):
    folder.write("parts/b/1.json", b"12345")
    folder.write("parts/a/1.json", b"")
    assert folder.names("parts") == ["a", "b"]
    assert folder.names("nowhere") == []
    assert folder.sub("parts").sub("b").names() == ["1.json"]
    assert folder.size("parts/b/1.json") == 5
    assert folder.size("parts/c") is None
    folder.remove("parts/b")
    folder.remove("parts/b")  # once is enough
    assert folder.names("parts") == ["a"]
    assert not folder.exists("parts/b/1.json")


def test_files_of_another_process_are_seen_after_a_listing(folder: Folder):
    folder.write("parts/1.json", b"1")
    assert folder.names("parts") == ["1.json"]
    Folder(folder.url).write("parts/2.json", b"22")
    assert folder.size("parts/2.json") == 2
    assert folder.names("parts") == ["1.json", "2.json"]


def test_sweep_removes_what_dead_writers_left(tmp_path: Path):
    folder = Folder(tmp_path)
    put(folder.sub("parts/images-f"))
    (tmp_path / "parts/images-f/00004.parquet.1a2b3c4d.tmp").write_bytes(b"half")
    (tmp_path / "ingest-xyz.tmp").mkdir()
    (tmp_path / "ingest-xyz.tmp" / "new-0.arrows").write_bytes(b"rows")
    assert folder.sweep() == 2
    assert folder.sub("parts/images-f").names() == ["00003.json", "00003.parquet"]
    assert folder.names() == ["parts"]


def test_an_object_store_has_nothing_to_sweep():
    assert Folder(f"memory://{uuid.uuid4().hex}").sweep() == 0


def test_a_sidecar_is_readable_json_that_names_its_stage(folder: Folder):
    put(folder)
    values = json.loads(folder.read("00003.json"))
    assert (values["stage"], values["shard"], values["rows"]) == ("images", 3, 2)


def test_files_below_a_folder_are_named_from_it(folder: Folder):
    for name in ("b.txt", "a/c.txt", "a/d/e.txt"):
        folder.write(name, b"x")
    assert folder.files() == ["a/c.txt", "a/d/e.txt", "b.txt"]
    assert folder.files("a") == folder.sub("a").files() == ["c.txt", "d/e.txt"]
    assert folder.files("b.txt") == folder.files("nowhere") == []


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=40),
    st.lists(st.tuples(st.sampled_from(["=", ">=", "<"]), st.integers(-1, 7)), max_size=2),
    st.integers(1, 9),
)
def test_a_filtered_read_gives_the_rows_that_match(values, filters, row_group):
    with tempfile.TemporaryDirectory() as name:
        table = pa.table({"n": pa.array(values, pa.int32()), "at": np.arange(len(values))})
        write_parquet(table, Path(name) / "t.parquet", row_group)
        wanted = [("n", op, value) for op, value in filters]
        found = read_parquet(Folder(name), "t.parquet", ["at"], wanted)
    compare = {"=": operator.eq, ">=": operator.ge, "<": operator.lt}
    expected = [
        at
        for at, n in enumerate(values)
        if not filters or (n is not None and all(compare[op](n, v) for op, v in filters))
    ]
    assert found.column_names == ["at"]
    assert found["at"].to_pylist() == expected
