"""The local cluster: a scheduler in this process, one net worker, compute workers, on loopback.

Its parts talk over TLS with a key that exists in their memory only: whoever else has an account on
this machine can reach loopback too, and who reaches a Dask scheduler can run code.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import spawn
from typing import Any

from distributed import Client, Nanny, Scheduler, Security, SpecCluster

from pipeline.config.sections import ClusterConfig
from pipeline.words.errors import GOES_ON, ClusterLostError
from pipeline.words.interrupts import block_terminal, held_signals, processes_of_ours
from pipeline.words.processes import keep_working_folder_out
from pipeline.words.threads import VARIABLE

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """How many local compute processes, with how many threads each."""

    workers: int
    threads: int

    @classmethod
    def of(cls, config: ClusterConfig) -> "Shape":
        """As many threads in all as there are cores: more would halve the speed."""
        cores = len(os.sched_getaffinity(0))
        workers = config.compute_workers or max(1, cores // 4)
        return cls(workers, config.threads or max(1, cores // workers))


@contextlib.contextmanager
def local_cluster(config: ClusterConfig) -> Iterator[Client]:
    """Start the cluster; ClusterLostError if a worker does not start."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_main_left_out())
        with _starting():
            with held_signals(), processes_of_ours():
                cluster = stack.enter_context(contextlib.closing(_start(config)))
            client = stack.enter_context(Client(cluster, set_as_default=False))
            client.wait_for_workers(Shape.of(config).workers + 1, timeout=60)
        yield client


def _start(config: ClusterConfig) -> SpecCluster:
    keep_working_folder_out()
    _silence_tracker()
    shape = Shape.of(config)
    # Without loopback's address here, Dask would listen on all of them.
    secret = {"host": "127.0.0.1", "protocol": "tls://", "security": Security.temporary()}

    def worker(kind: str, threads: int) -> dict[str, Any]:
        variables = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        variables["OMP_WAIT_POLICY"] = "PASSIVE"  # spinning threads would take the others' cores
        options = {
            "nthreads": 1,
            "resources": {kind: 1},
            "preload": ["pipeline.words.worker_process"],
            "env": variables | {"NO_ALBUMENTATIONS_UPDATE": "1", VARIABLE: str(threads)},
            "memory_limit": config.memory_limit if config.memory_limit != "0" else 0,
            "dashboard": False,
            "silence_logs": logging.CRITICAL,
        }
        return {"cls": Nanny, "options": options | secret}

    workers = {"net": worker("net", 1)}
    workers |= {f"compute-{i}": worker("compute", shape.threads) for i in range(shape.workers)}
    scheduler = {
        "cls": Scheduler,
        "options": {
            "dashboard": config.dashboard,
            "dashboard_address": "127.0.0.1:0",
            **secret,
        },
    }
    return SpecCluster(
        workers=workers, scheduler=scheduler, security=secret["security"],
        silence_logs=logging.CRITICAL,
    )  # fmt: skip


def _silence_tracker() -> None:
    """Workers that are killed cannot clean up; multiprocessing then does, and prints a warning."""
    rule, others = "ignore:resource_tracker:UserWarning", os.environ.get("PYTHONWARNINGS", "")
    if rule not in others:
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [others, rule]))


@contextlib.contextmanager
def _main_left_out() -> Iterator[None]:
    """Keeps workers, also those that are started again later, from importing the main module, and
    from getting the terminal's signals.

    `multiprocessing` imports it in every process that it spawns, because tasks might be defined
    there; ours are not. A script without `if __name__ == "__main__":` would start itself once more.
    """
    original = spawn.get_preparation_data

    def without_main(name: str) -> dict[str, Any]:
        if threading.current_thread() is not threading.main_thread():
            block_terminal()  # called right before the process is started, in the same thread
        return {k: v for k, v in original(name).items() if not k.startswith("init_main")}

    spawn.get_preparation_data = without_main
    try:
        yield
    finally:
        spawn.get_preparation_data = original


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, TimeoutError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ClusterLostError(
            f"a local worker could not be started ({type(cause).__name__}: {cause}); it may have "
            "printed why above. Give it more memory (`cluster.memory_limit`) or start fewer "
            f"(`cluster.compute_workers`), and {GOES_ON}"
        ) from error
