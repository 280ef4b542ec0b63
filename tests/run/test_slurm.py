"""A job on Debian's Slurm in one box, with the script of deploy/slurm."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster_page import adapted, block
from clusters import ROOT, wait_for
from lab import Lab
from slurm_box import SlurmBox, missing

SOON = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s"}

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.skipif(find_spec("dask_jobqueue") is None, reason="needs dask-jobqueue"),
]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[SlurmBox]:
    box = SlurmBox(tmp_path / "slurm")
    yield box
    box.close()


def test_a_job_with_a_worker_and_a_whole_job_killed(alone: Lab, box: SlurmBox) -> None:
    """Every row is accounted for, though Slurm loses a job; all jobs are gone at the end."""
    job = alone.job(download={"per_host_rate": 4})
    size = "--net 1 --compute 2 --cores 1 --memory 2GB --interface lo"
    given = {"--net 2 --compute 8 --cores 8 --memory 16GB --interface ib0": size}
    words = adapted(block("python deploy/slurm/run.py"), **given).split()
    site = {"batch": "all", "/scratch": str(alone.folder), "module load python/3.11": "true"}
    config = alone.folder / "config"
    config.mkdir()
    (config / "jobqueue.yaml").write_text(adapted(block("jobqueue:", "yaml"), **site))
    log = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    driver = subprocess.Popen(
        [sys.executable, str(ROOT / words[1]), str(job), *words[3:], "--shared", str(alone.folder)],
        env={**os.environ, **box.env, **SOON, "DASK_CONFIG": str(config)}, cwd=alone.folder, **log,
    )  # fmt: skip
    try:
        wait_for(lambda: len(box.jobs()) == 3, "three jobs")
        names = sorted(box.jobs().values())
        assert names == ["winnow-compute", "winnow-compute", "winnow-net"]
        (net,) = [number for number, name in box.jobs().items() if name == "winnow-net"]
        wait_for(lambda: any(alone.folder.glob("runs/job/parts/download-*/0*.json")), "a part")
        box.ask("scancel", "--signal=KILL", "--full", net)
        wait_for(lambda: net not in box.jobs(), "the end of the killed job")
        out, _ = driver.communicate(timeout=200)
    finally:
        if driver.poll() is None:
            driver.send_signal(signal.SIGINT)
            driver.communicate(timeout=60)

    assert driver.returncode == 0, out
    assert re.search(r"40 rows.*36 kept", out, re.DOTALL), out
    assert box.jobs() == {}
    assert not list(alone.folder.glob(".winnow-tls-*"))
