"""A whole run: check everything, make what is not up to date, write the state."""

import contextlib
import datetime
import functools
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.job import Job
from pipeline.config.load import parse_job
from pipeline.config.paths import with_absolute_paths
from pipeline.engine.driver import Driver
from pipeline.engine.erase.finish import finish_undone
from pipeline.engine.executors.opening import asked_scheduler, open_executor
from pipeline.engine.export import Export
from pipeline.engine.ingest import Ingest
from pipeline.engine.parts import recorded
from pipeline.engine.plan import Plan, build_plan, columns_written, shard_schema
from pipeline.engine.plan_file import save_plan, save_recipes
from pipeline.engine.product import Product, Single, find_statuses
from pipeline.engine.provenance import note_provenance
from pipeline.engine.singles import singles_for
from pipeline.engine.space import check_space, saying_needed
from pipeline.export.registry import asked as layouts_asked
from pipeline.export.registry import check as check_layouts
from pipeline.ingest.schema import Listing, find_listing
from pipeline.judge.stages import stages_for
from pipeline.measure.listed import check_scores
from pipeline.measure.registry import resolve
from pipeline.table.copies import copy_records
from pipeline.table.freshness import INGEST
from pipeline.table.part import ASIDE, part_folder, settle
from pipeline.table.run import FORMAT, JOB_SUM, NOT_SETTINGS, Run
from pipeline.table.scratch import sharing
from pipeline.table.sealed import seal
from pipeline.words.errors import DamagedError, InputError
from pipeline.words.progress import Reporter
from pipeline.words.quiet import watching


@dataclass(frozen=True)
class Prepared:
    """A job that has passed all checks; nothing has been written yet."""

    job: Job
    run: Run
    listing: Listing
    plan: Plan
    products: tuple[Product, ...]


@dataclass
class Result:
    """How a run ended."""

    run: Run
    export: Export | None
    """None if it was not finished."""
    digest: str
    """Over the bytes of the export's tars and tables; empty if it was not finished."""
    cached: dict[str, bool]
    """By product: whether all of it was up to date before."""
    paths: dict[str, str]
    """What to open: `model`, `grid`, `report` …"""
    quarantined: list[dict[str, Any]] = field(default_factory=list)


def prepare(job: Job) -> Prepared:
    """All checks that need no work. InputError names the key or file at fault."""
    job = with_absolute_paths(resolve(job))
    run = Run(f"{job.output.rstrip('/')}/{job.name}")
    listing = find_listing(job, columns_written(job))
    schema = {f.name: f.type for f in listing.schema}
    check_scores(job, schema)
    # The stages' own checks come first: a missing model says more than a missing digest.
    for stage in stages_for(job, schema):
        stage.check()
    plan = build_plan(run, job, schema)
    check_layouts(job, listing)
    products = products_of(plan, listing)
    for product in products:
        product.check()
    return Prepared(job, run, listing, plan, products)


def products_of(plan: Plan, listing: Listing | None = None) -> tuple[Product, ...]:
    """Everything that a job makes, in order; without a list, from the shards as they were dealt."""
    ingest = Ingest(listing, plan.job.shard_size)
    return (ingest, *plan.nodes, Export(plan), *singles_for(plan.run, plan.job))


def recorded_job(run: Run, scheduler: str | None = None) -> Job:
    """The last run's job, from its folder; with another `cluster.scheduler` if one is given."""
    values = {key: value for key, value in run.job.items() if key not in NOT_SETTINGS}
    if scheduler is not None:
        values["cluster"] = {**values.get("cluster", {}), "scheduler": scheduler}
    return parse_job(values, f"{run.folder.url}/resolved.json")


def replan(run: Run, scheduler: str | None = None) -> Plan:
    """The last run's plan, from its folder alone: the list is not read again.

    InputError if the list was never dealt, or a model or file of the job is not available.
    """
    job = recorded_job(run, scheduler)
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
    run, config = prepared.run, prepared.job.cluster
    with contextlib.ExitStack() as stack:
        stack.enter_context(watching(reporter.say, config.stall_timeout))
        claim(run, job_file)
        stack.enter_context(run.locked(reporter.say))
        stack.enter_context(sharing(run.folder, config.scratch))
        claim(run, job_file)  # again, since another job may have taken the folder meanwhile
        tidy(run, reporter)
        begin = functools.partial(_write_job, run, prepared.job, job_file)
        return bring_up_to_date(prepared.plan, prepared.products, reporter, begin=begin)


def tidy(run: Run, reporter: Reporter) -> None:
    """Under the lock, before any work: remove or finish what a killed driver left unfinished."""
    run.folder.sweep()
    with run.folder.hold():
        for name in run.folder.names("parts"):
            folder = run.folder.sub(f"parts/{name}")
            for waiting in folder.names():
                if waiting.endswith(ASIDE):
                    settle(folder, waiting.removesuffix(ASIDE))
        finish_undone(run, reporter.say)


