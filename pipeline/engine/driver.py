"""Brings products up to date: a bounded window of shards, each stage once its inputs are made.

Downloads of one shard overlap the embedding of another; the only barriers are whole stages.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import groupby
from typing import Any

from pipeline.engine import tasks
from pipeline.engine.dispatch import Dispatcher, PendingTask
from pipeline.engine.executors.base import Executor
from pipeline.engine.merging import tell_prepared
from pipeline.engine.plan import SHARD_FILE, Node, Plan, current_whole, merge_of
from pipeline.engine.product import Product, Status
from pipeline.measure.stage import PictureStage
from pipeline.table.freshness import INGEST, Expected
from pipeline.table.run import ShardIndex
from pipeline.table.sums import to_tell
from pipeline.words.doing import doing
from pipeline.words.progress import Reporter

LIGHT_ROWS = 5_000_000
"""Rows up to which a light stage over all shards is done sooner by one process than by workers
that have to be started first, and in little memory."""


class Driver:
    """The scheduling of one run; implements `Work`, with which products are made."""

    def __init__(
        self,
        plan: Plan,
        products: Sequence[Product],
        reporter: Reporter,
        opening: Callable[[bool], AbstractContextManager[Executor]],
        statuses: dict[str, Status] | None = None,
    ) -> None:
        """`statuses` holds those of products that come before the ones in `products`."""
        self.plan, self.reporter = plan, reporter
        self.provenance: dict[str, Any] = {}
        self.statuses: dict[str, Status] = statuses if statuses is not None else {}
        self.again: Mapping[str, Mapping[int, Sequence[int]]] = {}
        """Rows to measure again though their parts are up to date, by stage and shard."""
        keys = {product.name: product.keys for product in products}
        self.tasks = Dispatcher(plan, reporter, self.statuses, opening, keys)

    @property
    def remade(self) -> set[str]:
        """Names of the products of which something was made in this run."""
        return self.tasks.remade

    @property
    def quarantined(self) -> list[dict[str, Any]]:
        return self.tasks.quarantined

    @cached_property
    def index(self) -> ShardIndex:
        """The index of the shards, which must have been dealt."""
        index = self.plan.run.index
        assert index is not None
        return index

    @property
    def shards(self) -> list[int]:
        """Shards that are not quarantined."""
        return [shard for shard in range(len(self.index)) if shard not in self.tasks.lost["shards"]]

    def make(self, products: Sequence[Product]) -> None:
        """Bring these products up to date, in order."""
        for by_shard, group in groupby(products, _is_by_shard):
            products = list(group)
            if by_shard:
                self.run_shards([product for product in products if isinstance(product, Node)])
                continue
            for product in products:
                self._make(product)

    def close(self) -> None:
        self.tasks.close()

    def _make(self, product: Product) -> None:
        name = product.name
        self._update_status(product)
        if product.keys == "one":
            # No task follows, and what is made in this process needs the workers' cores and memory.
            self.tasks.release()
        with doing(name, helped=True):
            self.statuses[name] = product.make(self)

    def _update_status(self, product: Product) -> None:
        """Find what is up to date, unless nothing has changed since that was last looked at."""
        if self.remade or product.name not in self.statuses:
            with self.plan.run.folder.hold(), doing(f"the files of {product.name}", helped=True):
                self.statuses[product.name] = product.status(self.plan, self.statuses)

    def make_parts(self, node: Node) -> Status:
        if node.stage.whole:
            self._run_whole(node)
        else:
            self.run_shards([node])
        return self.statuses[node.name]

    def run_keys(
        self, product: Product, calls: Mapping[int, tuple[Any, ...]], rows: int, done: int
    ) -> None:
        """Run one task for each key that has a call (a function of `tasks`, its arguments) and
        wait; see `Work`."""
        self.reporter.start(product.name, rows, done)
        if calls:
            self.tasks.expect(light=False)
        for key, (work, *args) in calls.items():
            self.tasks.submit(PendingTask((product.name,), key), work, *args)
        self.tasks.drain()

    def fetch_again(self, rows: Mapping[int, Sequence[int]]) -> None:
        """Fetch rows again, by shard. Later parts of shards with changed results count as stale.

        Their shards' download parts must be up to date.
        """
        name = "download"
        node = self.plan.by_name[name]
        before = {shard: self.statuses[name].digests[shard] for shard in rows}
        self.reporter.start(name, sum(map(len, rows.values())))

        def follow(task: PendingTask, done: tasks.TimedResult) -> None:
            assert task.key is not None
            if done.digests[name] != before[task.key]:
                self._look_again_after(name, task.key)

        self.tasks.expect(light=False)
        for shard, places in rows.items():
            digests = self._digests([node], shard)
            task = PendingTask((name,), shard, then=follow, rows=len(places))
            self._submit(task, tasks.run_table, name, shard, digests, {name: places})
        self.tasks.drain()

    def _look_again_after(self, name: str, shard: int) -> None:
        """Have the parts of a shard that depend on this stage's looked at again, and made if they
        are not up to date."""
        stale = {name}
        for after in self.plan.nodes:
            if stale.intersection((*after.upstream, *after.mask_upstream)):
                stale.add(after.name)
                self.statuses[after.name].digests.pop(shard, None)

    def _start(self, node: Node, current: bool) -> None:
        done = sum(self.index.shards[shard][0] for shard in self.statuses[node.name].digests)
        self.reporter.start(node.name, self.index.rows, done)
        if not current and (notice := node.stage.notice()) is not None:
            self.reporter.say(notice)

    def _submit(
        self, task: PendingTask, work: Callable[..., tasks.TimedResult], *args: Any
    ) -> None:
        (kind,) = {self.plan.by_name[name].stage.resource for name in task.names}
        self.tasks.submit(task, work, *args, kind=kind)

    # Stages that work on one shard: a window of shards at a time.

    def run_shards(self, nodes: Sequence[Node]) -> None:
        """Bring these stages' parts up to date; stages that they read must be so or among them."""
        for node in nodes:
            self._update_status(node)
            for shard in self.again.get(node.name, ()):
                self.statuses[node.name].digests.pop(shard, None)
                self._look_again_after(node.name, shard)
        for node in nodes:
            self._start(node, self.statuses[node.name].current)
        parts = {name: status.digests for name, status in self.statuses.items()}
        waiting = [s for s in self.shards if any(s not in parts[n.name] for n in nodes)]
        waiting.reverse()
        if not waiting:
            return
        self.tasks.expect(light=False)
        active: set[int] = set()
        running: dict[int, set[str]] = {}

        def step(shard: int) -> None:
            for group in self._ready(nodes, shard, running.setdefault(shard, set())):
                running[shard].update(group)
                self._submit_shard(group, shard, lambda task, _: step(shard))
            lost = shard in self.tasks.lost["shards"]
            if lost or all(shard in parts[node.name] for node in nodes):
                active.discard(shard)
                admit()

        def admit() -> None:
            # Asked each time, since workers may have joined.
            window = self.plan.job.cluster.window or self.tasks.executor.workers + 2
            while waiting and len(active) < window:
                shard = waiting.pop()
                active.add(shard)
                step(shard)

        admit()
        self.tasks.drain(on_lost=lambda task: step(task.key or 0))

    def _ready(self, nodes: Sequence[Node], shard: int, running: set[str]) -> list[tuple[str, ...]]:
        """Stages of a shard whose inputs are up to date, picture stages as one group."""
        if shard in self.tasks.lost["shards"]:
            return []
        ready = [
            node
            for node in nodes
            if shard not in self.statuses[node.name].digests
            and node.name not in running
            and all(
                shard in self.statuses[name].digests
                for name in (*node.upstream, *node.mask_upstream)
            )
        ]
        pictures = tuple(n.name for n in ready if isinstance(n.stage, PictureStage))
        single = [(n.name,) for n in ready if not isinstance(n.stage, PictureStage)]
        return [*single, pictures] if pictures else list(single)

    def _digests(self, nodes: Sequence[Node], shard: int) -> dict[str, str]:
        """Digests of the shard, and of the parts that these stages and their masks read."""
        names = {name for node in nodes for name in (*node.upstream, *node.mask_upstream)}
        own = {name: self.statuses[name].digests[shard] for name in sorted(names)}
        file = {SHARD_FILE: self.index.files[shard][1]} if self.index.files else {}
        return {INGEST: self.index.shards[shard][1], **to_tell(own), **file}

    def _submit_shard(
        self,
        names: tuple[str, ...],
        shard: int,
        then: Callable[[PendingTask, tasks.TimedResult], None],
    ) -> None:
        nodes = [self.plan.by_name[name] for name in names]
        digests = self._digests(nodes, shard)
        again = {n: self.again[n][shard] for n in names if shard in self.again.get(n, ())}
        task = PendingTask(names, shard, then=then, is_risky=bool(again))
        if isinstance(nodes[0].stage, PictureStage):
            self._submit(task, tasks.run_pictures, names, shard, digests, again)
        else:
            self._submit(task, tasks.run_table, names[0], shard, digests, again)

    # Stages that work on all shards at once.

    def _run_whole(self, node: Node) -> None:
        # An input that was remade in this run may have come out the same as before.
        expected = {
            shard: self.plan.expected(node, self._digests([node], shard)) for shard in self.shards
        }
        with self.plan.run.folder.hold():
            current = current_whole(self.plan, node, expected, self.index.rows)
        complete = len(current) == len(expected)
        parts = self.statuses[node.name].digests
        parts.clear()
        parts.update(current if complete else {})
        self._start(node, complete)
        if not complete and expected:
            self.tasks.expect(light=node.stage.light and self.index.rows <= LIGHT_ROWS)
        lost = -1
        while not complete and len(self.tasks.lost["shards"]) != lost and expected:
            # A shard lost meanwhile must not influence the others' results: merge without it.
            lost = len(self.tasks.lost["shards"])
            parts.clear()
            self._merge_and_run(node, expected)
            expected = {shard: expected[shard] for shard in self.shards}

    def _merge_and_run(self, node: Node, expected: dict[int, Expected]) -> None:
        digests = {shard: self._digests([node], shard) for shard in expected}
        known: dict[int, str] = {}

        def note(into: dict[int, str], key: int, _: PendingTask, done: tasks.TimedResult) -> None:
            into[key] = done.digests[node.name]

        for shard in expected:
            then = functools.partial(note, known, shard)
            task = PendingTask((node.name,), shard, "prepare", then)
            self._submit(task, tasks.run_prepare, node.name, shard, digests[shard])
        self.tasks.drain()
        expected = {shard: expected[shard] for shard in self.shards}
        # Parts of shards of which no row goes to the merge are made already.
        rest = [shard for shard in expected if shard not in self.statuses[node.name].digests]
        if not rest:
            return
        sums = tell_prepared(known, digests)
        with self.plan.run.folder.hold():
            merge = merge_of(self.plan, node, expected, self.index.rows)

        for partition in merge.missing:
            then = functools.partial(note, merge.digests, partition.number)
            task = PendingTask((node.name,), None, f"merge {partition.number}", then)
            inputs = merge.expected.inputs
            self._submit(task, tasks.run_merge, node.name, partition, sorted(rest), inputs, sums)
        self.tasks.drain()
        for shard in rest:
            task, told = PendingTask((node.name,), shard), {**digests[shard], **merge.told}
            self._submit(task, tasks.run_whole, node.name, shard, told, merge.digests)
        self.tasks.drain()


def _is_by_shard(product: Product) -> bool:
    return isinstance(product, Node) and not product.stage.whole
