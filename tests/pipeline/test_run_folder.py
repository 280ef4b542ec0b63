"""The run folder: its index, its lock and its path."""

import json
import os
import pickle
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.table.run import FORMAT, Run, ShardIndex
from pipeline.table.storage import Folder
from pipeline.words.errors import DamagedError, InputError

INDEX = ShardIndex(
    "abc",
    {"rows.csv": "v1"},
    25,
    ((10, "d0"), (10, "d1")),
    {"input_uid": "uid"},
    {"shard_size": 10},
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = Folder(tmp_path / "runs" / "one")
    folder.write("resolved.json", json.dumps({"format": FORMAT, "name": "one"}).encode())
    folder.write("shards/index.json", INDEX.encode())
    return Run.open(folder.url)


def test_the_index_reads_back(run: Run):
    assert run.index == INDEX
    assert (len(run.index), run.index.rows) == (2, 20)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"inputs": "a"}', b'{"shards": [[1]]}', b"\xff"]
)
def test_a_truncated_index_makes_ingest_run_again(run: Run, data: bytes):
    run.folder.write("shards/index.json", data)
    assert run.index is None


def test_a_missing_index_or_state_is_none(run: Run):
    run.folder.remove("shards")
    assert run.index is None
    assert run.state == {}


def test_a_truncated_state_is_an_error_and_not_none(run: Run):
    run.folder.write("state.json", b'{"half": ')
    with pytest.raises(
        DamagedError, match=r"state\.json was cut or changed from outside; `winnow run"
    ):
        _ = run.state


def test_a_run_can_be_sent_to_other_processes(run: Run):
    run.lock()
    copy = pickle.loads(pickle.dumps(run))
    assert (copy.folder.url, copy.index, copy.job) == (
        run.folder.url,
        INDEX,
        {"format": FORMAT, "name": "one"},
    )
    run.unlock()


def test_a_folder_of_another_format_is_refused_and_not_changed(run: Run):
    for written in ({"name": "one"}, {"name": "one", "format": FORMAT + 1}):
        run.folder.write("resolved.json", json.dumps(written).encode())
        before = sorted(path.stat().st_mtime_ns for path in Path(run.folder.path()).rglob("*"))
        expected = (
            rf"format {written.get('format', 1)} of the run folder, this winnow reads .* {FORMAT}"
        )
        with pytest.raises(InputError, match=expected):
            Run.open(run.folder.url)
        after = sorted(path.stat().st_mtime_ns for path in Path(run.folder.path()).rglob("*"))
        assert after == before


def test_a_folder_that_is_not_a_run_gets_the_nearest_run_suggested(run: Run, tmp_path: Path):
    with pytest.raises(InputError, match=r"runs is not a run folder .* did you mean .*runs/one\?"):
        Run.open(tmp_path / "runs")
    with pytest.raises(InputError, match=r"start one with `winnow run JOB\.yaml`"):
        Run.open(tmp_path / "nowhere")


LOCKER = """
import sys
import tempfile
from pipeline.words.errors import InputError
from pipeline.table.run import Run
try:
    Run(sys.argv[1]).lock()
    print("locked")
except InputError as error:
    print(error)
"""


def lock_elsewhere(run: Run) -> str:
    command = [sys.executable, "-c", LOCKER, run.folder.url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_only_one_driver_can_lock_a_run(run: Run):
    import os

    run.lock()
    message = lock_elsewhere(run)
    assert f"is locked by a running winnow (process {os.getpid()})" in message
    assert "give this job another `name` or `output`" in message
    run.unlock()
    assert lock_elsewhere(run) == "locked\n"
    run.lock()  # the other process has ended, so its lock is released
    run.unlock()


def test_a_file_that_is_moved_into_place_can_be_read_by_colleagues(tmp_path):
    with tempfile.NamedTemporaryFile(dir=tmp_path, delete=False) as source:
        source.write(b"a tar")
    before = os.umask(0o027)
    try:
        Folder(tmp_path).put(Path(source.name), "parts/00000.tar")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "parts" / "00000.tar").stat().st_mode) == 0o640
