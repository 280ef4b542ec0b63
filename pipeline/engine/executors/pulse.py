"""What the scheduler can say about tasks: where each runs, and whether it gets on.

Workers add to Dask's own heartbeat when their tasks last called `heartbeat.beat`. A worker that is
stopped sends no heartbeat, so that its tasks do not get on either.
"""

from dataclasses import dataclass
from typing import Any

from distributed import Client, Scheduler, Worker
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from pipeline.words import memory
from pipeline.words.heartbeat import last_beat

_METRIC = "winnow_beats"
_ANSWER_TIMEOUT = 10.0
"""Seconds to wait for the scheduler's answer."""


@dataclass(frozen=True)
class TaskPulse:
    """A task that runs; any difference between two of them is progress."""

    worker: str
    """The worker's address."""
    beat: float


@dataclass(frozen=True)
class WorkerPulse:
    """A worker; `seen` changes with every heartbeat."""

    name: str
    seen: float
    kinds: tuple[str, ...]
    """The kinds of tasks that it declares as its resources."""
    is_busy: bool
    """Whether it runs any task, of this client or another."""
    tasks: int
    """How many of this client's tasks, or of their results, it has."""
    is_paused: bool
    """Whether it begins no task, as it is short of memory."""

    @property
    def is_useful(self) -> bool:
        """Whether it runs tasks, or would."""
        return self.is_busy or not self.is_paused


@dataclass(frozen=True)
class Pulse:
    """The scheduler's answer: a client's running tasks by key, all workers by address."""

    running: dict[str, TaskPulse]
    workers: dict[str, WorkerPulse]

    def paused(self, kind: str = "") -> dict[str, WorkerPulse]:
        """The workers for this kind of tasks, by default all, that run none and will run none."""
        return {
            address: worker
            for address, worker in self.workers.items()
            if not worker.is_useful and (not kind or kind in worker.kinds)
        }


class PulsePlugin(SchedulerPlugin):
    """One more call of the scheduler. Its answer grows with the workers, not with the tasks."""

    name = "winnow-pulse"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        scheduler.handlers["winnow_pulse"] = self._pulse

    async def _pulse(self, client: str) -> dict[str, Any]:
        me = self._scheduler.clients.get(client)
        running, workers = {}, {}
        for address, ws in self._scheduler.workers.items():
            beats = (ws.metrics or {}).get(_METRIC, {})
            for ts in ws.executing:
                if me in (ts.who_wants or ()):
                    running[ts.key] = (address, beats.get(ts.key, 0.0))
            mine = sum(me in (ts.who_wants or ()) for ts in (*ws.processing, *ws.has_what))
            workers[address] = (
                str(ws.name), ws.last_seen, tuple(ws.resources), bool(ws.executing), mine,
                ws.status == Status.paused,
            )  # fmt: skip
        return {"running": running, "workers": workers}


class PulseWorkerPlugin(WorkerPlugin):
    """Adds the beats of the running tasks, by key, to what a worker's heartbeat holds, and tells
    the worker's process its memory limit."""

    name = "winnow-pulse"

    def setup(self, worker: Worker) -> None:
        worker.metrics[_METRIC] = _beats
        memory.set_worker_limit(worker.memory_manager.memory_limit)


def _beats(worker: Worker) -> dict[str, float]:
    with worker.active_threads_lock:
        threads = dict(worker.active_threads)
    return {str(key): last_beat(thread) for thread, key in threads.items()}


def ask(client: Client) -> Pulse:
    """OSError or TimeoutError if the scheduler does not answer."""
    scheduler: Any = client.scheduler
    said = client.sync(scheduler.winnow_pulse, client=client.id, callback_timeout=_ANSWER_TIMEOUT)
    return Pulse(
        {key: TaskPulse(*values) for key, values in said["running"].items()},
        {
            address: WorkerPulse(name, seen, tuple(kinds), *rest)
            for address, (name, seen, kinds, *rest) in said["workers"].items()
        },
    )
