"""Submits tasks to the executor and processes their results: what is done or quarantined."""

import contextlib
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.engine import tasks
from pipeline.engine.damage import find_damage
from pipeline.engine.executors.base import Executor, Failed, Handle, Kind
from pipeline.engine.marks import Mark, left_in, run_marked
from pipeline.engine.plan import Plan
from pipeline.engine.product import Keys, Status, what_is_left
from pipeline.engine.provenance import add_arithmetic
from pipeline.engine.remedies import for_memory
from pipeline.measure.download import HELD_BACK
from pipeline.table.disk import full
from pipeline.table.runlog import Log
from pipeline.table.sums import note_records, note_sums
from pipeline.words.doing import waiting
from pipeline.words.errors import (
    GOES_ON,
    DiedError,
    InputError,
    PlanMismatchError,
    StalledError,
    StoppedError,
)
from pipeline.words.memory import is_out_of_memory
from pipeline.words.progress import Reporter

SHOWN = (
    "success", "failed", "skipped", "measured", "killed", "reused", "kept", "dropped", "in groups",
    "checked", "aligned", "unchecked",
    HELD_BACK,
)  # fmt: skip
"""Counts of a task's summary that are shown beside its progress bar."""

MOST_ALONE = 5
"""Times that a task is submitted to run by itself, if the worker dies each time."""


@dataclass(frozen=True)
class PendingTask:
    """A submitted task: the products that it works for, the key, and a callback for the result.

    A task without a key works on all keys at once.
    """

    names: tuple[str, ...]
    key: int | None
    step: str = ""
    """The name of its step, if it does not make the products' part itself but prepares it."""
    then: "Callable[[PendingTask, tasks.TimedResult], None] | None" = None
    rows: int | None = None
    """The rows that it works on, if these are not all of the shard."""
    is_risky: bool = False
    """Whether its rows have ended a process before, so that it is run by itself at once."""

    def describe(self, one: str) -> str:
        """For messages; `one` is what a key counts."""
        where = f", {one} {self.key:05d}" if self.key is not None else ""
        return f"{'+'.join(self.names)}{' ' + self.step if self.step else ''}{where}"

    @property
    def mark(self) -> Mark:
        return Mark(self.names, self.step, self.key)


@dataclass(frozen=True)
class _Call:
    """What a pending task runs, so that it can be run again by itself."""

    task: PendingTask
    work: Callable[..., tasks.TimedResult]
    args: tuple[Any, ...]
    kind: Kind
    alone: int = 0
    """How many times it was submitted to run in a process of its own."""
    hung: StalledError | None = None
    """The error if it is run by itself because it stalled twice."""


