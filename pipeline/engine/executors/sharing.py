"""One host limiter for all workers of a cluster, kept by its scheduler.

If each worker kept its own limits, a host would get as many times the allowed requests as there
are workers.
"""

import time
from typing import Any

from distributed import Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.utils import sync

from pipeline.fetch.stopped import FetchStoppedError
from pipeline.fetch.web.hosts import HostLimiter, LocalHostLimiter, Permit, share_limiter

_ATTRIBUTE = "winnow_host_limiter"
_ANSWER_TIMEOUT = 60.0
"""Seconds to wait for the scheduler's answer."""
_POLL = 0.05
"""Seconds after which a worker asks again for a permit of a host that is busy."""


class HostLimiterPlugin(SchedulerPlugin):
    """The limiter, with two calls of the scheduler. Jobs on one scheduler share it."""

    name = "winnow-host-limiter"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._limiter = LocalHostLimiter()
        scheduler.handlers |= {"winnow_acquire": self._acquire, "winnow_release": self._release}

    async def _acquire(self, host: str, limits: dict[str, Any], holder: str) -> tuple[Any, ...]:
        permit = self._limiter.acquire(host, limits, holder)
        return permit.wait, permit.reason, permit.detail

    async def _release(self, holder: str, **outcome: Any) -> None:
        self._limiter.release(holder=holder, **outcome)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        self._limiter.release_all(worker)


class RemoteHostLimiter(HostLimiter):
    """The scheduler's limiter, as a worker's fetching threads call it.

    Its methods raise FetchStoppedError if the scheduler does not answer.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def acquire(self, host: str, limits: dict[str, Any]) -> Permit:
        return Permit(*self._call("winnow_acquire", host=host, limits=limits))

    def release(
        self, host: str, limits: dict[str, Any], reason: str, detail: str, pause: float
    ) -> None:
        outcome = {"host": host, "limits": limits, "reason": reason, "detail": detail}
        self._call("winnow_release", **outcome, pause=pause)

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, _POLL))

    def _call(self, name: str, **arguments: Any) -> Any:
        worker = self._worker
        try:
            return sync(
                worker.loop, getattr(worker.scheduler, name), holder=worker.address, **arguments,
                callback_timeout=_ANSWER_TIMEOUT,
            )  # fmt: skip
        except Exception as error:  # a lost scheduler causes many kinds of error
            raise FetchStoppedError(
                f"the scheduler does not answer about hosts: {error!r}"
            ) from error


class HostLimiterWorkerPlugin(WorkerPlugin):
    """Installs the scheduler's limiter in a worker."""

    name = "winnow-host-limiter"

    def setup(self, worker: Worker) -> None:
        # On the worker, since several workers can live in one process (tests do so).
        setattr(worker, _ATTRIBUTE, RemoteHostLimiter(worker))
        share_limiter(this_workers_limiter)


def this_workers_limiter() -> HostLimiter | None:
    """The limiter of the worker that runs this task; None outside a task or without a limiter."""
    try:
        worker = get_worker()
    except ValueError:  # no task
        return None
    return getattr(worker, _ATTRIBUTE, None)
