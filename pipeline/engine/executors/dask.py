"""Tasks run on Dask: a local cluster (one net worker, compute workers) or an existing cluster."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import dask
from distributed import Client, KilledWorker, Nanny, Scheduler, SpecCluster, as_completed
from distributed.client import ClosedClientError
from distributed.scheduler import NoValidWorkerError

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors.base import Executor, Failed, Handle, Kind
from pipeline.engine.tasks import TimedResult
from pipeline.words.errors import GOES_ON, ClusterLostError, InputError
from pipeline.words.processes import keep_working_folder_out
from pipeline.words.threads import VARIABLE

GONE = f"the scheduler went away; start it again, and {GOES_ON}"
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


class DaskExecutor(Executor):
    """Runs tasks on a client's workers; `has_resources`: these declare the kinds of their tasks."""

    def __init__(self, client: Client, workers: int, has_resources: bool) -> None:
        self.workers = workers
        self.dashboard = client.dashboard_link or None
        self._client, self._has_resources = client, has_resources
        self._completed = as_completed(loop=client.loop)
        self._flying: set[Any] = set()

    def submit(
        self,
        work: Callable[..., TimedResult],
        *args: Any,
        kind: Kind = "compute",
        priority: int = 0,
    ) -> Handle:
        resources = {kind: 1.0} if self._has_resources else None
        with _reaching():
            future = self._client.submit(
                work, *args, priority=priority, pure=False, retries=0, resources=resources
            )
        self._flying.add(future)
        self._completed.add(future)
        return future

    def next(self) -> tuple[Handle, TimedResult | Failed]:
        with _reaching():
            future = next(self._completed)
            self._flying.discard(future)
            if future.status in ("cancelled", "lost"):
                raise ClusterLostError(GONE)
            answer: TimedResult | Failed
            if future.status == "finished":
                answer = future.result()
            else:
                answer = Failed(future.exception(), future.traceback())
            future.release()
            return future, answer

    def cancel(self) -> None:
        for future in self._flying:
            future.cancel()
        self._flying.clear()

    def fault(self, error: BaseException, every_shard: bool) -> ClusterLostError | None:
        return clusters_fault(error, every_shard)


@contextlib.contextmanager
def open_dask(config: ClusterConfig) -> Iterator[DaskExecutor]:
    """Start the local cluster, or connect.

    InputError if the scheduler does not answer; ClusterLostError if a local worker does not start.
    """
    settings = {
        # With 0, tasks that were only queued on a worker that died would fail too.
        "distributed.scheduler.allowed-failures": 3,
        # If no worker for a kind of task comes back, fail instead of waiting for ever.
        "distributed.scheduler.no-workers-timeout": "5 minutes",
        "distributed.worker.memory.terminate": 0.95,
        "distributed.comm.timeouts.connect": "10s",
        # Errors reach the driver, which prints one line and logs the rest.
        "distributed.logging.distributed": "critical",
    }
    with dask.config.set(settings), _quiet(), contextlib.ExitStack() as stack:
        if config.scheduler is None:
            workers = Shape.of(config).workers
            stack.enter_context(_main_left_out())
            with _starting():
                cluster = stack.enter_context(contextlib.closing(_local(config)))
                client = stack.enter_context(Client(cluster, set_as_default=False))
                client.wait_for_workers(workers + 1, timeout=60)
            yield DaskExecutor(client, workers, True)
            return
        client = stack.enter_context(_connect(config.scheduler))
        info = client.scheduler_info(n_workers=-1)["workers"]
        if not info:
            raise InputError(f"cluster.scheduler: {config.scheduler} has no workers")
        _share_host_limiter(client)
        kinds = {kind for worker in info.values() for kind in worker.get("resources", {})}
        yield DaskExecutor(client, len(info), {"net", "compute"} <= kinds)


@contextlib.contextmanager
def _main_left_out() -> Iterator[None]:
    """Keeps workers, also those that are started again later, from importing the main module.

    `multiprocessing` does so in every process that it spawns, because tasks might be defined there;
    ours are not. A script without `if __name__ == "__main__":` would start itself once more.
    """
    original = spawn.get_preparation_data

    def without_main(name: str) -> dict[str, Any]:
        return {k: v for k, v in original(name).items() if not k.startswith("init_main")}

    spawn.get_preparation_data = without_main
    try:
        yield
    finally:
        spawn.get_preparation_data = original


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Turns the errors that Dask raises in the block if the scheduler is gone: ClusterLostError."""
    try:
        yield
    except (OSError, TimeoutError, ClosedClientError) as error:
        raise ClusterLostError(GONE) from error


def clusters_fault(error: BaseException, every_shard: bool) -> ClusterLostError | None:
    """ClusterLostError if no worker was able to run the task; None for the task's own error.

    If a task of one shard kills its workers, that shard is quarantined; a task on `every_shard` has
    no shard to quarantine, so its loss ends the run.
    """
    if isinstance(error, NoValidWorkerError) or (every_shard and isinstance(error, KilledWorker)):
        return ClusterLostError(
            f"no worker is left that could do this: {' '.join(str(error).split())}; "
            f"give the workers more memory, or start them again, and {GOES_ON}"
        )
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses Dask's log about a lost scheduler, which the driver reports in one line."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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


def _share_host_limiter(client: Client) -> None:
    """Make the workers share the limits for hosts; in a local cluster only one worker fetches."""
    from pipeline.engine.executors.sharing import HostLimiterPlugin, HostLimiterWorkerPlugin

    try:
        client.register_plugin(HostLimiterPlugin())
        client.register_plugin(HostLimiterWorkerPlugin())
    except ModuleNotFoundError as error:
        raise InputError(
            f"cluster.scheduler: the scheduler and its workers need winnow installed ({error}); "
            "start them from an environment like this one"
        ) from error


def _connect(address: str) -> Client:
    try:
        if Path(address).is_file():
            return Client(scheduler_file=address, set_as_default=False, timeout="10s")
        return Client(address, set_as_default=False, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"cluster.scheduler: no Dask scheduler answers at {address}; start one, or leave "
            "`cluster.scheduler` out to run here"
        ) from error


def _local(config: ClusterConfig) -> Any:
    keep_working_folder_out()
    shape = Shape.of(config)

    def worker(kind: str, threads: int) -> dict[str, Any]:
        variables = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        variables["OMP_WAIT_POLICY"] = "PASSIVE"  # spinning threads would take the others' cores
        options = {
            "nthreads": 1,
            "resources": {kind: 1},
            "preload": ["pipeline.words.quiet_exit"],
            "env": variables | {"NO_ALBUMENTATIONS_UPDATE": "1", VARIABLE: str(threads)},
            "memory_limit": config.memory_limit if config.memory_limit != "0" else 0,
            "dashboard": False,
            "silence_logs": logging.CRITICAL,
            # Loopback only, because anyone who can connect to a Dask worker can run code on it.
            "host": "127.0.0.1",
        }
        return {"cls": Nanny, "options": options}

    workers = {"net": worker("net", 1)}
    workers |= {f"compute-{i}": worker("compute", shape.threads) for i in range(shape.workers)}
    scheduler = {
        "cls": Scheduler,
        "options": {
            "host": "127.0.0.1",
            "dashboard": config.dashboard,
            "dashboard_address": "127.0.0.1:0",
        },
    }
    return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)
