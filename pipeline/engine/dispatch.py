"""Hands tasks to the executor and takes their answers: what is done, and what is quarantined."""

import contextlib
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from pipeline.engine import tasks
from pipeline.engine.damage import find_damage
from pipeline.engine.executors.base import Executor, Failed, Handle, Kind
from pipeline.engine.plan import Plan
from pipeline.engine.product import Keys, Status
from pipeline.measure.download import HELD_BACK
from pipeline.table.runlog import Log
from pipeline.table.storage import full
from pipeline.words.errors import InputError, PlanMismatchError, StoppedError
from pipeline.words.progress import Reporter

SHOWN = (
    "success", "failed", "skipped", "measured", "reused", "kept", "dropped", "in groups", HELD_BACK,
)  # fmt: skip
"""Counts of a task's summary that are worth a place beside its bar."""


@dataclass(frozen=True)
class Ticket:
    """A task in flight: the products that it is for, which key of theirs, and what follows.

    A task without a key works on all keys at once.
    """

    names: tuple[str, ...]
    key: int | None
    step: str = ""
    """What it does for them, where it does not make their part."""
    then: "Callable[[Ticket, tasks.Done], None] | None" = None


@dataclass
class Dispatcher:
    """Tasks of one run, from their submission to what is noted of their answers.

    The digest of what a task made is added to `statuses`, by product and key. The executor is
    opened with the first task, so a run with nothing to do starts no process.
    """

    plan: Plan
    reporter: Reporter
    statuses: dict[str, Status]
    opening: Callable[[bool], AbstractContextManager[Executor]]
    keys: Mapping[str, Keys]
    """What the products' keys are, by name, in order. Tasks of earlier products go first: they are
    cheap, and others wait for them."""
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    worked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tickets: dict[Handle, Ticket] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._stack = contextlib.ExitStack()
        self._executor: Executor | None = None
        self._light = False
        self._log = Log(self.plan.run.folder)
        self.lost: dict[Keys, set[int]] = {"shards": set(), "export shards": set(), "one": set()}
        """Keys that are quarantined."""

    @property
    def executor(self) -> Executor:
        if self._executor is None:
            self._executor = self._stack.enter_context(self.opening(self._light))
        return self._executor

    def expect(self, light: bool) -> None:
        """Say of the next tasks whether they are light: an executor for light work does no other,
        but one that is there does light work too."""
        if self._light and not light:
            self.release()
        if self._executor is None:
            self._light = light

    def release(self) -> None:
        """End the executor's processes; another task would start them anew."""
        self._executor = None
        self._stack.close()

    def close(self) -> None:
        self.release()
        self._log.close()

    def submit(
        self, ticket: Ticket, work: Callable[..., tasks.Done], *args: Any, kind: Kind = "compute"
    ) -> None:
        """Let `work(run, plan digest, *args)` be done for a ticket."""
        place = min(map([*self.keys].index, ticket.names))
        priority = -(place * 1_000_000 + (ticket.key or 0))
        handle = self.executor.submit(
            work, self.plan.run.folder.url, self.plan.digest, *args, kind=kind, priority=priority
        )
        self._tickets[handle] = ticket

    def drain(self, on_lost: Callable[[Ticket], None] | None = None) -> None:
        """Take answers until nothing is in flight."""
        while self._tickets:
            handle, answer = self.executor.next()
            ticket = self._tickets.pop(handle)
            if isinstance(answer, Failed):
                self._fail(ticket, answer)
                if on_lost is not None:
                    on_lost(ticket)
            else:
                self._note(ticket, answer)

    def _note(self, ticket: Ticket, done: tasks.Done) -> None:
        for name, digest in done.digests.items():
            if name not in ticket.names or ticket.key is None or ticket.step:
                continue
            if name not in done.untouched:
                self.worked.add(name)
            self.statuses[name].digests[ticket.key] = digest
            own = done.summary.get(name, done.summary)
            total = self._counts.setdefault(name, {})
            for key, value in own.items():
                if isinstance(value, int):
                    total[key] = total.get(key, 0) + value
            note = ", ".join(f"{v:,} {k}" for k, v in total.items() if v and k in SHOWN)
            self.reporter.advance(name, done.rows, note)
        self._log.write(
            event="done", stages=() if ticket.step else ticket.names, step=ticket.step or None,
            shard=ticket.key, rows=done.rows,
            start=round(done.start, 3), end=round(done.end, 3),
        )  # fmt: skip
        if ticket.then is not None:
            ticket.then(ticket, done)

    def _fail(self, ticket: Ticket, answer: Failed) -> None:
        """Quarantine the key; the job goes on. What concerns every key ends the run."""
        error = answer.error
        stopped: StoppedError | None = full(error, self.plan.run.folder)
        stopped = stopped or self.executor.fault(error, ticket.key is None)
        if stopped is not None:
            raise stopped from error
        if isinstance(error, InputError | PlanMismatchError) or ticket.key is None:
            raise error
        text = f"{type(error).__name__}: {error}"
        keys = self.keys[ticket.names[0]]
        if keys == "shards" and (damage := find_damage(self.plan.run, [ticket.key])) is not None:
            text = f"{damage} ({text})"
        stage = ticket.step or "+".join(ticket.names)
        self.lost[keys].add(ticket.key)
        self.quarantined.append({"stage": stage, "shard": ticket.key, "error": text})
        lines = traceback.format_exception(type(error), error, answer.trace)
        self._log.write(event="failed", stages=ticket.names, shard=ticket.key, error=lines)
        one = keys.removesuffix("s")
        self.reporter.say(f"{one} {ticket.key:05d} is quarantined at {stage}: {text}")
