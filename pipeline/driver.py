"""Hands out tasks: a bounded window of shards, each stage as soon as its inputs stand.

Downloads of one shard overlap the embedding of another; the only barriers are whole stages.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import tasks
from pipeline.errors import InputError, PlanMismatchError
from pipeline.executors.base import Executor, Failed, Handle
from pipeline.exporting import Exporter, run_export
from pipeline.freshness import SHARD, Due
from pipeline.inspect.damage import find_damage
from pipeline.plan import Node, Plan, merge_of, whole_standing
from pipeline.progress import Reporter
from pipeline.run import ShardIndex
from pipeline.runlog import Log
from pipeline.stage import PictureStage
from pipeline.stages.download import HELD_BACK
from pipeline.storage import full


@dataclass(frozen=True)
class Ticket:
    """A task in flight: what to call it, the stages it does, the shard, and what follows."""

    names: tuple[str, ...]
    shard: int
    then: "Callable[[Ticket, tasks.Done], None] | None" = None


@dataclass
class Driver:
    """One run's scheduling. `parts` holds, by stage and shard, the digests of parts that stand."""

    plan: Plan
    index: ShardIndex
    executor: Executor
    reporter: Reporter
    parts: dict[str, dict[int, str]]
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    worked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tickets: dict[Handle, Ticket] = {}
        self._log = Log(self.plan.run.folder)
        self._lost: set[int] = set()
        self._window = self.plan.job.cluster.window or self.executor.workers + 2

    @property
    def shards(self) -> list[int]:
        """Shards that are not quarantined."""
        return [shard for shard in range(len(self.index)) if shard not in self._lost]

    def run(self) -> Exporter | None:
        """Everything from the first stale part to the export's last shard; None if none is left."""
        self.make(self.plan.nodes)
        if not self.shards:
            return None
        exporter = Exporter.of(self.plan, self.index, self.parts, self.shards)
        self._run_export(exporter)
        return exporter

    def make(self, nodes: Sequence[Node]) -> None:
        """Bring these stages' parts up to date, in the plan's order.

        What they read must stand or be among them.
        """
        single = [node for node in nodes if not node.stage.whole]
        for node in single:
            self._start(node.name, self.parts[node.name])
        self._run_shards(single)
        for node in nodes:
            if node.stage.whole:
                self._run_whole(node)

    def fetch_again(self, rows: Mapping[int, Sequence[int]]) -> None:
        """Fetch rows again, by shard, before `run`, which then follows up what came out otherwise.

        Their shards' download parts must stand.
        """
        name = "download"
        before = {shard: self.parts[name][shard] for shard in rows}
        self.reporter.start(name, sum(map(len, rows.values())))

        def follow(ticket: Ticket, done: tasks.Done) -> None:
            if done.digests[name] == before[ticket.shard]:
                return
            stale = {name}
            for node in self.plan.nodes:
                if stale.intersection((*node.upstream, *node.asks)):
                    stale.add(node.name)
                    self.parts[node.name].pop(ticket.shard, None)

        for shard, places in rows.items():
            digests = self._digests([self.plan.by_name[name]], shard)
            self._submit(
                Ticket((name,), shard, follow), tasks.run_table, name, shard, digests, places
            )
        self._drain()

    def close(self) -> None:
        self._log.close()

    def _start(self, name: str, standing: Mapping[int, Any]) -> None:
        done = sum(self.index.shards[shard][0] for shard in standing)
        self.reporter.start(name, self.index.rows, done)

    # One shard after another, a window of them at a time.

    def _run_shards(self, nodes: Sequence[Node]) -> None:
        waiting = [s for s in self.shards if any(s not in self.parts[n.name] for n in nodes)]
        waiting.reverse()
        active: set[int] = set()
        running: dict[int, set[str]] = {}

        def step(shard: int) -> None:
            for group in self._ready(nodes, shard, running.setdefault(shard, set())):
                running[shard].update(group)
                self._submit_shard(group, shard, lambda ticket, _: step(ticket.shard))
            if shard in self._lost or all(shard in self.parts[n.name] for n in nodes):
                active.discard(shard)
                admit()

        def admit() -> None:
            while waiting and len(active) < self._window:
                shard = waiting.pop()
                active.add(shard)
                step(shard)

        admit()
        self._drain(on_lost=lambda shard: step(shard))

    def _ready(self, nodes: Sequence[Node], shard: int, running: set[str]) -> list[tuple[str, ...]]:
        """Stages of a shard whose inputs stand, picture stages as one group."""
        if shard in self._lost:
            return []
        ready = [
            node
            for node in nodes
            if shard not in self.parts[node.name]
            and node.name not in running
            and all(shard in self.parts[name] for name in (*node.upstream, *node.asks))
        ]
        pictures = tuple(n.name for n in ready if isinstance(n.stage, PictureStage))
        single = [(n.name,) for n in ready if not isinstance(n.stage, PictureStage)]
        return [*single, pictures] if pictures else list(single)

    def _digests(self, nodes: Sequence[Node], shard: int) -> dict[str, str]:
        """Digests of the shard and of the parts that these stages read and ask."""
        names = {name for node in nodes for name in (*node.upstream, *node.asks)}
        own = {name: self.parts[name][shard] for name in sorted(names)}
        return {SHARD: self.index.shards[shard][1], **own}

    def _submit_shard(
        self, names: tuple[str, ...], shard: int, then: Callable[[Ticket, tasks.Done], None]
    ) -> None:
        nodes = [self.plan.by_name[name] for name in names]
        digests = self._digests(nodes, shard)
        ticket = Ticket(names, shard, then)
        if isinstance(nodes[0].stage, PictureStage):
            self._submit(ticket, tasks.run_pictures, names, shard, digests)
        else:
            self._submit(ticket, tasks.run_table, names[0], shard, digests)

    # All shards at once.

    def _run_whole(self, node: Node) -> None:
        # What stood when the run began may have been made anew since, and come out the same.
        due = {shard: self.plan.due(node, self._digests([node], shard)) for shard in self.shards}
        standing = whole_standing(self.plan, node, due, self.index.rows)
        stands = len(standing) == len(due)
        self.parts[node.name] = standing if stands else {}
        self._start(node.name, self.parts[node.name])
        lost = -1
        while not stands and len(self._lost) != lost and due:
            # A shard lost on the way must not weigh in the others' answer: merge again without.
            lost = len(self._lost)
            self.parts[node.name] = {}
            self._merge_and_run(node, due)
            due = {shard: due[shard] for shard in self.shards}

    def _merge_and_run(self, node: Node, due: dict[int, Due]) -> None:
        digests = {shard: self._digests([node], shard) for shard in due}
        for shard in due:
            self._submit(Ticket((), shard), tasks.run_prepare, node.name, shard, digests[shard])
        self._drain()
        due = {shard: due[shard] for shard in self.shards}
        if not due:
            return
        merge = merge_of(self.plan, node, due, self.index.rows)

        def note(ticket: Ticket, done: tasks.Done) -> None:
            merge.digests[-1 - ticket.shard] = done.digests[node.name]

        for share in merge.missing:
            ticket = Ticket((), -1 - share.number, note)
            inputs = merge.due.inputs
            self._submit(ticket, tasks.run_merge, node.name, share, sorted(due), inputs)
        self._drain()
        for shard in due:
            self._submit(
                Ticket((node.name,), shard),
                tasks.run_whole, node.name, shard, digests[shard], merge.digests,
            )  # fmt: skip
        self._drain()

    def _run_export(self, exporter: Exporter) -> None:
        rows = sum(part.stop - part.start for shard in exporter.slices for part in shard)
        standing = exporter.standing()
        if len(standing) < len(exporter.slices):
            exporter.open()
        self.reporter.start("export", rows, sum(sidecar.rows for sidecar in standing.values()))
        for number, slices in enumerate(exporter.slices):
            if number not in standing:
                self._submit(
                    Ticket(("export",), -1 - number),
                    run_export, number, slices, exporter.shard_inputs[number],
                )  # fmt: skip
        self._drain()

    # Tasks and their answers.

    def _submit(self, ticket: Ticket, work: Callable[..., tasks.Done], *args: Any) -> None:
        kinds = {self.plan.by_name[n].stage.resource for n in ticket.names if n != "export"}
        kind = kinds.pop() if kinds else "compute"
        run_url, digest = self.plan.run.folder.url, self.plan.digest
        # Earlier stages first: they are cheap, and downloads wait for them.
        priority = -(self._place(ticket.names) * len(self.index) + max(ticket.shard, 0))
        handle = self.executor.submit(work, run_url, digest, *args, kind=kind, priority=priority)
        self._tickets[handle] = ticket

    def _place(self, names: Sequence[str]) -> int:
        order = list(self.plan.by_name)
        return min((order.index(name) for name in names if name in order), default=len(order))

    def _drain(self, on_lost: Callable[[int], None] | None = None) -> None:
        """Take answers until nothing is in flight."""
        while self._tickets:
            handle, answer = self.executor.next()
            ticket = self._tickets.pop(handle)
            if isinstance(answer, Failed):
                self._fail(ticket, answer.error, answer.trace)
                if on_lost is not None:
                    on_lost(ticket.shard)
            else:
                self._note(ticket, answer)

    def _note(self, ticket: Ticket, done: tasks.Done) -> None:
        for name, digest in done.digests.items():
            if name not in ticket.names:
                continue
            if name not in done.untouched:
                self.worked.add(name)
            if name != "export":
                self.parts[name][ticket.shard] = digest
            own = done.summary.get(name, done.summary)
            total = self.counts.setdefault(name, {})
            for key, value in own.items():
                if isinstance(value, int):
                    total[key] = total.get(key, 0) + value
            note = ", ".join(f"{v:,} {k}" for k, v in total.items() if v and k in SHOWN)
            self.reporter.advance(name, done.rows, note)
        self._log.write(
            event="done", stages=ticket.names, shard=ticket.shard, rows=done.rows,
            start=round(done.start, 3), end=round(done.end, 3),
        )  # fmt: skip
        if ticket.then is not None:
            ticket.then(ticket, done)

    def _fail(self, ticket: Ticket, error: BaseException, trace: Any) -> None:
        """Quarantine the shard; the job goes on. What concerns every shard ends the run."""
        every_shard = ticket.shard < 0
        stopped = full(error, self.plan.run.folder) or self.executor.fault(error, every_shard)
        if stopped is not None:
            raise stopped from error
        if isinstance(error, InputError | PlanMismatchError) or every_shard:
            raise error
        text = f"{type(error).__name__}: {error}"
        if (damage := find_damage(self.plan.run, [ticket.shard])) is not None:
            text = f"{damage} ({text})"
        stage = "+".join(ticket.names) or "prepare"
        self._lost.add(ticket.shard)
        self.quarantined.append({"stage": stage, "shard": ticket.shard, "error": text})
        lines = traceback.format_exception(type(error), error, trace)
        self._log.write(event="failed", stages=ticket.names, shard=ticket.shard, error=lines)
        self.reporter.say(f"shard {ticket.shard:05d} is quarantined at {stage}: {text}")


SHOWN = (
    "success", "failed", "skipped", "measured", "reused", "kept", "dropped", "in groups", HELD_BACK,
)  # fmt: skip
"""Counts of a stage's summary that are worth a place beside its bar."""
