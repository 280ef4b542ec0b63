"""Watches the tasks on Dask while the driver waits for one to end.

A task that does not get on is taken back, once; a worker that says nothing is replaced; whoever
waits for a worker that does not come gives up; and while nothing happens, the user is told why.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Client

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors.base import Kind
from pipeline.engine.executors.pulse import Pulse, ask
from pipeline.words.changes import Changes
from pipeline.words.errors import GOES_ON, ClusterLostError
from pipeline.words.quiet import AGAIN, QUIET

EVERY = 5.0
"""Seconds between two looks at the cluster."""
RESTART_TIMEOUT = 30.0
"""Seconds that a nanny gets to end its worker."""
MOST_RESUMED = 2
"""How often a worker that is paused is started anew."""
_CANCEL_TIMEOUT = 2.0


@dataclass(frozen=True)
class Waiting:
    """A submitted task that has not ended: its kind and its name for messages."""

    kind: Kind
    name: str


class Watch:
    """The driver's looks at a cluster, at most one each few seconds.

    Its time stands still while the driver does: after Ctrl-Z, or a laptop's sleep, neither tasks
    nor workers have had the time to show that they are well.
    """

    def __init__(self, client: Client, config: ClusterConfig, say: Callable[[str], None]) -> None:
        self.kinds: set[str] = set()
        """The kinds of tasks that workers, also ones that have left, declared as resources."""
        self.workers = 0
        """How many workers there are."""
        self._client, self._say = client, say
        self._stall_timeout, self._worker_timeout = config.stall_timeout, config.worker_timeout
        limits = [limit for limit in (config.stall_timeout, config.worker_timeout) if limit]
        self._every = min(EVERY, *(limit / 5 for limit in limits))
        self._looked, self._now = float("-inf"), 0.0
        self._moved = self._answered = 0.0
        self._told = float("-inf")
        self._tasks, self._loads = Changes(), Changes()
        self._heard, self._missing = Changes(), Changes()
        self._stalls: Counter[str] = Counter()
        self._pauses, self._resumed = Changes(), Counter[str]()

    @property
    def has_kinds(self) -> bool:
        """Whether both kinds of tasks have workers of their own."""
        return {"net", "compute"} <= self.kinds

    def note_end(self, key: str) -> None:
        """A task has ended."""
        self._moved = self._now
        self._stalls.pop(key, None)

    def look(self, waiting: Mapping[str, Waiting], give_up: Callable[[str, str], None]) -> None:
        """Look, if it is time to, and do what is needed. `give_up(key, why)` is called with a task
        that made no progress for the second time, and cancels it.

        ClusterLostError if the scheduler does not answer, or no worker comes for some of the tasks,
        within `cluster.worker_timeout`.
        """
        elapsed = time.monotonic() - self._looked
        if elapsed < self._every:
            return
        self._now += min(elapsed, 2 * self._every)
        try:
            pulse = ask(self._client)
        except (OSError, TimeoutError) as error:
            self._unanswered(error)
            return
        finally:
            self._looked = time.monotonic()
        self._answered = self._now
        self.workers = len(pulse.workers)
        self.kinds.update(kind for worker in pulse.workers.values() for kind in worker.kinds)
        workers = pulse.workers.items()
        moved = self._tasks.note(self._now, pulse.running)
        loads = {at: (worker.is_busy, worker.tasks) for at, worker in workers if worker.tasks}
        if self._loads.note(self._now, loads) or moved:
            self._moved = self._now
        self._heard.note(self._now, {at: worker.seen for at, worker in workers})
        self._give_up_waiting(waiting, pulse)
        self._take_back(waiting, pulse, give_up)
        if waiting and self._now - self._moved >= QUIET and self._now - self._told >= AGAIN:
            self._told = self._now
            self._say(self._what_is_waited_for(waiting, pulse))

    def wait_for_a_worker(self, address: str, check: Callable[[], None] = lambda: None) -> None:
        """Return once there is a worker; ClusterLostError after `cluster.worker_timeout`.

        `check` is called between two looks; what it raises passes through.
        """
        self._look_for_workers()
        if self.workers:
            return
        limit = self._worker_timeout
        self._say(
            f"the scheduler {address} has no workers yet; waiting for one, at most {limit:g} s"
        )
        end = time.monotonic() + limit
        while not self.workers:
            if time.monotonic() > end:
                raise ClusterLostError(
                    f"no worker has joined the scheduler {address} in {limit:g} s "
                    f"(cluster.worker_timeout); start one, and {GOES_ON}"
                )
            time.sleep(min(1.0, self._every))
            check()
            self._look_for_workers()

    def _look_for_workers(self) -> None:
        self.look({}, lambda key, why: None)

    def _unanswered(self, error: BaseException) -> None:
        silent = self._now - self._answered
        if silent >= self._worker_timeout:
            raise ClusterLostError(
                f"the scheduler has not answered for {silent:.0f} s (cluster.worker_timeout); "
                f"start it again, and {GOES_ON}"
            ) from error
        if silent >= QUIET and self._now - self._told >= AGAIN:
            self._told = self._now
            self._say(
                f"the scheduler has not answered for {silent:.0f} s; "
                f"the run ends after {self._worker_timeout:g} s (cluster.worker_timeout)"
            )

    def _without_worker(self, waiting: Mapping[str, Waiting], pulse: Pulse) -> Counter[str]:
        """How many tasks wait for a worker of a kind that is not there; "" is any kind."""
        useful = [worker for worker in pulse.workers.values() if worker.is_useful]
        there = {kind for worker in useful for kind in worker.kinds}
        if not self.has_kinds:
            return Counter() if useful else Counter({"": len(waiting)})
        return Counter(task.kind for task in waiting.values() if task.kind not in there)

    def _give_up_waiting(self, waiting: Mapping[str, Waiting], pulse: Pulse) -> None:
        missing = self._without_worker(waiting, pulse) if waiting else Counter()
        self._missing.note(self._now, dict.fromkeys(missing))
        if missing:
            self._resume(pulse)
        for kind, tasks in missing.items():
            if self._now - self._missing.since(kind) >= self._worker_timeout:
                limit = f"for {self._worker_timeout:g} s (cluster.worker_timeout)"
                there, step = f"no worker{_for(kind)} has been there {limit}", "start one"
                if pulse.paused(kind):
                    there = f"the workers{_for(kind)} are short of memory and have been paused"
                    there, step = f"{there} {limit}", "give them more (`--memory-limit`)"
                raise ClusterLostError(f"{there}, and {_tasks(tasks)}; {step}, and {GOES_ON}")

    def _resume(self, pulse: Pulse) -> None:
        """Have workers that are short of memory started anew, where tasks wait for one: what it is
        filled with is no task's any more. Twice, as a limit that is too low fills at once."""
        paused = pulse.paused()
        self._pauses.note(self._now, dict.fromkeys(paused))
        for address, worker in paused.items():
            quiet = self._now - self._pauses.since(address)
            if quiet >= self._worker_timeout / 4 and self._resumed[worker.name] < MOST_RESUMED:
                self._resumed[worker.name] += 1
                self._say(
                    f"the worker {worker.name} is paused, as it is short of memory, and has run "
                    f"nothing for {quiet:.0f} s; it is started anew"
                )
                self._replace(address)

    def _take_back(
        self,
        waiting: Mapping[str, Waiting],
        pulse: Pulse,
        give_up: Callable[[str, str], None],
    ) -> None:
        for address, worker in pulse.workers.items():
            if not worker.tasks:
                continue
            mine = [
                key for key, t in pulse.running.items() if t.worker == address and key in waiting
            ]
            silent = self._now - self._heard.since(address)
            stalled = [key for key in mine if self._is_stalled(self._tasks.since(key))]
            why = f"no progress for {self._stall_timeout:g} s on the worker {worker.name}"
            if silent >= self._worker_timeout:
                stalled = mine
                why = f"the worker {worker.name} has sent nothing for {silent:.0f} s"
            elif not stalled and (
                worker.is_busy or not self._is_stalled(self._loads.since(address))
            ):
                continue  # one that is not busy though it has tasks is short of memory for good
            for key in stalled:
                self._stalls[key] += 1
                if self._stalls[key] < 2:
                    self._say(f"{waiting[key].name} is taken back and run again: {why}")
                else:
                    give_up(key, f"{why}, and so it was before")
            if not stalled:
                self._say(f"the tasks of a worker ({worker.tasks}) go to others: {why}")
            self._wait_until_cancelled([key for key in stalled if key not in waiting])
            self._replace(address)
            self._moved = self._now

    def _is_stalled(self, since: float) -> bool:
        return 0 < self._stall_timeout <= self._now - since

    def _wait_until_cancelled(self, keys: list[str]) -> None:
        """Otherwise the scheduler would give these tasks to the next worker."""
        end = time.monotonic() + _CANCEL_TIMEOUT
        with contextlib.suppress(OSError, TimeoutError):
            while time.monotonic() < end and any(key in ask(self._client).running for key in keys):
                time.sleep(0.02)

    def _replace(self, address: str) -> None:
        """End a worker: its nanny starts a new one, and the scheduler gives its tasks to others."""
        scheduler: Any = self._client.scheduler
        try:
            self._client.sync(
                scheduler.restart_workers, workers=[address],
                timeout=RESTART_TIMEOUT, wait_for_workers=False, on_error="return",
                stimulus_id=f"winnow-takes-back-{time.time()}",
                callback_timeout=2 * RESTART_TIMEOUT,
            )  # fmt: skip
        except (OSError, TimeoutError):
            self._say(f"the worker at {address} could not be ended; what it does may come late")

    def _what_is_waited_for(self, waiting: Mapping[str, Waiting], pulse: Pulse) -> str:
        quiet = self._now - self._moved
        for kind, tasks in self._without_worker(waiting, pulse).items():
            left = self._worker_timeout - (self._now - self._missing.since(kind))
            there, but = f"no worker{_for(kind)} is there", "one joins"
            if pulse.paused(kind):
                there = f"the workers{_for(kind)} are paused, as they are short of memory"
                but = "one goes on"
            return (
                f"{there}, and {_tasks(tasks)}; the run ends in {left:.0f} s unless {but} "
                "(cluster.worker_timeout)"
            )
        for address, worker in pulse.workers.items():
            silent = self._now - self._heard.since(address)
            if worker.tasks and silent >= QUIET / 2:
                return (
                    f"the worker {worker.name} has sent nothing for {silent:.0f} s; its tasks "
                    f"({worker.tasks}) go to others after {self._worker_timeout:g} s "
                    "(cluster.worker_timeout)"
                )
        key = min(set(pulse.running).intersection(waiting), key=self._tasks.since, default=None)
        name = waiting[key if key is not None else next(iter(waiting))].name
        place = f" on {pulse.workers[pulse.running[key].worker].name}" if key is not None else ""
        more = f", and for {len(waiting) - 1} more" if len(waiting) > 1 else ""
        limit = self._stall_timeout
        then = f"; a task is taken back after {limit:g} s (cluster.stall_timeout)" if limit else ""
        return f"no progress for {quiet:.0f} s: waiting for {name}{place}{more}{then}"


def _for(kind: str) -> str:
    return f" for {kind} tasks (`--resources {kind}=1`)" if kind else ""


def _tasks(count: int) -> str:
    return f"{count} tasks wait for one" if count > 1 else "a task waits for one"
