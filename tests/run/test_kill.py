"""A run that is killed at any moment and started again ends with the same export."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from lab import DASK, Lab

from pipeline.demo.web import Route, write_site

DEADLINE = 60


@pytest.fixture
def slow_site(site):
    """Pictures that take a while, so that there is time to kill."""
    routes = {f"/gone{i}.jpg": Route(status=404) for i in range(3)}
    write_site(site.folder, routes)
    yield site
    write_site(site.folder, routes)


def _delay(site, seconds):
    routes = {f"/gone{i}.jpg": Route(status=404) for i in range(3)}
    names = (row["url"].rsplit("/", 1)[1] for row in site.rows)
    write_site(site.folder, routes | {f"/{name}": Route(delay=seconds) for name in names})


def _start(job: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "pipeline", "run", str(job), "--json"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _wait_for(run: Path, pattern: str, process: subprocess.Popen) -> None:
    """Wait until a file exists or the run has ended."""
    end = time.monotonic() + DEADLINE
    while not any(run.glob(pattern)) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def _digest(run: Path) -> str:
    state = json.loads((run / "state.json").read_text())
    folder = run / state["products"]["export"]["folder"]
    return json.loads((folder / "manifest.json").read_text())["digest"]


@pytest.fixture(scope="module")
def calm(site, tmp_path_factory) -> str:
    """The export's digest of an uninterrupted run."""
    lab = Lab(site, tmp_path_factory.mktemp("calm"), DASK)
    process = _start(lab.job(name="calm", download={"thread_count": 4}))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return _digest(lab.folder / "runs" / "calm")


def test_a_killed_driver_leaves_no_process_and_the_next_run_continues(alone, slow_site, calm):
    _delay(slow_site, 0.3)
    job = alone.job(name="killed", download={"thread_count": 4})
    run = alone.folder / "runs" / "killed"
    for moment in ("parts/download-*/00000.json", "parts/download-*/00002.json"):
        process = _start(job)
        _wait_for(run, moment, process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, f"workers outlived their driver: {alive}"
    (left,) = run.glob("parts/download-*")
    assert 1 <= len(list(left.glob("*.json"))) - 1 < 4  # recipe.json is no part
    process = _start(job)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert _digest(run) == calm
    assert not list(run.rglob("*.tmp"))
    done = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    fetched = [entry["shard"] for entry in done if entry["stages"] == ["download"]]
    assert sorted(fetched) == sorted(set(fetched)), "a shard that was up to date was fetched again"
    assert json.loads(out)["conserved"] is True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_stopped_worker_is_replaced_within_the_run(alone, slow_site, calm, how):
    _delay(slow_site, 0.3)
    job = alone.job(name="worker", download={"thread_count": 4}, cluster={"worker_timeout": 8})
    process = _start(job)
    run = alone.folder / "runs" / "worker"
    _wait_for(run, "parts/download-*/00000.json", process)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert len(workers) >= 2
    for worker in workers:
        os.kill(worker.pid, how)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert _digest(run) == calm
    assert json.loads(out)["quarantined"] == []
    assert (" has sent nothing for " in err) == (how == signal.SIGSTOP)


def test_downloads_overlap_the_measuring_of_other_shards(alone, slow_site):
    _delay(slow_site, 0.4)
    job = alone.job(
        name="overlap",
        images={"nsfw": "opennsfw"},
        download={"thread_count": 2},
    )
    process = _start(job)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    lines = (alone.folder / "runs" / "overlap" / "log.jsonl").read_text().splitlines()
    done = [json.loads(line) for line in lines]
    downloads = [e for e in done if e["stages"] == ["download"]]
    pictures = [e for e in done if "images" in e["stages"]]
    overlaps = [
        (d["shard"], p["shard"])
        for d in downloads
        for p in pictures
        if d["shard"] != p["shard"] and d["start"] < p["end"] and p["start"] < d["end"]
    ]
    assert overlaps, (downloads, pictures)
