"""What a job would do: its stages with their fingerprints, and which parts already stand."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.job import Job
from pipeline.config.load import parse_job
from pipeline.errors import InputError, PlanMismatchError
from pipeline.run import Run, ShardIndex, inputs_digest
from pipeline.stage import Mask, ShardData, Stage
from pipeline.stages import stages_for
from pipeline.table import Sidecar, digest_of, part_folder, read_sidecar, shard_name

MERGED = "merged"


@dataclass(frozen=True)
class Node:
    """A stage in its place: what it stands on and where its parts lie."""

    stage: Stage
    upstream: tuple[str, ...]
    recipe: dict[str, Any]
    fingerprint: str

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def folder(self) -> str:
        return part_folder(self.name, self.fingerprint)


@dataclass(frozen=True)
class Plan:
    """The stages of a job, in order, each with its fingerprint."""

    run: Run
    job: Job
    nodes: tuple[Node, ...]
    shard_columns: Mapping[str, str]
    """The shards' columns and their types."""
    masks: tuple[Mask, ...] = ()
    """Those of all stages that have an `only_if`, in the stages' order."""

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def digest(self) -> str:
        fingerprints = [node.fingerprint for node in self.nodes]
        return digest_of([self.job.model_dump(mode="json"), fingerprints, self.shard_columns])

    def data(self, shard: int, masks: tuple[Mask, ...] = ()) -> ShardData:
        """One shard with all columns that the plan's stages write (whether or not they stand)."""
        columns = dict.fromkeys(self.shard_columns, "shards")
        columns |= {c.name: node.folder for node in self.nodes for c in node.stage.writes}
        return ShardData(self.run, shard, columns, {n.name: n.folder for n in self.nodes}, masks)

    def judged(self, shard: int) -> ShardData:
        """One shard as stages over all shards and the export see it: through the masks."""
        return self.data(shard, self.masks)

    def masks_of(self, node: Node) -> tuple[Mask, ...]:
        """The masks that a stage's rows pass: its own, and those of the stages it stands on."""
        written = {column.name for column in node.stage.writes}
        return tuple(mask for mask in self.masks if written & mask.hides)

    def inputs(self, node: Node, shard_digest: str, digests: Mapping[str, str]) -> str:
        """What a part is made from; `digests` maps upstream stages to their part's digest."""
        return inputs_digest(shard_digest, *(digests[name] for name in node.upstream))

    def read(self, node: Node, shard: int, inputs: str) -> Sidecar | None:
        """The sidecar of a part that stands and was made from `inputs`."""
        return read_sidecar(self.run.folder.sub(node.folder), shard_name(shard), inputs=inputs)


def build_plan(run: Run, job: Job, shard_schema: Mapping[str, pa.DataType]) -> Plan:
    """Place the stages. InputError for a column that no earlier stage makes.

    `only_if` and its columns are part of a stage's recipe: what is not measured is a result too.
    """
    stages = stages_for(job, shard_schema)
    schema = dict(shard_schema)
    makers: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    conditions: dict[str, tuple[str, tuple[str, ...]]] = {}
    for stage in stages:
        reads = list(stage.reads)
        if stage.only_if is not None:
            from pipeline.sql import columns_of

            asked = columns_of(stage.only_if, schema, f"{stage.name}.only_if")
            conditions[stage.name] = (stage.only_if, asked)
            reads += asked
        for name in reads:
            if name not in schema:
                raise InputError(_missing(stage, name, schema))
        needed = {makers[name] for name in reads if name in makers} | set(stage.after)
        upstream = tuple(name for name in nodes if name in needed)
        recipe = stage.recipe({name: nodes[name].fingerprint for name in upstream})
        if stage.only_if is not None:
            recipe |= {"only_if": stage.only_if, "audit_fraction": job.audit_fraction}
        nodes[stage.name] = Node(stage, upstream, recipe, digest_of(recipe))
        for column in stage.writes:
            if column.name in schema:
                raise InputError(
                    f"stage {stage.name} writes `{column.name}`, which an earlier stage writes "
                    "too; give it another name"
                )
            schema[column.name] = column.type
            makers[column.name] = stage.name
    order = [node.stage.whole for node in nodes.values()]
    assert order == sorted(order), "a stage that needs one shard may not follow one that needs all"
    types = {name: str(kind) for name, kind in shard_schema.items()}
    masks = tuple(
        Mask(name, only_if, reads, _hidden_by(name, stages, makers))
        for name, (only_if, reads) in conditions.items()
    )
    return Plan(run, job, tuple(nodes.values()), types, masks)


