"""Errors that are not bugs end a run with one line and an exit code."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from distributed import Client, KilledWorker
from distributed.scheduler import NoValidWorkerError
from test_kill import _delay, _wait_for, slow_site  # noqa: F401 - a fixture

from pipeline.engine.executors.dask import clusters_fault
from pipeline.words.errors import ClusterLostError, StalledError

GOES_ON = "the same command goes on from here"


def line_of(ended: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line with which a command ended with this code."""
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
    messages = [line for line in ended.stderr.splitlines() if line.startswith("winnow: ")]
    assert len(messages) == 1, ended.stderr
    assert ended.stderr.splitlines()[-1] == messages[0], ended.stderr
    return messages[0]


def test_a_file_in_the_folders_place(alone):
    (alone.folder / "file").write_text("x")

    line = line_of(alone.winnow("run", str(alone.job(output=str(alone.folder / "file")))), 2)

    assert line.endswith("file is a file; name a folder")


@contextlib.contextmanager
def _dask(folder: Path):
    """Starts a scheduler and a worker in other processes: the scheduler's process and file."""
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen(
        [*start, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], **quiet
    )
    start = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)]
    worker = subprocess.Popen(
        [*start, "--nthreads", "2", "--no-dashboard", "--no-nanny"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        **quiet,
    )
    try:
        yield scheduler, file
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()


def test_a_scheduler_that_dies(alone, slow_site):  # noqa: F811
    _delay(slow_site, 0.3)
    job = alone.job(download={"thread_count": 2})
    with _dask(alone.folder) as (scheduler, file):
        values = yaml.safe_load(job.read_text())
        values["cluster"] = {"scheduler": str(file)}
        job.write_text(yaml.safe_dump(values))
        end = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < end
            time.sleep(0.1)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        command = [sys.executable, "-m", "pipeline", "run", str(job)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        _wait_for(alone.folder / "runs" / "job", "parts/download-*/00000.json", process)
        scheduler.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=100)

    ended = subprocess.CompletedProcess(command, process.returncode, out, err)
    line = line_of(ended, 3)
    assert line == f"winnow: the scheduler went away; start it again, and {GOES_ON}"


def test_a_worker_that_cannot_be_started(alone, monkeypatch):
    broken = alone.folder / "python"
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *spawn_main*) exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    broken.chmod(0o755)
    monkeypatch.setattr("multiprocessing.spawn._python_exe", os.fsencode(broken))

    with pytest.raises(ClusterLostError) as caught:
        alone.run(alone.job())

    assert str(caught.value).startswith("a local worker could not be started (")
    assert str(caught.value).endswith(GOES_ON)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", ["status", "stats", "sql", "explain", "report"])
def test_a_closed_output_pipe(command, as_json, finished):
    words = {"sql": ["select * from samples"], "explain": [finished.site.rows[0]["url"]]}
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        ended = subprocess.run(
            [sys.executable, "-m", "pipeline", command, str(finished.folder / "runs" / "job"),
             *words.get(command, []), *(["--json"] if as_json else [])],
            stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip

    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.fixture(scope="module")
def finished(site, tmp_path_factory):
    from lab import Lab

    lab = Lab(site, tmp_path_factory.mktemp("finished"))
    lab.run(lab.job())
    return lab


class _Dead(KilledWorker):
    def __init__(self):
        pass

    def __str__(self):
        return "it died\n4 times"


@pytest.mark.parametrize(("error", "every_shard", "is_clusters"), [
    (_Dead(), True, True), (_Dead(), False, False), (KeyError(), True, False),
    (StalledError("no progress"), True, True), (StalledError("no progress"), False, False),
    (NoValidWorkerError("key", set(), set(), {"net": 1.0}, 300.0), False, True),
])  # fmt: skip
def test_a_dead_worker_is_the_clusters_fault_or_the_tasks(error, every_shard, is_clusters):
    fault = clusters_fault(error, every_shard)

    assert (fault is not None) == is_clusters
    if fault is not None:
        assert str(fault).startswith(
            ("no worker is left that could do this: ", "a task on all shards was given up: ")
        )
        assert str(fault).count("\n") == 0


def test_a_bug_ends_with_its_traceback(lab, monkeypatch):
    def merge(self, shards, prepared):
        raise ZeroDivisionError("no disk, no cluster, no damage")

    monkeypatch.setattr("pipeline.judge.decide.DecideStage.merge", merge)
    monkeypatch.setattr("sys.argv", ["winnow", "run", str(lab.job())])
    from pipeline.shell.cli import main

    with pytest.raises(ZeroDivisionError):
        main()
