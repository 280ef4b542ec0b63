"""The work that a scheduler hands out: one (stage, shard) a task, ids in, under 1 kB out."""

import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import pyarrow as pa

from pipeline.errors import PartError
from pipeline.patches import find_base, is_same, marked, patched_fetch, patched_pictures
from pipeline.pictures import measure_pictures
from pipeline.plan import MERGED, Node, Plan, load_plan
from pipeline.stage import (
    Output,
    PictureStage,
    Rows,
    ShardData,
    TableStage,
    WholeStage,
    drawn_for_audit,
)
from pipeline.table import (
    Sidecar,
    check_columns,
    check_rows,
    commit,
    read_parquet,
    read_sidecar,
    settle,
    shard_name,
)

P = ParamSpec("P")
PREPARED = "prepared"


@dataclass(frozen=True)
class Done:
    """What the driver hears of a task: digests of the parts by stage, when, and a few counts."""

    digests: dict[str, str]
    start: float
    end: float
    rows: int
    summary: dict[str, Any]


def timed(work: Callable[P, tuple[dict[str, str], int, dict[str, Any]]]) -> Callable[P, Done]:
    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> Done:
        start = time.time()
        digests, rows, summary = work(*args, **kwargs)
        return Done(digests, start, time.time(), rows, summary)

    return run


@timed
def run_table(
    run_url: str, plan_digest: str, name: str, shard: int, inputs: str
) -> tuple[dict[str, str], int, dict[str, Any]]:
    """Run a table stage over one shard and commit its part."""
    plan = load_plan(run_url, plan_digest)
    node, data, start = plan.by_name[name], plan.data(shard), time.monotonic()
    assert isinstance(node.stage, TableStage)
    output = node.stage.run(data, row_mask(plan, node, data))
    digest = _commit(plan, node, data, output, inputs, start)
    return {name: digest}, output.table.num_rows, output.summary


@timed
def run_pictures(
    run_url: str, plan_digest: str, names: Sequence[str], shard: int, inputs: Mapping[str, str]
) -> tuple[dict[str, str], int, dict[str, Any]]:
    """Run picture stages over one shard in one reading; each commits its own part.

    Of a part that stands but for a few rows only those are measured.
    """
    plan = load_plan(run_url, plan_digest)
    data, start = plan.data(shard), time.monotonic()
    nodes = [plan.by_name[name] for name in names]
    stages = [node.stage for node in nodes if isinstance(node.stage, PictureStage)]
    masks = {node.name: row_mask(plan, node, data) for node in nodes}
    bases = {node.name: base for node in nodes if (base := find_base(plan, node, data))}
    for name, base in bases.items():
        masks[name] &= marked(len(masks[name]), base.rows)
    digests = {}
    with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
        outputs = measure_pictures(data, stages, masks, Path(scratch))
        for node in nodes:
            output, known = outputs[node.name], bases.get(node.name)
            if known is not None:
                output = patched_pictures(data, node.name, known, output, Path(scratch))
                outputs[node.name] = output
            patch = known.patch if known is not None else None
            digests[node.name] = _commit(
                plan, node, data, output, inputs[node.name], start, patch=patch
            )
    rows = next(iter(outputs.values())).table.num_rows
    return digests, rows, {name: output.summary for name, output in outputs.items()}


@timed
def run_again(
    run_url: str, plan_digest: str, name: str, shard: int, rows: Sequence[int], inputs: str
) -> tuple[dict[str, str], int, dict[str, Any]]:
    """Fetch some rows of a shard again; the others keep what they have.

    The part of before stands until the new one is whole: it may hold what the web no longer has.
    """
    plan = load_plan(run_url, plan_digest)
    node, data, start = plan.by_name[name], plan.data(shard), time.monotonic()
    assert isinstance(node.stage, TableStage)
    settle(plan.run.folder.sub(node.folder), data.name)  # of a worker that died at this very task
    before = plan.read(node, shard, inputs)
    if before is None:
        raise PartError(f"{name}, shard {data.name}: the part of before is gone")
    fresh = node.stage.run(data, marked(before.rows, rows))
    with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
        try:
            output = patched_fetch(data, name, fresh, rows, Path(scratch) / "merged.tar")
        finally:
            for path in fresh.files.values():
                path.unlink(missing_ok=True)
        digest = before.digest
        if not is_same(data, name, before, output):
            patch = {"base": digest, "rows": list(rows)}
            digest = _commit(plan, node, data, output, inputs, start, patch=patch, aside=True)
    told = {key: fresh.summary.get(key, 0) for key in ("success", "failed")}
    return {name: digest}, len(rows), told


