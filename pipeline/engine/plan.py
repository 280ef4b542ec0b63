"""The plan of a job: its stages with their fingerprints, and which parts are up to date."""

import difflib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.job import Job
from pipeline.engine.merging import Merge, with_merged, without_merge
from pipeline.engine.product import Product, Status, Work
from pipeline.engine.why import why_parts
from pipeline.judge.stages import stages_for
from pipeline.measure.stage import Stage
from pipeline.measure.whole import WholeStage
from pipeline.table.freshness import INGEST, Expected, why_stale
from pipeline.table.part import digest_of, part_folder, read_sidecars, shard_name
from pipeline.table.run import Run
from pipeline.table.scratch import scratch
from pipeline.table.shard import Mask, ShardData
from pipeline.words.errors import InputError

SHARD_FILE = "shard file"
"""The name of the checksum of a shard's file, beside the digests that a task is given."""


@dataclass(frozen=True)
class Node(Product):
    """A stage of a plan: the stages that it reads, and the folder of its parts."""

    keys = "shards"

    stage: Stage
    upstream: tuple[str, ...]
    """Stages whose parts its own are made from."""
    mask_upstream: tuple[str, ...]
    """Stages whose columns its masks read. They only decide which rows are measured."""
    masks: tuple[Mask, ...]
    recipe: dict[str, Any]
    fingerprint: str = ""

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def folder(self) -> str:
        return part_folder(self.name, self.fingerprint)

    def status(self, plan: "Plan", before: Mapping[str, Status]) -> Status:
        """Looks at the shards for which all stages that it reads are up to date."""
        names = (INGEST, *self.upstream, *self.mask_upstream)
        expected = {
            shard: plan.expected(self, {name: before[name].digests[shard] for name in names})
            for shard in before[INGEST].digests
            if all(shard in before[name].digests for name in names)
        }
        if self.stage.whole:
            index = plan.run.index
            digests = current_whole(plan, self, expected, index.rows if index else 0)
        else:
            digests = current_parts(plan, self, {k: (one,) for k, one in expected.items()})
        return Status(digests, before[INGEST].total)

    def why(self, plan: "Plan", before: Mapping[str, Status]) -> str:
        return why_parts(plan, self, before)

    def make(self, work: Work) -> Status:
        """The driver makes parts, a task each."""
        return work.make_parts(self)

    def facts(self) -> dict[str, Any]:
        return {"models": self.recipe["models"], "settings": self.recipe["settings"]}

    @classmethod
    def holding(cls, run: Run, uids: Sequence[str]) -> dict[str, Any]:
        from pipeline.engine.erase import parts

        return parts.holding(run, uids)

    @classmethod
    def erase(cls, run: Run, uids: Sequence[str], held: Mapping[str, Any]) -> None:
        from pipeline.engine.erase import parts

        parts.erase(run, held)


@dataclass(frozen=True)
class Plan:
    """The stages of a job, in order, each with its fingerprint."""

    run: Run
    job: Job
    nodes: tuple[Node, ...]
    shard_columns: Mapping[str, str]
    """The shards' columns and their types."""
    masks: tuple[Mask, ...] = ()
    """One for each stage that has an `only_if`, in the stages' order."""
    made: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """What a task on an object store was told: by shard, the digests of its parts by stage, their
    files' checksums (`sums.to_tell`), and that of the shard's file under `SHARD_FILE`."""

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def digest(self) -> str:
        fingerprints = [node.fingerprint for node in self.nodes]
        return digest_of([self.job.model_dump(mode="json"), fingerprints, self.shard_columns])

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder for a task's temporary files (`table/scratch.py`)."""
        return scratch(self.run.folder, self.job.cluster.scratch)

    def data(self, shard: int, masks: tuple[Mask, ...] = ()) -> ShardData:
        """One shard with all columns that the plan's stages write, made already or not."""
        columns = dict.fromkeys(self.shard_columns, "shards")
        columns |= {c.name: node.folder for node in self.nodes for c in node.stage.writes}
        folders = {node.name: node.folder for node in self.nodes}
        told = self.made.get(shard, {})
        digests = {folders[name]: digest for name, digest in told.items() if name in folders}
        if SHARD_FILE in told:
            digests["shards"] = told[SHARD_FILE]
        return ShardData(self.run, shard, columns, folders, masks, digests)

    def masked(self, shard: int) -> ShardData:
        """One shard with all masks applied, as the export reads it."""
        return self.data(shard, self.masks)

    def masked_for(self, name: str, shard: int) -> ShardData:
        """One shard with the masks that concern a stage over all shards applied."""
        return self.data(shard, self.by_name[name].masks)

    def expected(self, node: Node, digests: Mapping[str, str]) -> Expected:
        """What a shard's part must be made from; `digests` holds INGEST and parts by stage."""
        inputs = {name: digests[name] for name in (INGEST, *node.upstream)}
        policy: dict[str, Any] = {}
        if node.masks and not node.stage.whole:
            policy = {
                "only_if": {mask.stage: mask.only_if for mask in node.masks},
                "audit_fraction": self.job.audit_fraction,
                "asked": {name: digests[name] for name in node.mask_upstream},
            }
        if gates := node.stage.gates():
            policy["gates"] = gates
        return Expected(node.fingerprint, inputs, policy or None)


