"""Nothing is waited for without end or without a word: tasks that hang, workers that are gone."""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, wait_for
from distributed import Client

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors import pulse, watch
from pipeline.engine.executors.dask import DaskExecutor, open_dask
from pipeline.engine.tasks import TimedResult
from pipeline.words.errors import ClusterLostError
from pipeline.words.heartbeat import beat


def hang(folder: str, times: int, beats: float = 0.0) -> TimedResult:
    """Hangs the first `times` times that it runs; for `beats` seconds it gets on, and then ends."""
    tries = len(list(Path(folder).iterdir()))
    (Path(folder) / f"{tries}-{os.getpid()}").touch()
    end = time.monotonic() + (beats or 600)
    while tries < times and time.monotonic() < end:
        if beats:
            beat()
        time.sleep(0.1)
    return TimedResult({"tries": str(tries)}, os.getpid(), {})


def nap(seconds: float) -> TimedResult:
    time.sleep(seconds)
    return TimedResult({}, os.getpid(), {})


def quick() -> TimedResult:
    return TimedResult({}, os.getpid(), {})


def tries(folder: Path) -> list[int]:
    """The processes that ran `hang`, in order."""
    return [int(path.name.split("-")[1]) for path in sorted(folder.iterdir())]


def first_try(folder: Path) -> int:
    """Wait until `hang` runs; its process."""
    end = time.monotonic() + 60
    while not tries(folder):
        assert time.monotonic() < end
        time.sleep(0.05)
    return tries(folder)[0]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver looks each second, and after two seconds says what is waited for."""
    monkeypatch.setattr(watch, "EVERY", 1.0)
    monkeypatch.setattr(watch, "QUIET", 2.0)


@contextlib.contextmanager
def local(said: list[str], **limits: float) -> Iterator[DaskExecutor]:
    with open_dask(ClusterConfig(dashboard=False, **limits), said.append) as executor:
        yield executor
        executor.cancel()


def test_a_task_that_hangs_is_run_again_and_one_that_gets_on_is_left_alone(tmp_path: Path) -> None:
    hangs, busy = tmp_path / "hangs", tmp_path / "busy"
    hangs.mkdir()
    busy.mkdir()
    said: list[str] = []
    with local(said, stall_timeout=3) as executor:
        again = executor.submit(hang, str(hangs), 1, name="embed, shard 00007")
        honest = executor.submit(hang, str(busy), 1, 8.0, kind="net", name="download, shard 00009")
        answers = dict(executor.next() for _ in range(2))

    assert answers[again] == TimedResult({"tries": "1"}, tries(hangs)[1], {})
    assert len(set(tries(hangs))) == 2  # another process
    assert answers[honest] == TimedResult({"tries": "0"}, tries(busy)[0], {})
    assert len(tries(busy)) == 1
    why = "no progress for 3 s on the worker compute-0"
    assert said == [f"embed, shard 00007 is taken back and run again: {why}"]


def test_what_is_waited_for_is_said_but_not_all_the_time(cluster: Cluster) -> None:
    cluster.worker("--name", "zebra")
    said: list[str] = []
    with open_dask(cluster.config(), said.append) as executor:
        for shard in (7, 8):
            executor.submit(nap, 5.0, name=f"embed, shard {shard:05d}")
        executor.next()

    line = said.pop()
    assert line.startswith("no progress for ")
    assert line.endswith(
        " s: waiting for embed, shard 00007 on zebra, and for 1 more; "
        "a task is taken back after 3600 s (cluster.stall_timeout)"
    )
    assert len(said) <= 1  # that there is no worker yet


def test_a_stopped_worker_is_replaced(tmp_path: Path) -> None:
    said: list[str] = []
    with local(said, worker_timeout=4) as executor:
        task = executor.submit(hang, str(tmp_path), 1, name="embed, shard 00007")
        worker = first_try(tmp_path)
        time.sleep(1.5)  # for a heartbeat that tells of the task
        os.kill(worker, signal.SIGSTOP)
        handle, answer = executor.next()

    assert handle == task
    assert answer == TimedResult({"tries": "1"}, tries(tmp_path)[1], {})
    waits, taken_back = said
    assert waits.startswith("the worker compute-0 has sent nothing for ")
    assert waits.endswith(" s; its tasks (1) go to others after 4 s (cluster.worker_timeout)")
    assert taken_back.startswith(
        "embed, shard 00007 is taken back and run again: the worker compute-0 has sent nothing for"
    )


def test_time_in_which_the_driver_was_stopped_too_does_not_count(tmp_path: Path) -> None:
    """Ctrl-Z stops the driver and its workers, and so does a laptop's sleep."""
    said: list[str] = []
    with local(said, stall_timeout=2, worker_timeout=2) as executor:
        executor.submit(hang, str(tmp_path), 1, 5.0)
        worker = first_try(tmp_path)
        executor._watch.look(executor._names, executor._give_up)
        os.kill(worker, signal.SIGSTOP)
        time.sleep(3)  # in which the driver does not look either
        os.kill(worker, signal.SIGCONT)
        executor.next()

    assert said == []
    assert tries(tmp_path) == [worker]


