"""What the scheduler can say about tasks: where each runs, and whether it gets on.

Workers add to Dask's own heartbeat when their tasks last called `heartbeat.beat`. A worker that is
stopped sends no heartbeat, so that its tasks do not get on either.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from distributed import Client, Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from pipeline.words.heartbeat import last_beat

_METRIC = "winnow_beats"
_ANSWER_TIMEOUT = 10.0
"""Seconds to wait for the scheduler's answer."""


@dataclass(frozen=True)
class TaskPulse:
    """A task as the scheduler sees it; any difference between two of them is progress."""

    state: str
    """Dask's word: `processing`, `memory` (its result), `no-worker` (none can have it) …"""
    worker: str | None = None
    """Address of the worker that has it or its result."""
    is_running: bool = False
    """False while it waits for its turn on the worker."""
    beat: float = 0.0


@dataclass(frozen=True)
class WorkerPulse:
    """A worker as the scheduler sees it; `seen` changes with every heartbeat."""

    name: str
    seen: float
    kinds: tuple[str, ...]
    """The kinds of tasks that it declares as its resources."""
    is_busy: bool
    """Whether it runs any task, of this job or another."""
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Pulse:
    """The scheduler's answer: tasks by key, workers by address."""

    tasks: dict[str, TaskPulse]
    workers: dict[str, WorkerPulse]


class PulsePlugin(SchedulerPlugin):
    """One more call of the scheduler, which costs it a look at a dictionary per key."""

    name = "winnow-pulse"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        scheduler.handlers["winnow_pulse"] = self._pulse

    async def _pulse(self, keys: list[str]) -> dict[str, Any]:
        workers = {
            address: (
                str(ws.name), ws.last_seen, tuple(ws.resources), bool(ws.executing),
                versions_of((ws.versions or {}).get("packages", {})),
            )
            for address, ws in self._scheduler.workers.items()
        }  # fmt: skip
        return {"tasks": {key: self._task(key) for key in keys}, "workers": workers}

    def _task(self, key: str) -> tuple[Any, ...]:
        ts = self._scheduler.tasks.get(key)
        if ts is None:
            return ("forgotten",)
        ws = ts.processing_on or next(iter(ts.who_has or ()), None)
        if ws is None:
            return (ts.state,)
        beat = (ws.metrics or {}).get(_METRIC, {}).get(key, 0.0)
        return ts.state, ws.address, ts in ws.executing, beat


class PulseWorkerPlugin(WorkerPlugin):
    """Adds the beats of the running tasks, by key, to what a worker's heartbeat holds."""

    name = "winnow-pulse"

    def setup(self, worker: Worker) -> None:
        worker.metrics[_METRIC] = _beats


def _beats(worker: Worker) -> dict[str, float]:
    with worker.active_threads_lock:
        threads = dict(worker.active_threads)
    return {str(key): last_beat(thread) for thread, key in threads.items()}


def versions_of(packages: Any) -> tuple[str, ...]:
    """What must be the same everywhere: Python's first two numbers, dask, distributed."""
    python = ".".join(str(packages.get("python")).split(".")[:2])
    return python, str(packages.get("dask")), str(packages.get("distributed"))


def ask(client: Client, keys: Iterable[str]) -> Pulse:
    """OSError or TimeoutError if the scheduler does not answer."""
    scheduler: Any = client.scheduler
    said = client.sync(scheduler.winnow_pulse, keys=list(keys), callback_timeout=_ANSWER_TIMEOUT)
    return Pulse(
        {key: TaskPulse(*values) for key, values in said["tasks"].items()},
        {
            address: WorkerPulse(name, seen, tuple(kinds), is_busy, tuple(versions))
            for address, (name, seen, kinds, is_busy, versions) in said["workers"].items()
        },
    )
