"""`plan.json` and the recipes: the plan in a run folder, from which workers build it again."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from pipeline.config.load import parse_job
from pipeline.engine.plan import Plan, build_plan, shard_schema
from pipeline.table.part import digest_of
from pipeline.table.run import Run
from pipeline.table.sealed import seal, unseal
from pipeline.table.sums import note_told
from pipeline.words.errors import PlanMismatchError


def save_plan(plan: Plan) -> None:
    """Write what workers need: the resolved job, and the plan's digest to compare with."""
    body = {"digest": plan.digest, "job": plan.job.model_dump(mode="json")}
    plan.run.folder.write("plan.json", seal(body))
    save_recipes(plan)


def save_recipes(plan: Plan) -> None:
    """Write the recipes that are missing or damaged beside the stages' parts."""
    with plan.run.folder.hold():
        for node in plan.nodes:
            name = f"{node.folder}/recipe.json"
            try:
                found = unseal(plan.run.folder.read(name))
            except (FileNotFoundError, ValueError):
                found = {}
            if digest_of(found) != node.fingerprint:
                plan.run.folder.write(name, seal(node.recipe))


def load_plan(
    run_url: str, digest: str, made: Mapping[int, Mapping[str, str]] | None = None
) -> Plan:
    """The plan as a worker sees it, in one task; `made` is as in `Plan`.

    PlanMismatchError if models or settings differ from the driver's.
    """
    plan = _load_plan(run_url, digest)
    if plan.run.folder.is_local:
        return plan
    for told in (made or {}).values():
        note_told(told)
    return replace(plan, run=Run(run_url), made=made or {})  # its own view of the store


@lru_cache(maxsize=4)
def _load_plan(run_url: str, digest: str) -> Plan:
    run = Run(run_url)
    body = unseal(run.folder.read("plan.json"))
    job = parse_job(body["job"], "plan.json")
    plan = build_plan(run, job, shard_schema(run))
    if plan.digest != digest:
        raise PlanMismatchError(
            "this worker would make other parts than the driver planned: "
            "its model files or package versions differ, or another job was started in this folder"
        )
    return plan