@dataclass
class Dispatcher:
    """Tasks of one run, from their submission to the processing of their results.

    The digest of what a task made is added to `statuses`, by product and key. The executor is
    opened with the first task, so a run with nothing to do starts no process.
    """

    plan: Plan
    reporter: Reporter
    statuses: dict[str, Status]
    opening: Callable[[bool], AbstractContextManager[Executor]]
    keys: Mapping[str, Keys]
    """The kind of each product's keys, by product name, in order. Tasks of earlier products have
    priority: they are cheap, and others wait for them."""
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    remade: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._pending: dict[Handle, _Call] = {}
        self._suspects: deque[_Call] = deque()
        """Tasks whose process died. One after another is run by itself, so that none of them can
        be ended by another one's fault again."""
        self._counts: dict[str, dict[str, int]] = {}
        self._stack = contextlib.ExitStack()
        self._deadly: set[tuple[str, ...]] = set()
        """Products of whose tasks one died of more than a few rows. All later ones are run by
        themselves at once: each would end a worker four times before."""
        self._marks = left_in(self.plan.run.folder)
        """Tasks that an earlier run's own process was at when it died."""
        self._executor: Executor | None = None
        self._light = False
        self.arithmetic: list[dict[str, Any]] = []  # as `provenance.json` has it
        self._log = Log(self.plan.run.folder)
        self.lost: dict[Keys, set[int]] = {"shards": set(), "export shards": set(), "one": set()}
        """Keys that are quarantined."""

    @property
    def executor(self) -> Executor:
        if self._executor is None:
            with waiting():
                self._executor = self._stack.enter_context(self.opening(self._light))
            if self._executor.dashboard is not None:
                self.reporter.say(f"the tasks can be watched at {self._executor.dashboard}")
        return self._executor

    def expect(self, light: bool) -> None:
        """Say whether the next tasks are light. An executor opened for light tasks is replaced
        before other tasks; any open executor is used for light tasks."""
        if self._light and not light:
            self.release()
        if self._executor is None:
            self._light = light

    def release(self) -> None:
        """End the executor's processes; the next task starts new ones."""
        self._executor = None
        self._stack.close()

    def close(self) -> None:
        self.release()
        self._log.close()

    def submit(
        self,
        task: PendingTask,
        work: Callable[..., tasks.TimedResult],
        *args: Any,
        kind: Kind = "compute",
    ) -> None:
        """Submit `work(run, plan digest, *args)` as this task. StoppedError, see `check_lock`."""
        call = _Call(task, work, args, kind, int(task.is_risky or task.names in self._deadly))
        left = next((mark for mark in self._marks if mark.is_of(task.mark)), None)
        if left is None:
            self._submit(call)
            return
        why = "was running when the last run died"
        if left.has_hung:
            why = f"did not get on for {self.plan.job.cluster.stall_timeout:g} s in the last run"
            call = replace(call, hung=StalledError(why))
        self._suspect(call, why)

    def _submit(self, call: _Call) -> None:
        self.plan.run.check_lock()
        task, work, args = call.task, call.work, call.args
        if call.alone:
            stall = self.plan.job.cluster.stall_timeout / 2 if call.hung is not None else None
            work, args = tasks.run_suspect, (stall, work, *args)
        if self.executor.is_own_process:
            mark = replace(task.mark, has_hung=call.hung is not None)
            work, args = run_marked, (mark, self._name(task), work, *args)
        place = min(map([*self.keys].index, task.names))
        priority = -(place * 1_000_000 + (task.key or 0))
        handle = self.executor.submit(
            work, self.plan.run.folder.url, self.plan.digest, *args,
            kind=call.kind, priority=priority, name=self._name(task),
        )  # fmt: skip
        self._pending[handle] = call

    def _name(self, task: PendingTask) -> str:
        return task.describe(self.keys[task.names[0]].removesuffix("s"))

    def drain(self, on_lost: Callable[[PendingTask], None] | None = None) -> None:
        """Process results until no task is pending."""
        while self._pending or self._suspects:
            if self._suspects and not any(call.alone for call in self._pending.values()):
                self._submit(self._suspects.popleft())
            with waiting():
                handle, answer = self.executor.next()
            call = self._pending.pop(handle)
            if not isinstance(answer, Failed):
                self._note(call.task, answer)
            elif not self._is_suspect(call, answer.error):
                is_of_rows = tasks.measures_rows(call.work)
                if call.hung is not None and is_of_rows and isinstance(answer.error, DiedError):
                    answer = Failed(call.hung, None)  # no row of it was found that does it
                self._fail(call.task, answer)
                if on_lost is not None:
                    on_lost(call.task)

    def _note(self, task: PendingTask, done: tasks.TimedResult) -> None:
        for digest, sums in done.sums.items():
            note_sums(digest, sums)
        note_records(done.records)
        rows = done.rows if task.rows is None else task.rows
        for name, digest in done.digests.items():
            if name not in task.names or task.key is None or not done.finished:
                continue
            if name not in done.untouched:
                self.remade.add(name)
            self.statuses[name].digests[task.key] = digest
            own = done.summary.get(name, done.summary)
            total = self._counts.setdefault(name, {})
            for key, value in own.items():
                if isinstance(value, int):
                    total[key] = total.get(key, 0) + value
            note = ", ".join(f"{v:,} {k}" for k, v in total.items() if v and k in SHOWN)
            self.reporter.advance(name, rows, note)
            for line in add_arithmetic(self.arithmetic, self.plan, name, own):
                self.reporter.say(line)
            if killed := own.get("killed"):
                what = "1 row ends" if killed == 1 else f"{killed} rows end"
                place = f"{name}, shard {task.key:05d}"
                self.reporter.say(f"{place}: {what} the process also alone (`worker_killed`)")
        self._log.write(
            event="done", stages=task.names if done.finished else (), step=task.step or None,
            shard=task.key, rows=rows,
            start=round(done.start, 3), end=round(done.end, 3),
        )  # fmt: skip
        if task.then is not None:
            task.then(task, done)

    def _is_suspect(self, call: _Call, error: BaseException) -> bool:
        """Whether the task is run again by itself. It has no part in a later death of its worker,
        but on a small cluster it may be queued on one again that another task ends."""
        why, hung = "", None
        if self.executor.has_died(error):
            why = "was on a worker that died" if call.alone < MOST_ALONE else ""
        elif call.alone:
            pass
        elif is_out_of_memory(error):
            why = f"ran out of memory ({error})"
        elif isinstance(error, StalledError) and tasks.measures_rows(call.work):
            why, hung = "did not get on twice", error
        if not why:
            return False
        self._suspect(replace(call, hung=call.hung or hung), why)
        return True

    def _suspect(self, call: _Call, why: str) -> None:
        """Have a task run by itself, when its turn comes."""
        if not call.alone:
            self.reporter.say(f"{self._name(call.task)} {why}; it is run again by itself")
        self._suspects.append(replace(call, alone=call.alone + 1))
        self._log.write(event="suspect", stages=call.task.names, shard=call.task.key)

    def left(self) -> str:
        """What is not up to date yet, in words."""
        return what_is_left(self.keys, self.statuses)

    def forget_marks(self) -> None:
        """At the end of a run: of what an earlier one died, without tasks that died again."""
        keys = set().union(*self.lost.values())
        for mark in self._marks:
            if mark.key not in keys:
                mark.remove(self.plan.run.folder)

    def _fail(self, task: PendingTask, answer: Failed) -> None:
        """Quarantine the task's key and go on; raise an error that concerns every key."""
        error = answer.error
        stopped: StoppedError | None = full(error, self.plan.run.folder.local_path)
        stopped = stopped or self.executor.fault(error, task.key is None)
        if stopped is not None:
            raise stopped from error
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, DiedError):
            text = str(error)
            if error.of_memory:
                text += f"; {for_memory(task.names, self.plan.job.cluster)}"
            self._deadly.add(task.names)
            if task.key is None:
                raise StoppedError(f"{self._name(task)} {text}; {GOES_ON}") from error
        if isinstance(error, InputError | PlanMismatchError) or task.key is None:
            raise error
        keys = self.keys[task.names[0]]
        if keys == "shards" and (damage := find_damage(self.plan.run, [task.key])) is not None:
            text = f"{damage} ({text})"
        stage = "+".join(task.names)
        self.lost[keys].add(task.key)
        self.quarantined.append({"stage": stage, "shard": task.key, "error": text})
        lines = traceback.format_exception(type(error), error, answer.trace)
        self._log.write(event="failed", stages=task.names, shard=task.key, error=lines)
        one, step = keys.removesuffix("s"), f" {task.step}" if task.step else ""
        self.reporter.say(f"{one} {task.key:05d} is quarantined at {stage}{step}: {text}")