STAGE = """
import time
import pyarrow as pa
from pipeline.measure.stage import Output, TableStage
from pipeline.table.columns import Column

class Hangs(TableStage):
    name, rank, step, reads = "hangs", 9, "Caption rules", ("caption",)
    writes = (Column("hung", pa.int32(), "Nothing."),)

    @classmethod
    def of(cls, job, schema):
        return cls(job)

    def run(self, shard, rows):
        time.sleep(600 if shard.name == "00001" else 0)
        table = shard.table("caption")
        return Output(pa.table({"uid": table["uid"], "hung": pa.nulls(len(table), pa.int32())}))
"""


def test_a_stage_that_hangs_quarantines_its_shard_and_the_run_goes_on(alone: Any) -> None:
    """The whole command, with a stage of another package."""
    site = alone.folder / "site"
    facts = site / "hangs-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: hangs\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[winnow.stages]\nhangs = hangs:Hangs\n")
    (site / "hangs.py").write_text(STAGE)
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])

    ended = alone.winnow(
        "run", str(alone.job(cluster={"stall_timeout": 4})), env=os.environ | {"PYTHONPATH": path}
    )

    assert ended.returncode == 3, ended.stderr
    why = "no progress for 4 s on the worker compute-0"
    lines = ended.stderr.splitlines()
    assert f"hangs, shard 00001 is taken back and run again: {why}" in lines
    reason = f"StalledError: {why}, and so it was before"
    assert f"shard 00001 is quarantined at hangs: {reason}" in lines
    assert lines[-1] == (
        f"winnow: shard 00001 is quarantined at hangs: {reason}; the same command tries it again"
    )
    assert "Traceback" not in ended.stderr
    assert " + 10 unfinished" in ended.stdout


