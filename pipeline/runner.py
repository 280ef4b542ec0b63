"""A whole run: check everything, ingest, drive what is stale, finish the export, note the state."""

import contextlib
import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.config.load import parse_job
from pipeline.config.paths import with_absolute_paths
from pipeline.driver import Driver
from pipeline.erasing.finish import finish_undone
from pipeline.errors import DamagedError, InputError, PartError
from pipeline.executors.opening import open_executor
from pipeline.exporting import Exporter, finish
from pipeline.layouts.registry import asked as layouts_asked
from pipeline.layouts.registry import check as check_layouts
from pipeline.plan import Plan, build_plan, columns_written, save_plan, shard_schema, standing
from pipeline.progress import Reporter
from pipeline.provenance import provenance
from pipeline.run import FORMAT, Run, ShardIndex
from pipeline.stages.ingest import Listing, deal, is_current, look
from pipeline.stages.registry import resolve, stages_for
from pipeline.table import ASIDE, read_parquet, settle, shard_name


@dataclass(frozen=True)
class Prepared:
    """A job that passed every check: nothing has been written yet."""

    job: Job
    run: Run
    listing: Listing
    plan: Plan


@dataclass
class Result:
    """How a run ended."""

    run: Run
    exporter: Exporter | None
    """None if every shard is quarantined."""
    digest: str
    cached: dict[str, bool]
    quarantined: list[dict[str, Any]] = field(default_factory=list)


def prepare(job: Job) -> Prepared:
    """All checks that need no work. InputError names the key or file at fault."""
    job = with_absolute_paths(resolve(job))
    run = Run(f"{job.output.rstrip('/')}/{job.name}")
    listing = look(job, columns_written(job))
    schema = {f.name: f.type for f in listing.schema}
    # The stages' own checks come first: a missing model says more than a missing digest.
    for stage in stages_for(job, schema):
        stage.check()
    plan = build_plan(run, job, schema)
    check_layouts(job, listing)
    return Prepared(job, run, listing, plan)


def replan(run: Run, scheduler: str | None = None) -> Plan:
    """The last run's plan, from its folder alone: the list is not looked at again.

    InputError if the list was never dealt, or a model or file of the job is out of reach.
    """
    values = {key: value for key, value in run.job.items() if key not in ("job_file", "format")}
    if scheduler is not None:
        values["cluster"] = {**values.get("cluster", {}), "scheduler": scheduler}
    job = parse_job(values, f"{run.folder.url}/resolved.json")
    if not run.index:
        again = run.job.get("job_file") or "JOB.yaml"
        raise InputError(
            f"{run.folder.url} has no shards yet; let `winnow run {again}` read the list first"
        )
    layouts_asked(job)
    schema = shard_schema(run)
    for stage in stages_for(job, schema):
        stage.check()
    return build_plan(run, job, schema)


def execute(prepared: Prepared, job_file: Path | None, reporter: Reporter) -> Result:
    """Bring the run up to date: only what is stale is done, and nothing twice."""
    job, run, plan = prepared.job, prepared.run, prepared.plan
    claim(run, job_file)
    with run.locked():
        claim(run, job_file)  # somebody may have been quicker
        tidy(run, reporter)
        _write_job(run, job, job_file)
        ingested = not is_current(run, job, prepared.listing)
        index = _ingest(prepared, reporter) if ingested else run.index
        assert index is not None
        return bring_up_to_date(plan, index, reporter, ingested=ingested)


def tidy(run: Run, reporter: Reporter) -> None:
    """Under the lock, before any work: clear away and finish what a driver that died left."""
    run.folder.sweep()
    for name in run.folder.names("parts"):
        folder = run.folder.sub(f"parts/{name}")
        for waiting in folder.names():
            if waiting.endswith(ASIDE):
                settle(folder, waiting.removesuffix(ASIDE))
    finish_undone(run, reporter.say)


def bring_up_to_date(
    plan: Plan,
    index: ShardIndex,
    reporter: Reporter,
    *,
    ingested: bool = False,
    again: Mapping[int, Sequence[int]] | None = None,
) -> Result:
    """Do what is stale, under the lock; `again` are rows, by shard, to fetch once more first."""
    save_plan(plan)
    _write_state(plan, None)
    result = _work(plan, index, reporter, again or {})
    result.cached["ingest"] = not ingested
    _write_state(plan, result)
    return result


def _ingest(prepared: Prepared, reporter: Reporter) -> ShardIndex:
    told = 0
    reporter.say("ingest: reading the list")

    def tell(rows: int) -> None:
        nonlocal told
        if rows - told >= 1_000_000:
            told = rows
            reporter.say(f"ingest: {rows:,} rows read")

    index = deal(prepared.run, prepared.job, prepared.listing, tell)
    _account(prepared.run, index)
    reporter.say(
        f"ingest: {index.rows_in:,} rows, {index.rows_in - index.rows:,} repeats merged, "
        f"{len(index)} shards"
    )
    return index