def bring_up_to_date(
    plan: Plan,
    products: Sequence[Product],
    reporter: Reporter,
    *,
    again: Mapping[int, Sequence[int]] | None = None,
    measure: Mapping[str, Mapping[int, Sequence[int]]] | None = None,
    asked: bool | Collection[str] = True,
    begin: Callable[[], None] = lambda: None,
) -> Result:
    """Make what is stale, under the lock; `again` are rows, by shard, to fetch once more first,
    `measure` rows to measure once more, by stage and shard.

    If not `asked` (after a retry or a takedown), no model is trained and no picture drawn, because
    that takes hours; or only those of these names. `begin` is called before anything is written.

    InputError, before that: work for the job's scheduler, and it cannot be used.
    """
    keyed = [product for product in products if not isinstance(product, Single)]
    statuses = find_statuses(plan, keyed)
    config, say = plan.job.cluster, reporter.say
    if asked and not again:
        check_space(plan, statuses, say)
    packages = sorted({name for node in plan.nodes for name in node.stage.packages})
    opening = functools.partial(open_executor, config, say=say, packages=packages)
    with contextlib.ExitStack() as stack:
        reached = stack.enter_context(contextlib.ExitStack())
        more = bool(again or measure)
        if more or not all(statuses[product.name].current for product in keyed):
            reached.enter_context(asked_scheduler(config, say=say, packages=packages))
        begin()
        # The report's status depends on the job that is written now.
        statuses = find_statuses(plan, products, statuses)
        stack.enter_context(saying_needed(plan, statuses))
        write_state(plan.run, products)
        driver = Driver(plan, products, reporter, opening, statuses)
        stack.enter_context(contextlib.closing(driver))
        driver.again = measure or {}
        dear = {p.name for p in products if isinstance(p, Single) and not p.follows}
        left_out = dear - (dear if asked is True else set(asked or ()))
        wanted = [product for product in products if product.name not in left_out]
        stack.enter_context(watching(say, config.stall_timeout, driver.tasks.left))
        if not more and all(statuses[product.name].current for product in wanted):
            say("everything is up to date; nothing to do")
            save_recipes(plan)  # without them readers take no part for up to date
        else:
            driver.make([product for product in wanted if isinstance(product, Ingest)])
            if INGEST in driver.remade:
                check_space(plan, statuses, say)
            reached.close()
            save_plan(plan)
            driver.provenance = note_provenance(plan, driver.tasks.arithmetic)
            known = len(driver.tasks.arithmetic)
            if again:
                driver.fetch_again(again)
            driver.make([product for product in keyed if not isinstance(product, Ingest)])
            if len(driver.tasks.arithmetic) > known:
                note_provenance(plan, driver.tasks.arithmetic)
            write_state(plan.run, products, driver)
            singles = [product for product in wanted if isinstance(product, Single)]
            driver.make([product for product in singles if not product.shows_end])
            write_state(plan.run, products, driver, finished=True)
            driver.make([product for product in singles if product.shows_end])
        write_state(plan.run, products, driver, finished=True)
        driver.tasks.forget_marks()
    exported = [part_folder(one.name, one.fingerprint) for one in products if one.name == "export"]
    copy_records(plan.run.folder, [*(product.folder for product in products), *exported])
    paths: dict[str, str] = {}
    for product in products:
        if isinstance(product, Single) and driver.statuses[product.name].current:
            paths |= product.paths()
    cached = {product.name: product.name not in driver.remade for product in products}
    (export,) = (product for product in products if isinstance(product, Export))
    made = export if driver.statuses[export.name].current else None
    return Result(
        plan.run, made, export.digest() if made else "", cached, paths, driver.quarantined
    )


def make_single(job: Job, run: Run, product: Single, reporter: Reporter) -> None:
    """Make one product of a run, under its lock, from the products before it as they are."""
    with run.locked(reporter.say):
        tidy(run, reporter)
        statuses = recorded(run)
        plan = build_plan(run, job, shard_schema(run))
        opening = functools.partial(open_executor, job.cluster, say=reporter.say)
        with contextlib.closing(Driver(plan, [product], reporter, opening, statuses)) as driver:
            statuses.pop(product.name, None)
            with watching(reporter.say, job.cluster.stall_timeout, driver.tasks.left):
                driver.make([product])
            state = run.state
            state["products"][product.name] = _noted(product, driver)
            run.folder.write("state.json", seal(state))


def claim(run: Run, job_file: Path | None) -> None:
    """InputError if the folder belongs to another job or is not a run folder."""
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
        return  # the damaged file is replaced
    mine = str(job_file.resolve()) if job_file is not None else None
    if owner and mine and owner != mine and Path(owner).is_file():
        raise InputError(
            f"{run.folder.url} belongs to the job {owner}; give this one another `name` or `output`"
        )
    run.check_format()


def _write_job(run: Run, job: Job, job_file: Path | None) -> None:
    resolved = job.model_dump(mode="json") | {"format": FORMAT}
    data = job_file.read_bytes() if job_file is not None else None
    if job_file is not None and data is not None:
        resolved["job_file"] = str(job_file.resolve())
        resolved[JOB_SUM] = hashlib.sha256(data).hexdigest()
    # Written first, because `claim` recognises a run folder by this file.
    run.write_job(resolved)
    if data is not None:
        run.folder.write("job.yaml", data)


def write_state(
    run: Run, products: Sequence[Product], driver: Driver | None = None, *, finished: bool = False
) -> None:
    """Write `state.json`: the products of this job, so that readers find them."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    state = {
        "products": {product.name: _noted(product, driver) for product in products},
        "quarantined": driver.quarantined if driver is not None else [],
        "finished": now if finished else None,
    }
    run.folder.write("state.json", seal(state))


def _noted(product: Product, driver: Driver | None) -> dict[str, Any]:
    """What `state.json` holds of a product; without a driver, that it is not up to date yet."""
    return {
        "keys": product.keys,
        "fingerprint": product.fingerprint,
        "folder": product.folder,
        "current": driver is not None and driver.statuses[product.name].current,
        "cached": driver is not None and product.name not in driver.remade,
        **product.facts(),
    }