def _hidden_by(name: str, stages: Sequence[Stage], makers: Mapping[str, str]) -> frozenset[str]:
    """Columns that mean nothing in a row that a stage leaves out: its own, and what follows.

    Stages over all shards look through the masks themselves, so theirs are not among them.
    """
    names = {name}
    for stage in stages:
        stands_on = {makers[column] for column in stage.reads if column in makers}
        if not stage.whole and names & (stands_on | set(stage.after)):
            names.add(stage.name)
    return frozenset(column for column, maker in makers.items() if maker in names)


def _missing(stage: Stage, name: str, schema: Mapping[str, pa.DataType]) -> str:
    near = difflib.get_close_matches(name, schema, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(schema)}"
    return f"{stage.name} reads the column `{name}`, which nothing makes before it; {hint}"


def columns_written(job: Job) -> frozenset[str]:
    """Names that this job's stages write, for `ingest` to keep clear of."""
    from pipeline.table import SHARD_COLUMNS

    bare = job.model_copy(update={"rules": ()})
    schema = {c.name: c.type for c in SHARD_COLUMNS}
    return frozenset(c.name for stage in stages_for(bare, schema) for c in stage.writes)


def save_plan(plan: Plan) -> None:
    """Write what workers need: the resolved job, and the plan's digest to compare with."""
    body = {"digest": plan.digest, "job": plan.job.model_dump(mode="json")}
    plan.run.folder.write("plan.json", json.dumps(body, indent=1).encode())
    for node in plan.nodes:
        name = f"{node.folder}/recipe.json"
        if not plan.run.folder.exists(name):
            plan.run.folder.write(name, json.dumps(node.recipe, indent=1).encode())


@lru_cache(maxsize=4)
def load_plan(run_url: str, digest: str) -> Plan:
    """The plan as a worker sees it.

    PlanMismatchError if models or settings differ from the driver's.
    """
    run = Run(run_url)
    body = json.loads(run.folder.read("plan.json"))
    job = parse_job(body["job"], "plan.json")
    plan = build_plan(run, job, shard_schema(run))
    if plan.digest != digest:
        raise PlanMismatchError(
            "this worker would make other parts than the driver planned: "
            "its model files or package versions differ, or another job was started in this folder"
        )
    return plan


def shard_schema(run: Run) -> dict[str, pa.DataType]:
    """Columns of the dealt shards."""
    with run.folder.local(f"shards/{shard_name(0)}.parquet") as path:
        schema = pq.read_schema(path)
    return {field.name: field.type for field in schema}


def standing(plan: Plan, index: ShardIndex) -> dict[str, dict[int, str]]:
    """Digests of the parts that stand and fit, by stage and shard: what need not be done."""
    found: dict[str, dict[int, str]] = {node.name: {} for node in plan.nodes}
    for node in plan.nodes:
        ready = {
            shard: plan.inputs(node, digest, {u: found[u][shard] for u in node.upstream})
            for shard, (_, digest) in enumerate(index.shards)
            if all(shard in found[u] for u in node.upstream)
        }
        if node.stage.whole:
            merged = read_merged(plan, node, ready)
            if merged is None:
                continue
            ready = {shard: inputs_digest(own, merged.digest) for shard, own in ready.items()}
        for shard, inputs in ready.items():
            sidecar = plan.read(node, shard, inputs)
            if sidecar is not None:
                found[node.name][shard] = sidecar.digest
    return found


def read_merged(plan: Plan, node: Node, ready: Mapping[int, str]) -> Sidecar | None:
    """The merged table's sidecar, if it was made from exactly these shards' inputs."""
    folder = plan.run.folder.sub(node.folder)
    return read_sidecar(folder, MERGED, inputs=merge_inputs(ready))


def merge_inputs(ready: Mapping[int, str]) -> str:
    """What a merged table is made from, given each shard's inputs."""
    return inputs_digest(*(ready[shard] for shard in sorted(ready)))
