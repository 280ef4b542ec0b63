"""The tasks that workers run: one (stage, shard) each; arguments are ids, results under 1 kB."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
import pyarrow as pa

from pipeline.engine.merging import (
    PREPARED,
    Partition,
    by_shard,
    deal,
    dealt_file,
    empty_partition,
    prepared_name,
    read_merged,
    read_partition,
    read_prepared,
    read_stood,
    with_merged,
    without_merge,
)
from pipeline.engine.pieces import measure_in_pieces
from pipeline.engine.plan import Node, Plan
from pipeline.engine.plan_file import load_plan
from pipeline.engine.renewal import Renewal
from pipeline.fetch.web.asking import call_with_limits
from pipeline.measure.decoding import measure_pictures
from pipeline.measure.stage import Output, PictureStage, TableStage
from pipeline.measure.whole import Prepared, WholeStage
from pipeline.table.freshness import Expected, why_stale
from pipeline.table.parquet import ROW_GROUP
from pipeline.table.part import Sidecar, commit, read_sidecar, shard_name
from pipeline.table.shard import ShardData
from pipeline.table.sums import Record, known_record, known_sums
from pipeline.words.errors import DiedError

P = ParamSpec("P")


@dataclass(frozen=True)
class TaskResult:
    """What a task did: digests of the parts by stage, rows, a few counts.

    `untouched` are stages whose parts needed no work or came out the same. `finished` is false for
    a step after which the part itself has still to be made.
    """

    digests: dict[str, str]
    rows: int
    summary: dict[str, Any]
    untouched: tuple[str, ...] = ()
    finished: bool = True


@dataclass(frozen=True)
class TimedResult(TaskResult):
    """The result that the driver gets: what the task did and when, in seconds since 1970."""

    start: float = 0.0
    end: float = 0.0
    sums: dict[str, dict[str, str]] = field(default_factory=dict)
    """On an object store: checksums of the files of the parts, by the parts' digests."""
    records: dict[str, Record] = field(default_factory=dict)
    """Likewise their sidecars."""


def timed(work: Callable[P, TaskResult]) -> Callable[P, TimedResult]:
    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> TimedResult:
        start = time.time()
        done = work(*args, **kwargs)
        known = {digest: known_sums(digest) for digest in done.digests.values()}
        sums = {digest: dict(found) for digest, found in known.items() if found is not None}
        told = {digest: known_record(digest) for digest in done.digests.values()}
        records = {digest: found for digest, found in told.items() if found is not None}
        return TimedResult(**vars(done), start=start, end=time.time(), sums=sums, records=records)

    return run


def _open(
    run_url: str, plan_digest: str, names: Sequence[str], shard: int, digests: Mapping[str, str]
) -> Plan:
    """The plan for a task that alone writes these stages' parts of a shard."""
    plan = load_plan(run_url, plan_digest, {shard: digests})
    for name in names:
        plan.run.folder.cover(f"{plan.by_name[name].folder}/{shard_name(shard)}")
    return plan


@timed
def run_table(
    run_url: str, plan_digest: str, name: str, shard: int, digests: Mapping[str, str],
    again: Mapping[str, Sequence[int]] | None = None,
) -> TaskResult:  # fmt: skip
    """Bring a table stage's part of one shard up to date.

    `digests` are those of the shard and of the parts that the stage reads. `again` names rows, by
    stage, to measure once more though they are up to date.
    """
    plan, start = _open(run_url, plan_digest, [name], shard, digests), time.monotonic()
    node = plan.by_name[name]
    assert isinstance(node.stage, TableStage)
    renewal = Renewal.of(plan, node, shard, digests, (again or {}).get(name))
    if not renewal.is_needed:
        digest = renewal.note(plan)
        return TaskResult({name: digest}, len(renewal.wanted), {}, (name,))
    with plan.scratch() as folder:
        output = node.stage.run(replace(renewal.data, scratch=folder), renewal.measured)
        digest, _ = renewal.commit(plan, output, start)
    counts = output.summary
    if renewal.base is not None:  # `output` does not count the rows that stay
        counts = {key: value for key, value in counts.items() if key not in ("skipped", "invalid")}
    untouched = (name,) if renewal.base is not None and digest == renewal.base.digest else ()
    return TaskResult({name: digest}, len(renewal.wanted), counts, untouched)


