"""Disks that are full, read-only or closed end a run in one line, with no work wasted."""

import contextlib
import errno
import json
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from lab import DASK
from test_endings import GOES_ON, line_of
from test_kill import _start, _wait_for

from pipeline.words.errors import StorageError


@pytest.fixture
def disk(tmp_path):
    """`disk(kilobytes, options)`: mounts a small disk in memory; a second call changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted: list[str] = []

    def mount(kilobytes: int, options: str = "rw") -> Path:
        how = ["remount", options] if mounted else [options]
        options = ",".join([*how, f"size={kilobytes}k"])
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no `mount`")
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(options)
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("kilobytes", "where"),
    [(32, "/runs/job"), (180, "/runs/job"), (700, "/runs/job")],
    ids=["ingest", "part", "export"],
)
def test_a_full_disk(kilobytes, where, alone, disk):
    folder = disk(kilobytes)
    job = alone.job(alone.site.rows, output=str(folder / "runs"))

    line = line_of(alone.winnow("run", str(job)), 3)

    assert str(folder) in line
    assert where in line
    assert "No space left on device" in line
    assert line.endswith(GOES_ON)
    disk(20_000)
    ended = alone.winnow("run", str(job))
    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout


def test_what_is_known_of_a_full_disk_is_said(alone, disk):
    folder = disk(700)
    job = alone.job(alone.site.rows, output=str(folder / "runs"))

    line = line_of(alone.winnow("run", str(job)), 3)

    assert re.search(r" k?B free there; about \d[\d.]* kB needed for what is left; ", line)
    assert "; free some space, and the same command" in line


def test_nothing_is_fetched_for_a_disk_that_is_certainly_too_small(alone, disk, asked):
    """Parts that were made show how much the rest needs."""
    folder = disk(300)
    job = alone.job(alone.site.rows, output=str(folder / "runs"), cluster={"window": 1})
    line_of(alone.winnow("run", str(job)), 3)
    assert list((folder / "runs" / "job" / "parts").glob("download-*/00000.json"))
    (folder / "ballast").write_bytes(bytes(_free(folder) - 20_000))
    asked.clear()

    line = line_of(alone.winnow("run", str(job)), 2)

    assert re.search(
        r"/runs/job needs about \S+ kB more, and \S+ kB are free; free some space", line
    )
    assert line_of(alone.winnow("plan", str(job)), 2) == line
    assert asked == []
    (folder / "ballast").unlink()
    disk(20_000)
    plan = json.loads(alone.winnow("plan", str(job), "--json").stdout)["space"]
    assert plan["free"] > plan["needed"] >= plan["measured"] > 0
    ended = alone.winnow("run", str(job))
    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout


def _free(folder):
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def test_a_doubt_about_the_space_is_said(lab, disk):
    """Usual sizes are no proof, so the run begins."""
    folder = disk(1_500)

    result = lab.run(lab.job(lab.site.rows, output=str(folder / "runs")))

    assert result.export is not None
    (said,) = (line for line in lab.said if "may not fit" in line)
    assert re.search(r"/runs/job needs about 1.9 MB more, and 1.\d MB are free; it may not", said)


def test_a_full_scratch_folder_ends_the_fetching(alone, disk, asked):
    folder = disk(72)
    job = alone.job(
        alone.site.rows,
        cluster={"scratch": str(folder)},
        download={"thread_count": 1},
        shard_size=40,
    )

    ended = alone.winnow("run", str(job))

    line = line_of(ended, 3)
    assert f"winnow: {folder} cannot be written: No space left on device; " in line
    assert " kB free there;" in line
    assert len(ended.stderr.splitlines()) < 20, ended.stderr
    assert 1 < len(asked) < 37, "the disk has room for some of the shard's pictures"
    disk(20_000)
    ended = alone.winnow("run", str(job))
    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout
    assert not list(folder.iterdir())


def test_temporary_files_are_beside_the_run(alone, disk):
    folder = disk(100)

    ended = alone.winnow("run", str(alone.job()), env={**os.environ, "TMPDIR": str(folder)})

    assert ended.returncode == 0, ended.stderr
    assert "36 kept" in ended.stdout


def test_a_disk_that_can_hold_no_more_files(alone, disk):
    folder = disk(20_000, "rw,nr_inodes=40")

    line = line_of(alone.winnow("run", str(alone.job(output=str(folder / "runs")))), 3)

    assert "No space left on device: it can hold no more files (inodes); remove some files" in line


@pytest.mark.parametrize("where", ["run folder", "scratch"])
def test_temporary_files_of_a_killed_run_are_removed(where, own, asked):
    from pipeline.demo.web import Route, write_site

    names = [row["url"].rsplit("/", 1)[1] for row in own.site.rows]
    write_site(own.site.folder, {f"/{name}": Route(delay=0.3) for name in names})
    own.cluster = DASK
    scratch = own.folder / ("scratch" if where == "scratch" else "runs/job")
    given = {"scratch": str(scratch)} if where == "scratch" else {}
    job = own.job(own.site.rows, cluster=given)
    process = _start(job)
    _wait_for(own.folder, f"{scratch.relative_to(own.folder)}/winnow-*.tmp/spool", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(scratch.glob("winnow-*.tmp/spool"))

    ended = own.winnow("run", str(job))

    assert ended.returncode == 0, ended.stderr
    assert not list(scratch.glob("winnow-*"))


def test_a_limit_of_a_files_size(alone):
    """Like the limit of a file system or a user; needs no privilege."""
    ended = alone.winnow(
        "run",
        str(alone.job()),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
    )

    assert "File too large" in line_of(ended, 3)


def test_a_disk_that_is_full_before_any_work(alone, disk):
    folder = disk(40)
    with contextlib.suppress(OSError):
        (folder / "ballast").write_bytes(bytes(1 << 20))

    line = line_of(alone.winnow("run", str(alone.job(output=str(folder / "runs")))), 2)

    assert f"{folder}/runs/job cannot be written to: No space left on device" in line


def test_a_folder_that_is_not_writable(alone, disk):
    folder = disk(1_000, "ro")
    job = alone.job(output=str(folder / "runs"))

    ended = alone.winnow("run", str(job))

    assert line_of(ended, 2) == (
        f"winnow: {folder}/runs/job cannot be written to: Read-only file system; "
        "repair that, or give the job another `output`"
    )
    assert ended.stderr.count("\n") == 1


def test_a_folder_that_becomes_read_only(alone, disk):
    """A disk is mounted read-only after an error."""
    folder = disk(20_000)
    job = alone.job(output=str(folder / "runs"))
    assert alone.winnow("run", str(job)).returncode == 0
    disk(20_000, "ro")

    for command in (
        ["retry", "--where", "true"],
        ["forget", "--url", alone.site.rows[0]["url"]],
    ):
        line = line_of(alone.winnow(command[0], f"{folder}/runs/job", *command[1:]), 2)
        assert "cannot be written to: Read-only file system" in line
    line = line_of(alone.winnow("report", f"{folder}/runs/job"), 3)
    assert f"{folder}/runs/job/report.json cannot be written: Read-only file system" in line
    for command in (["status"], ["stats"], ["sql", "select count(*) from samples"]):
        assert alone.winnow(command[0], f"{folder}/runs/job", *command[1:]).returncode == 0


@pytest.mark.parametrize(("error", "why", "remedy"), [
    (OSError(errno.ENOSPC, "any"), "No space left on device", "free some space"),
    (OSError(errno.EDQUOT, "any"), "Disk quota exceeded", "free some space"),
    (OSError("1000 requested and 60 written"), "No space left on device", "free some space"),
    (RuntimeError("IO Error: Could not write file: No space left on device"),
     "No space left on device", "free some space"),
    (OSError(errno.EROFS, "any"), "Read-only file system", "repair the disk"),
    (OSError(errno.EIO, "any"), "Input/output error", "repair the disk"),
    (RuntimeError('IO Error: Could not read from file "x": Input/output error'),
     "Input/output error", "repair the disk"),
])  # fmt: skip
def test_a_task_whose_disk_fails_ends_the_run_and_not_its_shard(
    error, why, remedy, lab, monkeypatch
):
    def run(self, shard, wanted):
        raise error

    monkeypatch.setattr("pipeline.measure.captions.captions.CaptionsStage.run", run)

    with pytest.raises(StorageError) as caught:
        lab.run(lab.job())

    folder = lab.folder / "runs" / "job"
    assert str(caught.value).startswith(f"{folder} cannot be written: {why}; ")
    assert str(caught.value).endswith(f"; {remedy}, and {GOES_ON}")


def test_a_folder_that_this_account_may_not_write_to_ends_the_run(lab, monkeypatch):
    def run(self, shard, wanted):
        raise PermissionError(errno.EACCES, "any", str(shard.run.folder.path("parts/x")))

    monkeypatch.setattr("pipeline.measure.captions.captions.CaptionsStage.run", run)

    with pytest.raises(StorageError) as caught:
        lab.run(lab.job())

    assert str(caught.value) == (
        f"{lab.folder}/runs/job cannot be written: Permission denied; "
        f"let this account write there, and {GOES_ON}"
    )
