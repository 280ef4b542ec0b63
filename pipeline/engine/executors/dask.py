"""Tasks run on Dask: a local cluster (one net worker, compute workers) or an existing cluster."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import dask
from distributed import Client, KilledWorker
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import NoValidWorkerError

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors.base import Executor, Failed, Handle, Kind
from pipeline.engine.executors.connecting import check_refused, check_versions, connect, within
from pipeline.engine.executors.local import local_cluster
from pipeline.engine.executors.pulse import PulsePlugin, PulseWorkerPlugin
from pipeline.engine.executors.versions import Refused, VersionsPlugin, VersionsWorkerPlugin
from pipeline.engine.executors.watch import QUIET, Waiting, Watch
from pipeline.engine.tasks import TimedResult
from pipeline.words.errors import GOES_ON, ClusterLostError, InputError, StalledError

GONE = f"the scheduler went away; start it again, and {GOES_ON}"
_POLL = 1.0
"""Seconds to wait for the end of a task before the cluster may be looked at."""
_TOLD = 5.0
"""Seconds to wait for all workers to start a plugin, once it is known that some are silent."""
_ATTEMPTS = 5
"""How often a plugin is added, as long as workers end at that moment."""
_RESULT_TIMEOUT = 10.0
"""Seconds to wait for a result, less than 1 kB, from the worker that has it."""


class DaskExecutor(Executor):
    """Runs tasks on a client's workers, which `watch` looks after."""

    def __init__(self, client: Client, watch: Watch) -> None:
        self.workers = watch.workers
        self.dashboard = client.dashboard_link or None
        self._client, self._watch = client, watch
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._flying: dict[str, Any] = {}
        self._names: dict[str, Waiting] = {}
        self._given_up: list[tuple[Handle, Failed]] = []

    def submit(
        self,
        work: Callable[..., TimedResult],
        *args: Any,
        kind: Kind = "compute",
        priority: int = 0,
        name: str = "a task",
    ) -> Handle:
        resources = {kind: 1.0} if self._watch.has_kinds else None
        with _reaching():
            future = self._client.submit(
                work, *args, priority=priority, pure=False, retries=0, resources=resources
            )
        key = str(future.key)
        self._flying[key], self._names[key] = future, Waiting(kind, name)
        future.add_done_callback(self._ended.put)
        return future

    def next(self) -> tuple[Handle, TimedResult | Failed]:
        with _reaching():
            while True:
                self._watch.look(self._names, self._give_up)
                self.workers = max(1, self._watch.workers)
                if self._given_up:
                    return self._given_up.pop()
                try:
                    future = self._ended.get(timeout=_POLL)
                except Empty:
                    continue
                if future.key in self._flying and (answer := self._answer(future)) is not None:
                    self._forget(future.key)
                    future.release()
                    return future, answer

    def _answer(self, future: Any) -> TimedResult | Failed | None:
        """What became of a task; None if its result was lost with its worker: it is run again."""
        if future.status == "cancelled":
            raise ClusterLostError(GONE)
        if future.status == "error":
            return Failed(future.exception(), future.traceback())
        try:
            if future.status == "finished":
                result: TimedResult = future.result(timeout=_RESULT_TIMEOUT)
                return result
        except TimeoutError:
            pass
        time.sleep(_POLL / 10)
        self._ended.put(future)
        return None

    def _give_up(self, key: str, why: str) -> None:
        future = self._flying[key]
        self._forget(key)
        future.cancel()
        self._given_up.append((future, Failed(StalledError(why), None)))

    def _forget(self, key: str) -> None:
        del self._flying[key], self._names[key]
        self._watch.note_end(key)

    def cancel(self) -> None:
        flying, self._flying, self._names = self._flying, {}, {}
        for future in flying.values():
            future.cancel()

    def has_died(self, error: BaseException) -> bool:
        return isinstance(error, KilledWorker)

    def fault(self, error: BaseException, every_shard: bool) -> ClusterLostError | None:
        return clusters_fault(error, every_shard)


@contextlib.contextmanager
def open_dask(
    config: ClusterConfig, say: Callable[[str], None], packages: Iterable[str] = ()
) -> Iterator[DaskExecutor]:
    """Start the local cluster, or connect; `say` tells the user what is waited for.

    `packages` must have the same versions on all workers, as Python and Dask must.

    InputError if no scheduler like this one answers; ClusterLostError if no worker joins.
    """
    with _settings(), contextlib.ExitStack() as stack:
        if config.scheduler is None:
            client = stack.enter_context(local_cluster(config))
            _install(client, config, say)
            watch = Watch(client, config, say)
            watch.wait_for_a_worker("here")
        else:
            place = config.scheduler
            client, refused = stack.enter_context(_standing(place, config, say, packages))
            watch = Watch(client, config, say)
            watch.wait_for_a_worker(place, partial(check_refused, place, refused))
        yield DaskExecutor(client, watch)