@timed
def run_pictures(
    run_url: str, plan_digest: str, names: Sequence[str], shard: int, digests: Mapping[str, str],
    again: Mapping[str, Sequence[int]] | None = None,
) -> TaskResult:  # fmt: skip
    """Bring picture stages' parts of one shard up to date, in one reading of its pictures."""
    plan, start = _open(run_url, plan_digest, names, shard, digests), time.monotonic()
    more = again or {}
    renewals = [
        Renewal.of(plan, plan.by_name[name], shard, digests, more.get(name)) for name in names
    ]
    needed = [renewal for renewal in renewals if renewal.is_needed]
    done = {r.node.name: r.note(plan) for r in renewals if not r.is_needed}
    untouched = list(done)
    stages = [r.node.stage for r in needed if isinstance(r.node.stage, PictureStage)]
    masks = {r.node.name: r.measured for r in needed}
    counts = {}
    with plan.scratch() as folder:
        outputs = measure_pictures(plan.data(shard), stages, masks, folder)
        for renewal in needed:
            name = renewal.node.name
            done[name], output = renewal.commit(plan, outputs[name], start)
            counts[name] = output.summary
            if renewal.base is not None and done[name] == renewal.base.digest:
                untouched.append(name)
    return TaskResult(done, len(renewals[0].wanted), counts, tuple(untouched))


@timed
def run_suspect(
    run_url: str, plan_digest: str, stall: float | None, work: Callable[..., TimedResult],
    *args: Any,
) -> TaskResult:  # fmt: skip
    """Run a task again, in a process of its own: its process died, by its own fault or by another
    task's, or it hung: then `stall` is given.

    If it dies again and measures rows, they are measured in pieces; so they are at once if it hung.
    A process without progress for `stall` seconds is ended. DiedError if it is not known which rows
    are at fault.
    """
    if stall is None or not measures_rows(work):
        try:
            done = call_with_limits(work, run_url, plan_digest, *args, stall=stall)
        except DiedError:
            if not measures_rows(work):
                raise
        else:
            return TaskResult(*(getattr(done, each.name) for each in fields(TaskResult)))
    names, *rest = args
    return _in_pieces(run_url, plan_digest, stall, [names] if work is run_table else names, *rest)


def measures_rows(work: Callable[..., TimedResult]) -> bool:
    """Whether tasks of this function measure the rows of a shard, each by itself."""
    return work in (run_table, run_pictures)


def _in_pieces(
    run_url: str, plan_digest: str, stall: float | None, names: Sequence[str], shard: int,
    digests: Mapping[str, str], again: Mapping[str, Sequence[int]] | None = None,
) -> TaskResult:  # fmt: skip
    """Bring stages' parts of one shard up to date, each by itself: only one may be at fault."""
    plan, done, counts = _open(run_url, plan_digest, names, shard, digests), {}, {}
    rows = 0
    for name in names:
        start = time.monotonic()
        node, more = plan.by_name[name], (again or {}).get(name)
        renewal = Renewal.of(plan, node, shard, digests, more)
        rows = len(renewal.wanted)
        if not renewal.is_needed:
            done[name] = renewal.note(plan)
            continue
        with plan.scratch() as folder:
            output, died = measure_in_pieces(plan, renewal, folder, stall)
            done[name], output = renewal.commit(plan, output, start, died)
        counts[name] = output.summary
    return TaskResult(done, rows, counts)


@timed
def run_prepare(
    run_url: str, plan_digest: str, name: str, shard: int, digests: Mapping[str, str]
) -> TaskResult:
    """Write what a whole stage needs of one shard, unless that is up to date.

    If no row of the shard goes to the merge, make its part at once.
    """
    plan, start = _open(run_url, plan_digest, [name], shard, digests), time.monotonic()
    node, data = plan.by_name[name], plan.masked_for(name, shard)
    stage, folder = node.stage, plan.run.folder.sub(node.folder)
    assert isinstance(stage, WholeStage)
    expected, target = plan.expected(node, digests), prepared_name(shard)
    part, sidecar = read_sidecar(folder, data.name), read_sidecar(folder, target)
    if part is not None and why_stale(part, without_merge(expected)) is None:
        return TaskResult({name: part.digest}, part.rows, part.summary, (name,))
    if sidecar is not None and why_stale(sidecar, expected) is None:
        return TaskResult({name: sidecar.digest}, sidecar.rows, {}, finished=False)
    prepare: Callable[..., Prepared] = stage.prepare
    prepared = prepare(data, killed=data.killed()) if stage.reads_deaths else prepare(data)
    dealt = deal(prepared.dealt, stage.key)
    if dealt.num_rows:
        tables = {f"{target}.parquet": prepared.own} if stage.keeps_own else {}
        tables[dealt_file(shard)] = dealt
        sidecar = _commit_tables(plan, node, target, shard, tables, expected, start)
        return TaskResult({name: sidecar.digest}, sidecar.rows, {}, finished=False)
    for left in (f"{target}.json", f"{target}.parquet", dealt_file(shard)):
        folder.remove(left)
    output = stage.run(data, prepared.own, stage.merge([data], empty_partition(dealt)))
    return _commit_whole(plan, node, data, output, without_merge(expected), start)


