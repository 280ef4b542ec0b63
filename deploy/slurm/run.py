"""Runs `winnow run JOB` on Slurm: the scheduler and the driver here, each worker a job of Slurm.

    python deploy/slurm/run.py job.yaml --net 2 --compute 8 --interface ib0

What differs from site to site (partition, account, walltime, a prologue that loads modules) is read
from Dask's configuration, `jobqueue.slurm`; docs/cluster.md has an example. It needs winnow and
dask-jobqueue in one environment on a disk that all nodes see. Ends with winnow's exit code.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue.slurm import SLURMCluster
from distributed import Security

SUBMIT_AGAIN = 15.0
"""Seconds between two looks for workers whose job has ended."""


def main() -> int:
    asked, more = arguments()
    folder = Path(asked.shared).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # Every user of the machines reaches the scheduler's port: only who can read this folder,
    # which mkdtemp makes for this user alone, may talk to it.
    with tempfile.TemporaryDirectory(prefix=".winnow-tls-", dir=folder) as private:
        settings = certificates(Path(private))
        with dask.config.set(settings), started(asked) as cluster:
            words = ["run", asked.job, "--scheduler", cluster.scheduler_address, *more]
            winnow = subprocess.Popen(
                [sys.executable, "-m", "pipeline", *words],
                env=os.environ | as_environment(settings),
            )
            try:
                while winnow.poll() is None:
                    cluster.scale(len(cluster.worker_spec))  # jobs that were lost, once more
                    with_patience(winnow)
            except KeyboardInterrupt:  # the terminal has told winnow too
                winnow.wait()
            return winnow.returncode


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """Ours, and those for `winnow run`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("job", help="job file; further options are passed to `winnow run`")
    parser.add_argument("--net", type=int, default=1, help="workers that fetch")
    parser.add_argument("--compute", type=int, default=4, help="workers that measure")
    parser.add_argument("--cores", type=int, default=8, help="of a compute worker; others get 2")
    parser.add_argument("--memory", default="16GB", help="of a worker, as Dask reads it")
    parser.add_argument("--interface", help="network interface of scheduler and workers, as ib0")
    parser.add_argument("--shared", default=".", help="folder that all nodes see (certificates)")
    return parser.parse_known_args()


def started(asked: argparse.Namespace) -> SLURMCluster:
    """A scheduler in this process, and jobs for two kinds of workers."""
    cluster = SLURMCluster(
        cores=1,  # threads of Dask: one task at a time, which has threads of its own
        processes=1,
        memory=asked.memory,
        interface=asked.interface,
        protocol="tls://",
        security=Security(require_encryption=True),
        scheduler_options={"dashboard": False},
        name="winnow",
    )
    for kind, count in (("net", asked.net), ("compute", asked.compute)):
        for number in range(count):
            cluster.worker_spec[f"{kind}-{number}"] = spec(cluster, kind, asked.cores)
    cluster.scale(len(cluster.worker_spec))
    return cluster


def spec(cluster: SLURMCluster, kind: str, cores: int) -> dict[str, Any]:
    """A worker's job: what `dask-jobqueue` would start, with a resource that names its kind."""
    new = cluster.new_spec
    options, cores = new["options"], cores if kind == "compute" else 2
    threads = [f"export {name}={cores}" for name in ("WINNOW_THREADS", "OMP_NUM_THREADS")]
    prologue = dask.config.get("jobqueue.slurm.job-script-prologue")
    return {
        "cls": new["cls"],
        "options": {
            **options,
            "job_cpu": cores,
            "job_name": f"winnow-{kind}",
            "worker_extra_args": ["--resources", f"{kind}=1"],
            "job_script_prologue": [*prologue, *threads],
        },
    }


def certificates(folder: Path) -> dict[str, str]:
    """A new key and its certificate in files of `folder`; Dask's settings for them."""
    made = Security.temporary()
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_text(made.tls_client_cert)
    key.write_text(made.tls_client_key)
    settings = {"distributed.comm.tls.ca-file": str(cert)}
    for role in ("client", "scheduler", "worker"):
        settings |= {
            f"distributed.comm.tls.{role}.cert": str(cert),
            f"distributed.comm.tls.{role}.key": str(key),
        }
    return settings


def as_environment(settings: dict[str, str]) -> dict[str, str]:
    """Settings as another process reads them."""
    return {
        "DASK_" + key.replace(".", "__").replace("-", "_").upper(): value
        for key, value in settings.items()
    }


def with_patience(process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + SUBMIT_AGAIN
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