def build_plan(run: Run, job: Job, shard_schema: Mapping[str, pa.DataType]) -> Plan:
    """Place the stages. InputError for a column that no earlier stage makes."""
    stages = stages_for(job, shard_schema)
    order = [stage.whole for stage in stages]
    assert order == sorted(order), "a stage that needs one shard may not follow one that needs all"
    makers, masks = _place_columns(stages, shard_schema)
    nodes: dict[str, Node] = {}
    for stage in stages:
        own_masks = stage.masks(masks)
        asked = {makers[name] for mask in own_masks for name in mask.reads if name in makers}
        needed = {makers[name] for name in stage.reads if name in makers} | set(stage.after)
        if isinstance(stage, WholeStage):  # the masks that it reads through change its result
            needed |= asked
            if stage.reads_deaths:
                needed |= {name for name, node in nodes.items() if not node.stage.whole}
        upstream = tuple(name for name in nodes if name in needed)
        mask_upstream = tuple(name for name in nodes if name in asked and name not in needed)
        recipe = stage.recipe({name: nodes[name].fingerprint for name in upstream})
        if stage.whole and own_masks:
            recipe["masks"] = {mask.stage: mask.only_if for mask in own_masks}
        nodes[stage.name] = Node(
            stage, upstream, mask_upstream, own_masks, recipe, digest_of(recipe)
        )
    types = {name: str(kind) for name, kind in shard_schema.items()}
    return Plan(run, job, tuple(nodes.values()), types, masks)


def _place_columns(
    stages: Sequence[Stage], shard_schema: Mapping[str, pa.DataType]
) -> tuple[dict[str, str], tuple[Mask, ...]]:
    """Which stage makes each column, and the masks of those with an `only_if`."""
    schema, makers = dict(shard_schema), {}
    conditions: dict[str, tuple[str, tuple[str, ...]]] = {}
    for stage in stages:
        for name in stage.reads:
            if name not in schema:
                raise InputError(_missing(stage, name, schema))
        if stage.only_if is not None:
            from pipeline.table.sql import columns_of

            reads = columns_of(stage.only_if, schema, f"{stage.name}.only_if")
            conditions[stage.name] = (stage.only_if, reads)
        for column in stage.writes:
            if column.name in schema:
                raise InputError(
                    f"stage {stage.name} writes `{column.name}`, which an earlier stage writes "
                    "too; give it another name"
                )
            schema[column.name] = column.type
            makers[column.name] = stage.name
    masks = tuple(
        Mask(name, only_if, reads, _hidden_by(name, stages, makers))
        for name, (only_if, reads) in conditions.items()
    )
    return makers, masks


def _hidden_by(name: str, stages: Sequence[Stage], makers: Mapping[str, str]) -> frozenset[str]:
    """Columns that are invalid in a row that a stage leaves out: its own and those made from them.

    Columns of stages over all shards are not among them: these stages apply the masks themselves.
    """
    names = {name}
    for stage in stages:
        upstream = {makers[column] for column in stage.reads if column in makers}
        if not stage.whole and names & (upstream | set(stage.after)):
            names.add(stage.name)
    return frozenset(column for column, maker in makers.items() if maker in names)


def _missing(stage: Stage, name: str, schema: Mapping[str, pa.DataType]) -> str:
    near = difflib.get_close_matches(name, schema, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(schema)}"
    return f"{stage.name} reads the column `{name}`, which nothing makes before it; {hint}"


def columns_written(job: Job) -> frozenset[str]:
    """Names of the columns that this job's stages write, which `ingest` may not use."""
    from pipeline.table.columns import SHARD_COLUMNS

    bare = job.model_copy(update={"rules": ()})
    schema = {c.name: c.type for c in SHARD_COLUMNS}
    return frozenset(c.name for stage in stages_for(bare, schema) for c in stage.writes)


def shard_schema(run: Run) -> dict[str, pa.DataType]:
    """Columns of the dealt shards."""
    with run.folder.local(f"shards/{shard_name(0)}.parquet") as path:
        schema = pq.read_schema(path)
    return {field.name: field.type for field in schema}


def current_parts(
    plan: Plan, node: Node, expected: Mapping[int, Sequence[Expected]]
) -> dict[int, str]:
    """Digests of a stage's parts that are up to date, by shard, for the shards in `expected`,
    which says what a part may be made from."""
    folder = plan.run.folder.sub(node.folder)
    sidecars = read_sidecars(folder, map(shard_name, expected))
    return {
        shard: sidecar.digest
        for (shard, some), sidecar in zip(expected.items(), sidecars, strict=True)
        if sidecar is not None and any(why_stale(sidecar, one) is None for one in some)
    }


def current_whole(
    plan: Plan, node: Node, expected: Mapping[int, Expected], rows: int
) -> dict[int, str]:
    """The same for a stage over all shards, in a run of `rows` rows.

    If one of the merged partitions is not up to date, only parts that need no merge can be.
    """
    merge = merge_of(plan, node, expected, rows)
    allowed = {shard: [without_merge(one)] for shard, one in expected.items()}
    if not merge.missing:
        for shard, one in expected.items():
            allowed[shard].append(with_merged(one, merge.digests))
    return current_parts(plan, node, allowed)


def merge_of(plan: Plan, node: Node, expected: Mapping[int, Expected], rows: int) -> Merge:
    """The merged partitions of a stage over all shards, in a run of `rows` rows."""
    assert isinstance(node.stage, WholeStage)
    folder, count = plan.run.folder.sub(node.folder), node.stage.partitions(rows)
    return Merge.of(folder, node.fingerprint, expected, count)