@timed
def run_merge(
    run_url: str, plan_digest: str, name: str, partition: Partition, shards: Sequence[int],
    inputs: Mapping[str, str], sums: Mapping[int, str],
) -> TaskResult:  # fmt: skip
    """Merge one partition over all shards; `inputs` are those of the merged table, `sums` the
    checksums of what was dealt of each shard, as far as the driver knows them."""
    plan, start = load_plan(run_url, plan_digest), time.monotonic()
    node = plan.by_name[name]
    stage = node.stage
    assert isinstance(stage, WholeStage)
    # Nothing that it reads is written while it runs.
    with plan.run.folder.hold(), plan.scratch() as place:
        rows = read_partition(plan.run, plan.run.folder.sub(node.folder), shards, partition, sums)
        own = [replace(plan.masked_for(name, shard), scratch=place) for shard in shards]
        table = by_shard(stage.merge(own, rows))
    plan.run.folder.cover(f"{node.folder}/{partition.name}")
    tables, expected = {f"{partition.name}.parquet": table}, Expected(node.fingerprint, inputs)
    sidecar = _commit_tables(
        plan, node, partition.name, -1, tables, expected, start, partition.row_group
    )
    return TaskResult({name: sidecar.digest}, table.num_rows, {}, finished=False)


@timed
def run_whole(
    run_url: str, plan_digest: str, name: str, shard: int, digests: Mapping[str, str],
    merged: Mapping[int, str],
) -> TaskResult:  # fmt: skip
    """One shard's part of a merged stage; `merged` are the partitions' digests by number."""
    plan, start = _open(run_url, plan_digest, [name], shard, digests), time.monotonic()
    node, data = plan.by_name[name], plan.masked_for(name, shard)
    assert isinstance(node.stage, WholeStage)
    folder = plan.run.folder.sub(node.folder)
    mine = read_merged(plan.run, folder, shard, merged)
    prepared = data.table()
    if node.stage.keeps_own:
        own = f"{prepared_name(shard)}.parquet"
        sum_ = digests.get(f"{PREPARED}/{own}")
        prepared = read_prepared(plan.run, folder, shard, own, sum_=sum_)
    if node.stage.reads_own:
        data = replace(data, stood=read_stood(plan.run, folder, shard, node.fingerprint))
    output = node.stage.run(data, prepared, mine)
    expected = with_merged(plan.expected(node, digests), merged)
    return _commit_whole(plan, node, data, output, expected, start)


def _commit_whole(
    plan: Plan, node: Node, data: ShardData, output: Output, expected: Expected, start: float
) -> TaskResult:
    rows = np.ones(output.table.num_rows, bool)
    digest, _ = Renewal(node, data, expected, rows, rows, None).commit(plan, output, start)
    return TaskResult({node.name: digest}, output.table.num_rows, output.summary)


def _commit_tables(
    plan: Plan, node: Node, name: str, shard: int, tables: Mapping[str, pa.Table],
    expected: Expected, start: float, row_group: int = ROW_GROUP,
) -> Sidecar:  # fmt: skip
    """Commit intermediate tables, which are no part themselves; `rows` is that of the first."""
    return commit(
        plan.run.folder.sub(node.folder), name, shard, tables, {},
        stage=node.name, fingerprint=node.fingerprint, inputs=expected.inputs,
        rows=next(iter(tables.values())).num_rows, seconds=time.monotonic() - start,
        row_group=row_group,
    )  # fmt: skip