def _account(run: Run, index: ShardIndex) -> None:
    """PartError unless the shards' files hold every row that was read, repeats counted."""
    shards = range(len(index))
    dealt = sum(pc.sum(run.shard(s, ["repeats"])["repeats"]).as_py() or 0 for s in shards)
    if dealt != index.rows_in:
        run.folder.remove("shards/index.json")
        raise PartError(f"ingest: {index.rows_in} rows read, but {dealt} dealt")


def _work(
    plan: Plan, index: ShardIndex, reporter: Reporter, again: Mapping[int, Sequence[int]]
) -> Result:
    parts = standing(plan, index)
    everything = all(len(parts[node.name]) == len(index) for node in plan.nodes)
    if everything and not again:
        exporter = Exporter.of(plan, index, parts, range(len(index)))
        if exporter.is_finished():
            reporter.say("everything stands; nothing to do")
            manifest = json.loads(exporter.folder.read("manifest.json"))
            names = [node.name for node in plan.nodes] + ["export"]
            return Result(plan.run, exporter, manifest["digest"], dict.fromkeys(names, True))
    if len(parts["download"]) < len(index) and plan.job.download.user_agent_contact is None:
        reporter.say("download.user_agent_contact is not set: sites cannot tell who asks them")
    facts = provenance(plan)
    plan.run.folder.write("provenance.json", json.dumps(facts, indent=1).encode())
    with open_executor(plan.job.cluster) as executor:
        driver = Driver(plan, index, executor, reporter, parts)
        with contextlib.closing(driver):
            if again:
                driver.fetch_again(again)
            done = driver.run()
    counts = count_reasons(plan, driver.shards) if done else {}
    digest = finish(done, counts, facts, reporter.say) if done else ""
    names = [node.name for node in plan.nodes] + ["export"]
    cached = {name: name not in driver.worked for name in names}
    return Result(plan.run, done, digest, cached, driver.quarantined)


def count_reasons(plan: Plan, shards: list[int]) -> dict[str, int]:
    """Rows per reason over the verdicts' files, and `kept`."""
    counts: Counter[str] = Counter()
    folder = plan.by_name["decide"].folder
    for shard in shards:
        name = f"{folder}/{shard_name(shard)}.parquet"
        found = pc.value_counts(read_parquet(plan.run.folder, name, ["reason"])["reason"])
        counts.update({row["values"] or "kept": row["counts"] for row in found.to_pylist()})
    return dict(counts.most_common())


def claim(run: Run, job_file: Path | None) -> None:
    """InputError if the folder is something else's: another job's, or no run folder at all."""
    names = [n for n in run.folder.names() if n != ".lock" and not n.endswith(".tmp")]
    if not names:
        return
    if "resolved.json" not in names:
        raise InputError(
            f"{run.folder.url} holds files that are no run's ({names[0]}, …); "
            "give the job another `name` or `output`"
        )
    try:
        owner = run.job.get("job_file")
    except DamagedError:
        return  # it is written anew
    mine = str(job_file.resolve()) if job_file is not None else None
    if owner and mine and owner != mine and Path(owner).is_file():
        raise InputError(
            f"{run.folder.url} belongs to the job {owner}; give this one another `name` or `output`"
        )
    run.check_format()


def _write_job(run: Run, job: Job, job_file: Path | None) -> None:
    resolved = job.model_dump(mode="json") | {"format": FORMAT}
    if job_file is not None:
        resolved["job_file"] = str(job_file.resolve())
    # First, for it is by this file that `claim` knows a run's folder again.
    run.write_job(resolved)
    if job_file is not None:
        run.folder.write("job.yaml", job_file.read_bytes())


def _write_state(plan: Plan, result: Result | None) -> None:
    """`state.json`: which parts are this job's, so that readers find them; None while running."""
    cached = result.cached if result else {}
    stages = {
        node.name: {
            "fingerprint": node.fingerprint,
            "cached": cached.get(node.name, False),
            "models": node.recipe["models"],
            "settings": node.recipe["settings"],
        }
        for node in plan.nodes
    }
    state: dict[str, Any] = {
        "order": list(stages),
        "stages": stages,
        "ingest": {"cached": cached.get("ingest", False)},
        "export": None,
        "quarantined": [],
        "finished": None,
    }
    if result is not None:
        if result.exporter is not None:
            state["export"] = {
                "fingerprint": result.exporter.fingerprint,
                "folder": result.exporter.name,
                "digest": result.digest,
                "cached": cached["export"],
            }
        state |= {
            "quarantined": result.quarantined,
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    plan.run.folder.write("state.json", json.dumps(state, indent=1).encode())
