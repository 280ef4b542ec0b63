"""Who has other versions than the driver is refused before any work, and later not used."""

import subprocess
import time
from pathlib import Path

import pytest
from clusters import Cluster
from distributed import Client
from lab import Lab

from pipeline.engine.executors.dask import DaskExecutor, open_dask
from pipeline.engine.tasks import TimedResult
from pipeline.words.errors import InputError

DASK_SAYS = """
import distributed.versions as versions
def changed(packages, true=versions.get_package_info):
    return {{**true(packages), **{}}}
versions.get_package_info = changed
"""
INSTALLED = """
import importlib.metadata as metadata
def changed(name, true=metadata.version):
    return {}.get(name) or true(name)
metadata.version = changed
"""
STEP = "start all from one environment"


def where() -> TimedResult:
    import os

    return TimedResult({}, os.getpid(), {})


def ended(worker: "subprocess.Popen[bytes]") -> int:
    return worker.wait(timeout=60)


def places(executor: DaskExecutor, tasks: int = 8) -> set[int]:
    """The processes that run these tasks."""
    for _ in range(tasks):
        executor.submit(where)
    answers = [executor.next()[1] for _ in range(tasks)]
    return {answer.rows for answer in answers if isinstance(answer, TimedResult)}


def lines(said: list[str], count: int = 1) -> list[str]:
    end = time.monotonic() + 10
    while len(said) < count and time.monotonic() < end:
        time.sleep(0.05)
    return [line.replace(line.split(" is not used")[0], "W") for line in said]


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (DASK_SAYS.format({"python": "3.9.1.final.0"}), "has Python 3.9 (here "),
        (DASK_SAYS.format({"dask": "2020.1.0"}), "has dask 2020.1.0 (here "),
        (DASK_SAYS.format({"numpy": "1.0"}), "has numpy 1.0 (here "),
        (INSTALLED.format({"py3langid": "0.1"}), "has py3langid 0.1 (here "),
        ("import sys; sys.modules['pipeline'] = None", "ended before winnow's plugins had started"),
    ],
    ids=["python", "dask", "numpy", "a stage's package", "no winnow"],
)
def test_a_worker_that_joins_later(cluster: Cluster, first: str, what: str) -> None:
    said: list[str] = []
    good = cluster.worker()
    with open_dask(cluster.config(), said.append, ["py3langid"]) as executor:
        said.clear()
        for _ in range(2):  # the second time nothing is said
            assert ended(cluster.worker(first=first)) != 0 or "py3langid" in what
        assert places(executor) == {good.pid}
        (line,) = lines(said)
        assert line.startswith(f"W is not used: it {what}"), line
        assert line.endswith(f"; {STEP}")
        other = cluster.worker()  # one that is like this process is used at once
        end = time.monotonic() + 60
        while places(executor) != {good.pid, other.pid}:
            assert time.monotonic() < end
    assert len(said) == 1


def test_a_nanny_does_not_start_a_refused_worker_for_ever(cluster: Cluster, tmp_path: Path) -> None:
    said: list[str] = []
    good = cluster.worker()
    patch = tmp_path / "patch.py"
    for first, name in (
        (DASK_SAYS.format({"dask": "2020.1.0"}), "dask"),
        (INSTALLED.format({"py3langid": "0.1"}), "py3langid"),
    ):
        patch.write_text(first)
        with open_dask(cluster.config(), said.append, ["py3langid"]) as executor:
            said.clear()
            ended(cluster.start("worker", "--nthreads", "1", "--preload", str(patch)))
            assert places(executor) == {good.pid}
            (line,) = lines(said)
            assert line.startswith(f"W is not used: it has {name} ")


ENDS = """
import os, distributed
add = distributed.Worker.plugin_add
async def ends(self, *args, **words):
    if words.get("name") == "winnow-pulse":
        os._exit(1)
    return await add(self, *args, **words)
distributed.Worker.plugin_add = ends
"""


def test_a_worker_that_ends_while_the_job_starts(cluster: Cluster) -> None:
    """It is not the scheduler that went away."""
    dying, good = cluster.worker(first=ENDS), cluster.worker()
    with Client(scheduler_file=str(cluster.file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    with open_dask(cluster.config(), print) as executor:
        assert ended(dying) == 1
        assert places(executor) == {good.pid}


def test_nobody_is_refused_while_no_job_runs(cluster: Cluster) -> None:
    """A scheduler may have other users."""
    cluster.worker()
    with open_dask(cluster.config(), print):
        pass
    odd = cluster.worker(first=DASK_SAYS.format({"numpy": "1.0"}))
    with Client(scheduler_file=str(cluster.file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    assert odd.poll() is None
    with pytest.raises(InputError) as caught, open_dask(cluster.config(), print):
        pass
    assert " has numpy 1.0 (here " in str(caught.value)


@pytest.mark.parametrize(
    "first", [DASK_SAYS.format({"numpy": "1.0"}), INSTALLED.format({"py3langid": "0.1"})]
)
def test_a_worker_that_is_there_is_found_before_any_work(
    alone: Lab, cluster: Cluster, first: str
) -> None:
    cluster.worker(first=first)
    with Client(scheduler_file=str(cluster.file), set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
    job = alone.job(cluster={"scheduler": str(cluster.file)}, captions={"language": True})

    end = alone.winnow("run", str(job))

    assert end.returncode == 2, end.stderr
    (line,) = end.stderr.splitlines()
    assert line.startswith(
        f"winnow: cluster.scheduler: {cluster.file}: its worker tcp://127.0.0.1:"
    )
    assert f"; {STEP}, or leave `cluster.scheduler` out to run here" in line
    assert not (alone.folder / "runs" / "job" / "shards").exists()


def written(lab: Lab) -> dict[str, bytes]:
    folder = lab.folder / "runs"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


NOBODY = "tcp://127.0.0.1:1"
LINE = (
    f"winnow: cluster.scheduler: no Dask scheduler answers at {NOBODY}; start one, "
    "or leave `cluster.scheduler` out to run here"
)


def test_a_wrong_scheduler_is_refused_before_any_work(alone: Lab) -> None:
    """Before the list is read: nothing is written."""
    end = alone.winnow("run", str(alone.job()), "--scheduler", NOBODY)

    assert end.returncode == 2, end.stderr
    assert end.stderr.splitlines() == [LINE]
    assert written(alone) == {}


def test_a_wrong_scheduler_for_a_run_that_is_there(lab: Lab) -> None:
    """With work to do nothing is touched; without, nobody needs a scheduler."""
    job = lab.job()
    assert lab.winnow("run", str(job)).returncode == 0
    words = ("--scheduler", NOBODY, "--set", "cluster.executor=dask")
    end = lab.winnow("run", str(job), *words)
    assert end.returncode == 0, end.stderr
    assert (
        "export: 36 rows up to date" in end.stderr
    )  # only the report, which shows the job, is new

    before, run = written(lab), str(lab.folder / "runs" / "job")
    lab.job([*lab.site.rows, *lab.site.dead[:1]])
    end = lab.winnow("run", str(job), *words)
    assert (end.returncode, end.stderr.splitlines()[-1]) == (2, LINE), end.stderr
    assert "reading the list" not in end.stderr
    assert written(lab) == before
    end = lab.winnow("retry", run, "--where", "status = 'failed'", "--scheduler", NOBODY)
    assert (end.returncode, end.stderr.splitlines()[-1]) == (2, LINE), end.stderr
    assert written(lab) == before