def test_workers_that_join_are_used_and_the_only_net_worker_goes(
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    said: list[str] = []
    threading.Timer(1, cluster.worker, ["--resources", "net=1"]).start()
    with open_dask(cluster.config(worker_timeout=30), said.append) as executor:
        assert said == [
            f"the scheduler {cluster.file} has no workers yet; waiting for one, at most 30 s"
        ]
        net = cluster.processes[-1]
        compute = cluster.worker("--resources", "compute=1")
        end = time.monotonic() + 30
        while executor.workers < 2:
            assert time.monotonic() < end
            executor.submit(quick)
            executor.next()
            time.sleep(0.2)
        for kind, process in (("net", net), ("compute", compute)) * 2:
            executor.submit(quick, kind=kind)
            assert executor.next()[1] == TimedResult({}, process.pid, {})

        net.kill()
        executor._watch._worker_timeout = 5.0
        for shard in range(3):
            executor.submit(quick, kind="net", name=f"download, shard {shard:05d}")
        with pytest.raises(ClusterLostError) as caught:
            executor.next()

    assert str(caught.value) == (
        "no worker for net tasks (`--resources net=1`) has been there for 5 s "
        "(cluster.worker_timeout), and 3 tasks wait for one; start one, and "
        "the same command goes on from here"
    )
    assert len(said) == 2
    assert said[1].startswith(
        "no worker for net tasks (`--resources net=1`) is there, and 3 tasks wait for one; "
        "the run ends in "
    )


def test_a_worker_that_is_stopped_from_the_start(
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.engine.executors.dask.QUIET", 1.0)
    stopped, works = cluster.worker(), cluster.worker()
    said: list[str] = []
    with Client(scheduler_file=str(cluster.file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        stopped.send_signal(signal.SIGSTOP)
    try:
        with open_dask(cluster.config(worker_timeout=4), said.append) as executor:
            handles = {executor.submit(quick, name="embed") for _ in range(6)}
            answers = dict(executor.next() for _ in handles)
    finally:
        stopped.send_signal(signal.SIGCONT)

    assert answers == dict.fromkeys(handles, TimedResult({}, works.pid, {}))
    assert said[0] == "not all workers answer; going on with those that do"
    assert said[-1].startswith("the tasks of a worker (")
    assert ") go to others: the worker tcp://127.0.0.1:" in said[-1]


def test_no_worker_comes(alone: Any, cluster: Cluster) -> None:
    job = alone.job(cluster={"scheduler": str(cluster.file), "worker_timeout": 2})

    ended = alone.winnow("run", str(job))

    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        f"winnow: no worker has joined the scheduler {cluster.file} in 2 s "
        "(cluster.worker_timeout); start one, and the same command goes on from here"
    )
    assert "Traceback" not in ended.stderr


def test_a_scheduler_that_is_stopped(
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "_ANSWER_TIMEOUT", 0.5)
    cluster.worker()
    said: list[str] = []
    with open_dask(cluster.config(worker_timeout=30), said.append) as executor:
        executor._watch._worker_timeout = 4.0
        executor.submit(time.sleep, 600)
        cluster.processes[0].send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(ClusterLostError) as caught:
                executor.next()
        finally:
            cluster.processes[0].send_signal(signal.SIGCONT)

    assert str(caught.value).startswith("the scheduler has not answered for ")
    assert said[-1].endswith(" s; the run ends after 4 s (cluster.worker_timeout)")


PAUSED = {"DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "0.01"}
"""A worker holds more than that at once, and never resumes."""


def wait_until_paused(executor: DaskExecutor) -> None:
    def is_paused() -> bool:
        workers = executor._client.scheduler_info(n_workers=-1)["workers"].values()
        return [worker["status"] for worker in workers] == ["paused"]

    wait_for(is_paused, "the pause of the worker")


@pytest.mark.slow
def test_a_worker_that_is_paused_for_good(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started anew and takes the tasks that wait; where that is in vain the run ends."""
    cluster.env = PAUSED
    cluster.start("worker", "--nthreads", "1", "--name", "zebra", "--memory-limit", "4GiB")
    said: list[str] = []
    with open_dask(cluster.config(worker_timeout=60), said.append) as executor:
        wait_until_paused(executor)
        executor._watch._worker_timeout = 40.0
        executor.submit(quick, name="embed, shard 00000")
        _, answer = executor.next()
        assert isinstance(answer, TimedResult)
        anew = said[-1] if "anew" in said[-1] else said[-2]
        assert re.fullmatch(
            "the worker zebra is paused, as it is short of memory, and has run nothing for "
            r"1\d s; it is started anew",
            anew,
        )

        monkeypatch.setattr(watch, "MOST_RESUMED", 0)
        monkeypatch.setattr(watch, "AGAIN", 1.0)
        executor._watch._worker_timeout = 12.0
        wait_until_paused(executor)
        for shard in range(2):
            executor.submit(quick, name=f"embed, shard {shard:05d}")
        with pytest.raises(ClusterLostError) as caught:
            executor.next()

    assert str(caught.value) == (
        "the workers are short of memory and have been paused for 12 s (cluster.worker_timeout), "
        "and 2 tasks wait for one; give them more (`--memory-limit`), and "
        "the same command goes on from here"
    )
    assert said[-1].startswith(
        "the workers are paused, as they are short of memory, and 2 tasks wait for one; the run "
        "ends in "
    )


@pytest.mark.slow
def test_a_worker_whose_nanny_is_stopped(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESTART_TIMEOUT", 3.0)
    folder = tmp_path / "hangs"
    folder.mkdir()
    nanny = cluster.start("worker", "--nthreads", "1", "--name", "zebra")
    said: list[str] = []
    with open_dask(cluster.config(stall_timeout=20, worker_timeout=90), said.append) as executor:
        task = executor.submit(hang, str(folder), 1, name="embed, shard 00007")
        hung = first_try(folder)
        nanny.send_signal(signal.SIGSTOP)
        cluster.worker("--name", "okapi")
        handle, answer = executor.next()
    nanny.send_signal(signal.SIGCONT)

    why = "no progress for 20 s on the worker zebra"
    assert f"embed, shard 00007 is taken back and run again: {why}" in said
    assert handle == task
    assert answer == TimedResult({"tries": "1"}, tries(folder)[1], {})
    assert tries(folder)[1] != hung
