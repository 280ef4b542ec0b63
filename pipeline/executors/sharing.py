"""One book of hosts for all workers of a cluster, kept by its scheduler.

Without it each worker would spare a host on its own, and ten workers would be ten times too many.
"""

import time
from typing import Any

from distributed import Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.utils import sync

from pipeline.fetch.stopped import FetchStoppedError
from pipeline.fetch.web.hosts import Book, HostBook, Leave, share_book

_ATTRIBUTE = "winnow_book"
_PATIENCE = 60.0
_POLL = 0.05
"""Seconds between two questions about a host that is busy with another worker's requests."""


class HostBookPlugin(SchedulerPlugin):
    """The book, behind two calls of the scheduler. Jobs that run side by side share it."""

    name = "winnow-hosts"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._book = HostBook()
        scheduler.handlers |= {"winnow_take": self._take, "winnow_give": self._give}

    async def _take(self, host: str, manners: dict[str, Any], holder: str) -> tuple[Any, ...]:
        leave = self._book.take(host, manners, holder)
        return leave.wait, leave.reason, leave.detail

    async def _give(self, holder: str, **told: Any) -> None:
        self._book.give(holder=holder, **told)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        self._book.drop(worker)


class RemoteBook(Book):
    """The scheduler's book, as a worker's fetching threads see it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def take(self, host: str, manners: dict[str, Any]) -> Leave:
        return Leave(*self._call("winnow_take", host=host, manners=manners))

    def give(
        self, host: str, manners: dict[str, Any], reason: str, detail: str, pause: float
    ) -> None:
        told = {"host": host, "manners": manners, "reason": reason, "detail": detail}
        self._call("winnow_give", **told, pause=pause)

    def rest(self, seconds: float) -> None:
        time.sleep(min(seconds, _POLL))

    def _call(self, name: str, **told: Any) -> Any:
        worker = self._worker
        try:
            return sync(
                worker.loop, getattr(worker.scheduler, name), holder=worker.address, **told,
                callback_timeout=_PATIENCE,
            )  # fmt: skip
        except Exception as error:  # whatever a lost scheduler looks like from here
            raise FetchStoppedError(
                f"the scheduler does not answer about hosts: {error!r}"
            ) from error


class HostBookWorkerPlugin(WorkerPlugin):
    """Shows a worker's fetching the way to the book."""

    name = "winnow-hosts"

    def setup(self, worker: Worker) -> None:
        setattr(worker, _ATTRIBUTE, RemoteBook(worker))
        share_book(this_workers_book)


def this_workers_book() -> Book | None:
    """The cluster's book, if this task runs on a cluster that keeps one."""
    try:
        worker = get_worker()
    except ValueError:  # no task
        return None
    return getattr(worker, _ATTRIBUTE, None)
