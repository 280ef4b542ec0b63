"""Both executors give the same parts, the same export and the same quarantine."""

import json
import subprocess
import sys
import threading
import time

import pytest
from lab import DASK, INLINE, Lab

from pipeline.config.load import load_job
from pipeline.engine.executors.base import Failed
from pipeline.engine.executors.inline import InlineExecutor
from pipeline.engine.runner import replan
from pipeline.engine.tasks import TimedResult
from pipeline.table.part import read_sidecar
from pipeline.table.run import Run
from pipeline.words.errors import InputError

EXECUTORS = pytest.mark.parametrize("cluster", [INLINE, DASK], ids=["inline", "dask"])


def sidecars(run: Run) -> dict[str, str]:
    """Digests of all current parts, merged and prepared ones too, by path."""
    found = {}
    for stage in run.folder.names("parts"):
        folder = run.folder.sub(f"parts/{stage}")
        for name in folder.names():
            if name.endswith(".json") and (sidecar := read_sidecar(folder, name[:-5])):
                found[f"{stage}/{name}"] = sidecar.digest
    return found


def test_the_same_parts_and_the_same_export(site, tmp_path):
    answers = {}
    for name, cluster in (("inline", INLINE), ("dask", DASK)):
        (tmp_path / name).mkdir()
        lab = Lab(site, tmp_path / name, cluster)
        rows = lab.site.rows[:12] + lab.site.dead
        only_if = {"only_if": "url not like '%1.jpg'"}
        result = lab.run(lab.job(rows, download=only_if, embed={"model": "winnow-tiny"}))
        assert result.quarantined == []
        answers[name] = sidecars(result.run), result.digest
    stages = {place.split("-")[0] for place in answers["inline"][0]}
    assert {"captions", "download", "embed", "dedup", "decide"} <= stages
    assert answers["inline"] == answers["dask"]


@EXECUTORS
def test_a_broken_shard_is_quarantined_and_tried_again(site, tmp_path, cluster):
    lab = Lab(site, tmp_path, cluster)
    job = lab.job()
    first = lab.run(job)
    # This part cannot be written, because a folder has its name.
    (part,) = (tmp_path / "runs" / "job").glob("parts/captions-*/00001.parquet")
    part.unlink()
    part.mkdir()
    (part / "in the way").touch()
    broken = lab.run(job)
    assert [(q["shard"], q["stage"]) for q in broken.quarantined] == [(1, "captions")]
    assert broken.digest != first.digest
    (logged,) = [entry for entry in lab.log(broken) if entry["event"] == "failed"]
    assert logged["error"][0].startswith("Traceback")
    assert "tasks.py" in "".join(logged["error"])  # the place where it was raised
    (part / "in the way").unlink()
    part.rmdir()
    again = lab.run(job)
    assert (again.quarantined, again.digest) == ([], first.digest)


SCRIPT = """
import json, sys
from pathlib import Path
from pipeline.config.load import load_job
from pipeline.words.progress import Lines
from pipeline.engine.runner import execute, prepare

path = Path(sys.argv[1])
result = execute(prepare(load_job(path)), path, Lines(sys.stderr))
heavy = [name for name in ("dask", "distributed") if name in sys.modules]
print(json.dumps([len(result.quarantined), result.digest != "", heavy]))
"""


def test_inline_imports_no_dask(lab):
    job = lab.job(lab.site.rows[:3])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(job)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, True, []]


def test_inline_on_a_scheduler_is_refused_before_any_work(lab):
    expected = r"`executor: inline` runs in one process, and `scheduler` names a cluster"
    job = lab.job(lab.site.rows[:3])
    with pytest.raises(InputError, match=expected):
        load_job(job, ["cluster.scheduler=tcp://127.0.0.1:9"])
    assert not (lab.folder / "runs").exists()
    result = lab.run(job)
    with pytest.raises(InputError, match=expected):
        replan(result.run, "tcp://127.0.0.1:9")


def _done(word: str) -> TimedResult:
    return TimedResult({"word": word}, 0, {})


def _fails(error: BaseException) -> TimedResult:
    raise error


def test_inline_runs_tasks_by_priority_and_only_when_a_result_is_asked_for():
    executor, ran = InlineExecutor(), []

    def work(word: str) -> TimedResult:
        ran.append(word)
        return _done(word)

    handles = {
        executor.submit(work, word, priority=priority): word
        for word, priority in (("c", -2), ("a", 0), ("b", -1), ("d", -2))
    }
    assert ran == []
    for word in "abcd":
        handle, answer = executor.next()
        assert (handles[handle], answer.digests, ran[-1]) == (word, {"word": word}, word)


class Panic(BaseException):
    """Like the exception that pyo3 raises when Rust panics."""


WORKERS = pytest.mark.parametrize("workers", [1, 2])


@WORKERS
@pytest.mark.parametrize("error", [ValueError("bad"), Panic("worse")])
def test_inline_returns_an_exception_as_a_result(error, workers):
    executor = InlineExecutor(workers)
    handle = executor.submit(_fails, error)
    assert executor.submit(_done, "next") != handle
    answers = dict(executor.next() for _ in range(2))
    failed = answers.pop(handle)
    assert isinstance(failed, Failed)
    assert failed.error is error
    assert failed.trace is error.__traceback__ is not None
    assert list(answers.values()) == [_done("next")]


@WORKERS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_inline_does_not_catch_exceptions_that_end_the_process(error, workers):
    executor = InlineExecutor(workers)
    executor.submit(_fails, error())
    with pytest.raises(error):
        executor.next()


def test_inline_runs_at_most_the_given_number_of_threads():
    executor, running, most = InlineExecutor(2), set(), []
    meet = threading.Barrier(2, timeout=20)

    def work(word: str) -> TimedResult:
        running.add(word)
        most.append(len(running))
        meet.wait()  # raises unless two run at once
        running.discard(word)
        return _done(word)

    handles = {executor.submit(work, word): word for word in "abcdef"}
    answers = dict(executor.next() for _ in handles)
    assert {handles[h]: a.digests["word"] for h, a in answers.items()} == {w: w for w in "abcdef"}
    assert max(most) == 2


def test_cancelling_waits_for_running_tasks():
    executor, ended = InlineExecutor(2), []
    started = threading.Event()

    def slow() -> TimedResult:
        started.set()
        time.sleep(0.2)
        ended.append("slow")
        return _done("slow")

    executor.submit(slow)
    executor.submit(_done, "quick")
    assert executor.next()[1] == _done("quick")
    assert started.is_set()
    executor.cancel()
    assert ended == ["slow"]


@WORKERS
def test_a_cancelled_task_does_not_run(workers):
    executor = InlineExecutor(workers)
    executor.submit(_fails, AssertionError("it ran"))
    executor.cancel()
    executor.submit(_done, "after")
    assert executor.next()[1] == _done("after")
