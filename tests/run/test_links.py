"""Symbolic links in a run folder: nothing is written through them."""

import json
import shutil
from pathlib import Path

import pytest
from test_endings import line_of

from pipeline.table.storage import Folder
from pipeline.words.errors import DamagedError, InputError


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", [".lock", "log.jsonl"])
@pytest.mark.parametrize("before", ["the first run", "a further run"])
def test_a_file_that_is_opened_is_no_link(name, before, lab, elsewhere):
    job, run = lab.job(), lab.folder / "runs" / "job"
    if before == "a further run":
        lab.run(job)
        (run / name).unlink(missing_ok=True)
    else:
        run.mkdir(parents=True)
    (elsewhere / "theirs").write_text("theirs")
    (run / name).symlink_to(elsewhere / "theirs")

    with pytest.raises((DamagedError, InputError)) as caught:
        lab.run(job)

    line = f"{run}/{name} is a symbolic link, and nothing is written "
    if (before, name) == ("the first run", "log.jsonl"):
        line = f"{run} holds files that are no run's (log.jsonl, …); "
    assert str(caught.value).startswith(line)
    assert (elsewhere / "theirs").read_text() == "theirs"


@pytest.mark.parametrize("name", ["parts", "shards", "export", "parts/decide", "parts/download"])
def test_a_folder_is_no_link(name, lab, elsewhere):
    job, run = lab.job(), lab.folder / "runs" / "job"
    lab.run(job)
    (place,) = run.glob(f"{name}-*") if "/" in name else [run / name]
    shutil.rmtree(place)
    place.symlink_to(elsewhere)

    with pytest.raises(DamagedError) as caught:
        lab.run(job)

    assert str(caught.value).startswith(f"{place} is a symbolic link, and nothing is written ")
    assert not list(elsewhere.iterdir())


def test_a_link_that_comes_during_a_run_is_not_written_through(tmp_path, elsewhere):
    folder = Folder(tmp_path / "run").sub("parts/decide-1")
    folder.write("00000.json", b"{}")
    shutil.rmtree(tmp_path / "run" / "parts")
    (tmp_path / "run" / "parts").symlink_to(elsewhere)

    with pytest.raises(DamagedError, match="/run/parts is a symbolic link, and nothing is"):
        folder.write("00000.json", b"{}")
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["state.json", "job.yaml", "resolved.json", "report.html"])
def test_a_link_in_place_of_a_file_is_replaced(name, lab, elsewhere):
    job, run = lab.job(), lab.folder / "runs" / "job"
    lab.run(job)
    theirs = elsewhere / "theirs"
    theirs.write_bytes((run / name).read_bytes() if (run / name).exists() else b"theirs")
    before = theirs.read_bytes()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(theirs)

    lab.run(job, "rules=[]")

    assert theirs.read_bytes() == before


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_link_that_looks_left_over_is_removed_and_not_followed(kind, lab, elsewhere):
    job, run = lab.job(), lab.folder / "runs" / "job"
    lab.run(job)
    (elsewhere / "theirs").write_text("theirs")
    target = elsewhere if kind == "folder" else elsewhere / "theirs"
    (run / "parts" / "x.tmp" if kind == "file" else run / "shards" / "x.tmp").symlink_to(target)
    if kind == "folder":
        with pytest.raises(DamagedError, match=r"x\.tmp is a symbolic link"):
            lab.run(job)
    else:
        lab.run(job)
        assert not list(run.rglob("x.tmp"))

    assert (elsewhere / "theirs").read_text() == "theirs"


def test_the_run_folder_itself_may_be_a_link(alone, elsewhere):
    """That is how a run is put on another disk."""
    (alone.folder / "runs").mkdir()
    (alone.folder / "runs" / "job").symlink_to(elsewhere)
    job = alone.job(cluster={"executor": "inline"})

    ended = alone.winnow("run", str(job), "--json")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["kept"] == 36
    (elsewhere / "log.jsonl").unlink()
    (elsewhere / "log.jsonl").symlink_to("/dev/null")
    assert "log.jsonl is a symbolic link" in line_of(alone.winnow("run", str(job)), 2)