@timed
def run_prepare(
    run_url: str, plan_digest: str, name: str, shard: int, inputs: str
) -> tuple[dict[str, str], int, dict[str, Any]]:
    """Write what a whole stage needs of one shard, unless it stands."""
    plan = load_plan(run_url, plan_digest)
    node, data, start = plan.by_name[name], plan.judged(shard), time.monotonic()
    assert isinstance(node.stage, WholeStage)
    folder = plan.run.folder.sub(node.folder)
    target = f"{data.name}.{PREPARED}"
    sidecar = read_sidecar(folder, target, inputs=inputs)
    if sidecar is None:
        sidecar = _commit_table(plan, node, target, shard, node.stage.prepare(data), inputs, start)
    return {name: sidecar.digest}, sidecar.rows, {}


@timed
def run_merge(
    run_url: str, plan_digest: str, name: str, shards: Sequence[int], inputs: str
) -> tuple[dict[str, str], int, dict[str, Any]]:
    """Merge what was prepared, over all shards."""
    plan = load_plan(run_url, plan_digest)
    node, start = plan.by_name[name], time.monotonic()
    stage = node.stage
    assert isinstance(stage, WholeStage)
    folder = plan.run.folder.sub(node.folder)

    def prepared(data: ShardData) -> pa.Table:
        return read_parquet(folder, f"{data.name}.{PREPARED}.parquet")

    table = stage.merge([plan.judged(shard) for shard in shards], prepared)
    sidecar = _commit_table(plan, node, MERGED, -1, table, inputs, start)
    return {name: sidecar.digest}, table.num_rows, {}


@timed
def run_whole(
    run_url: str, plan_digest: str, name: str, shard: int, inputs: str
) -> tuple[dict[str, str], int, dict[str, Any]]:
    """One shard's share of a merged stage."""
    plan = load_plan(run_url, plan_digest)
    node, data, start = plan.by_name[name], plan.judged(shard), time.monotonic()
    assert isinstance(node.stage, WholeStage)
    folder = plan.run.folder.sub(node.folder)
    mine = read_parquet(folder, f"{MERGED}.parquet", filters=[("shard", "=", shard)])
    prepared = read_parquet(folder, f"{data.name}.{PREPARED}.parquet")
    output = node.stage.run(data, prepared, mine)
    digest = _commit(plan, node, data, output, inputs, start)
    return {name: digest}, output.table.num_rows, output.summary


def row_mask(plan: Plan, node: Node, data: ShardData) -> Rows:
    """Rows that a stage measures: those its masks let through, and the audit's share."""
    seen = plan.judged(data.shard)
    uids = data.table()["uid"].to_pylist()
    wanted = np.ones(len(uids), bool)
    for mask in plan.masks_of(node):
        wanted &= seen.lets_in(mask)
    return wanted if wanted.all() else wanted | drawn_for_audit(uids, plan.job.audit_fraction)


def _commit_table(
    plan: Plan, node: Node, name: str, shard: int, table: pa.Table, inputs: str, start: float
) -> Sidecar:
    """Commit a table that is on the way to a part, not one itself."""
    return commit(
        plan.run.folder.sub(node.folder), name, shard, {f"{name}.parquet": table}, {},
        stage=node.name, fingerprint=node.fingerprint, inputs=inputs, rows=table.num_rows,
        seconds=time.monotonic() - start, peak_memory_mb=peak_memory(),
    )  # fmt: skip


def _commit(
    plan: Plan, node: Node, data: ShardData, output: Output, inputs: str, start: float,
    *, patch: Mapping[str, Any] | None = None, aside: bool = False,
) -> str:  # fmt: skip
    """Hold the output against the law of the table, then commit it. PartError if it breaks it."""
    place = f"{node.name}, shard {data.name}"
    check_rows(data.table()["uid"].to_pylist(), output.table["uid"].to_pylist(), place)
    table = check_columns(node.stage.writes, output.table, place)
    name = shard_name(data.shard)
    sidecar = commit(
        plan.run.folder.sub(node.folder), name, data.shard,
        {f"{name}.parquet": table},
        {f"{name}.{suffix}": path for suffix, path in output.files.items()},
        stage=node.name, fingerprint=node.fingerprint, inputs=inputs, rows=table.num_rows,
        seconds=time.monotonic() - start, peak_memory_mb=peak_memory(), summary=output.summary,
        patch=patch, aside=aside,
    )  # fmt: skip
    return sidecar.digest


def peak_memory() -> float:
    """Peak resident memory of this process so far, MB (Linux gives kB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