@contextlib.contextmanager
def ask_scheduler(
    config: ClusterConfig, say: Callable[[str], None], packages: Iterable[str]
) -> Iterator[None]:
    """InputError if `config.scheduler`, or a worker that is there, cannot be used. Workers that
    join within the block and cannot be used are refused."""
    assert config.scheduler is not None
    with _settings(), _standing(config.scheduler, config, say, packages):
        yield


@contextlib.contextmanager
def _standing(
    place: str, config: ClusterConfig, say: Callable[[str], None], packages: Iterable[str]
) -> Iterator[tuple[Client, Refused]]:
    """A client of an existing scheduler with our plugins and versions."""
    with connect(place) as client:
        refused = Refused(client, say)
        _install(client, config, say, packages)
        with _reaching():
            check_versions(place, client, packages)
        yield client, refused


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    settings = {
        # With 0, tasks that were only queued on a worker that died would fail too.
        "distributed.scheduler.allowed-failures": 3,
        # `Watch` replaces silent workers and gives up waiting, on every scheduler alike.
        "distributed.scheduler.worker-ttl": None,
        "distributed.scheduler.no-workers-timeout": None,
        # After these seconds without a worker of its name, Dask would end the nanny for good, even
        # if it is just starting the next one.
        "distributed.deploy.lost-worker-timeout": "1 day",
        "distributed.worker.memory.terminate": 0.95,
        "distributed.comm.timeouts.connect": "10s",
        # Errors reach the driver, which prints one line and logs the rest.
        "distributed.logging.distributed": "critical",
    }
    with dask.config.set(settings), _quiet():
        yield


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Turns the errors that Dask raises in the block if the scheduler is gone: ClusterLostError."""
    try:
        yield
    except (OSError, TimeoutError, ClosedClientError) as error:
        raise ClusterLostError(GONE) from error


def clusters_fault(error: BaseException, every_shard: bool) -> ClusterLostError | None:
    """ClusterLostError if no worker was able to run the task; None for the task's own error.

    If a task of one shard kills its workers or stalls, that shard is quarantined; a task on
    `every_shard` has no shard to quarantine, so its loss ends the run.
    """
    if every_shard and isinstance(error, StalledError):
        return ClusterLostError(f"a task on all shards was given up: {error}; {GOES_ON}")
    if isinstance(error, NoValidWorkerError) or (every_shard and isinstance(error, KilledWorker)):
        return ClusterLostError(
            f"no worker is left that could do this: {' '.join(str(error).split())}; "
            f"give the workers more memory, or start them again, and {GOES_ON}"
        )
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses what Dask logs of a lost scheduler, which the driver reports in one line, and of
    connections that close while the cluster is ended."""
    names = ("distributed", "distributed.client", "asyncio", "tornado.application")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _install(
    client: Client,
    config: ClusterConfig,
    say: Callable[[str], None],
    packages: Iterable[str] = (),
) -> None:
    """Add our plugins. Workers that join later get theirs from the scheduler.

    On an existing cluster they also share the limits for hosts, since locally only one worker
    fetches, and compare versions.
    """
    from pipeline.engine.executors.sharing import HostLimiterPlugin, HostLimiterWorkerPlugin

    plugins: list[Any] = [PulsePlugin(), PulseWorkerPlugin()]
    if config.scheduler is not None:
        plugins += [HostLimiterPlugin(), HostLimiterWorkerPlugin()]
        plugins += [VersionsPlugin(), VersionsWorkerPlugin(packages)]
    told = False
    try:
        for plugin in plugins:
            try:
                limit = min(_TOLD if told else QUIET, config.worker_timeout)
                within(limit, partial(_register, client, plugin))
            except TimeoutError:
                if isinstance(plugin, SchedulerPlugin):
                    raise
                if not told:  # a worker that is silent gets its plugin when it listens again
                    say("not all workers answer; going on with those that do")
                told = True
    except ModuleNotFoundError as error:
        raise InputError(
            f"cluster.scheduler: the scheduler and its workers need winnow installed ({error}); "
            "start them from an environment like this one"
        ) from error
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(GONE) from error


def _register(client: Client, plugin: Any) -> None:
    """Add one plugin. A worker that ends meanwhile is not the scheduler's end."""
    for attempt in range(_ATTEMPTS):
        try:
            client.register_plugin(plugin)
        except CommClosedError:
            if isinstance(plugin, SchedulerPlugin) or attempt == _ATTEMPTS - 1:
                raise
        else:
            return
