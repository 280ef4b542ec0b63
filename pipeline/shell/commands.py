"""What the commands do, without the parsing of the command line."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.job import Job
from pipeline.table.run import Run
from pipeline.words.endings import DONE, INCOMPLETE
from pipeline.words.errors import InputError
from pipeline.words.progress import console, reporter
from pipeline.words.quiet import watching

if TYPE_CHECKING:
    from pipeline.lifecycle.forget import Named


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_all(job: Job, job_file: Path | None) -> tuple[int, dict[str, Any]]:
    """A whole run with training, sampling and report: the exit code and the answer."""
    from pipeline.engine.damage import watched
    from pipeline.engine.runner import execute, prepare
    from pipeline.inspect.asked import asked
    from pipeline.inspect.stats import stats

    with watching(_say, job.cluster.stall_timeout, what="the checks before any work"):
        prepared = prepare(job)
    with watched(prepared.run), reporter() as reporting:
        result = execute(prepared, job_file, reporting)
    counts = asked(result.run.folder.url, stats)
    answer = {"run": result.run.folder.url, **counts, **result.paths}
    if result.export is None:
        lost = {one["stage"] for one in result.quarantined}
        what = "shards of the export are" if "export" in lost else "every shard is"
        print(f"winnow: {what} quarantined, so nothing is exported", file=sys.stderr)
    answer["quarantined"] = result.quarantined
    return (INCOMPLETE if result.quarantined else DONE), answer


def run_and_report(job: Job, job_file: Path | None, as_json: bool) -> int:
    code, answer = run_all(job, job_file)
    if as_json:
        for alarm in answer["alarms"]:
            print(f"winnow: {alarm}", file=sys.stderr)
        print(json.dumps(answer, indent=2, default=str))
    else:
        render_answer(answer)
    return code


def retry_rows(run_folder: str, where: str, scheduler: str | None, as_json: bool) -> int:
    """Fetch the rows that `where` matches again, and what follows; the exit code."""
    from pipeline.engine.damage import reading
    from pipeline.inspect.asked import asked
    from pipeline.inspect.stats import stats
    from pipeline.lifecycle.retry import lines, retry

    with reading(run_folder) as run:
        before = _exported(run)
        with reporter() as reporting:
            result, tried = retry(run, where, scheduler, reporting)
    paths, counts = (result.paths if result is not None else {}), asked(run_folder, stats)
    answer: dict[str, Any] = {"run": run.folder.url, **tried, **counts, **paths}
    answer["quarantined"] = result.quarantined if result is not None else []
    answer["notes"] = model_note(run) if _exported(run) != before else []
    _print_answer(answer, lines(tried), as_json)
    return INCOMPLETE if answer["quarantined"] else DONE


def forget_rows(run_folder: str, named: "Iterable[Named]", dry_run: bool, as_json: bool) -> int:
    """Take rows down and bring the export up to date; the exit code."""
    from pipeline.engine.damage import reading
    from pipeline.inspect.asked import asked
    from pipeline.inspect.stats import stats
    from pipeline.lifecycle.forget import forget, lines

    with reading(run_folder) as run, reporter() as reporting:
        result, answer = forget(run, named, dry_run, reporting)
    words = lines(answer)
    counts = asked(run_folder, stats) if run.index else {}
    answer = {"run": run.folder.url, **answer, **counts}
    answer |= result.paths if result is not None else {}
    answer["quarantined"] = result.quarantined if result is not None else []
    _print_answer(answer, words, as_json)
    return INCOMPLETE if answer["quarantined"] else DONE


def verify_run(run_folder: str, export_only: bool, mend: bool, as_json: bool) -> int:
    """Compare a run's files with their checksums; the exit code."""
    from pipeline.lifecycle.mend import lines, verify

    run = Run(run_folder)
    if not any(run.folder.exists(name) for name in ("resolved.json", "shards", "parts")):
        Run.open(run_folder)
    with reporter() as reporting:
        result, answer = verify(run, reporting, export_only=export_only, mend=mend)
    answer["quarantined"] = result.quarantined if result is not None else []
    if as_json:
        print(json.dumps(answer, indent=2, default=str))
    else:
        for line in lines(answer):
            print(line)
    return INCOMPLETE if answer["left"] or answer["lost"] or answer["quarantined"] else DONE


def _exported(run: Run) -> str | None:
    """What the run's finished export is known by; None without one."""
    from pipeline.engine.parts import recorded

    export = recorded(run).get("export")
    return export.digest if export is not None else None


def model_note(run: Run) -> list[str]:
    """A line where the run has a model: nothing here trains or draws again."""
    if not run.folder.exists("train/model"):
        return []
    job = run.job.get("job_file") or "JOB.yaml"
    return [f"the model in train/ is of the export before; `winnow train {job}` trains anew"]


def _print_answer(answer: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, indent=2, default=str))
        return
    for line in lines:
        print(line)
    if "export" in answer:
        render_answer(answer)
    for note in answer["notes"]:
        print(note)


def render_answer(answer: dict[str, Any], last: Any = None) -> None:
    """The counts, then `last`, then the paths that a user opens next."""
    from pipeline.inspect.stats import render

    screen = console()
    screen.print(render(answer))
    if last is not None:
        screen.print(last)
    paths = {what: answer.get(what) for what in ("model", "report", "grid")}
    if answer["export"]:
        paths = {"shards": f"{answer['run']}/{answer['export']['folder']}", **paths}
    for what, path in paths.items():
        if path:
            screen.print(f"{what:>6}: {path}", highlight=False, soft_wrap=True)
    for lost in answer["quarantined"]:
        print(
            f"winnow: shard {lost['shard']:05d} is quarantined at {lost['stage']}: "
            f"{lost['error']}; the same command tries it again",
            file=sys.stderr,
        )


def show_query(run_folder: str, sql: str, form: str | None) -> None:
    """Print a query's result as `json`, as `csv`, or as text: a table for a terminal, lines with
    tabs for a pipe."""
    from pipeline.inspect.asked import asked
    from pipeline.inspect.query import query, render, write_delimited

    table = asked(run_folder, lambda run: query(run, sql))
    screen = console()
    if form == "json":
        print(json.dumps(table.to_pylist(), indent=1, default=str))
    elif form == "csv" or not screen.is_terminal:
        write_delimited(table, sys.stdout, form == "csv")
    else:
        screen.print(render(table, screen.width))


def make_only(job: Job, name: str) -> dict[str, str]:
    """Make one product of a run whose export is finished; its paths.

    InputError for a job that does without it, and for a run that is not so far.
    """
    from pipeline.engine.parts import recorded
    from pipeline.engine.runner import make_single
    from pipeline.engine.singles import singles_for
    from pipeline.measure.registry import resolve

    job = resolve(job)
    run = Run.open(f"{job.output.rstrip('/')}/{job.name}")
    product = next((one for one in singles_for(run, job) if one.name == name), None)
    if product is None:
        raise InputError(f"the job has no `{name}:` section; `{name}: {{}}` takes the defaults")
    product.check()
    missing = [before for before, digest in product.inputs(recorded(run)).items() if not digest]
    if missing:
        raise InputError(f"{run.folder.url} has no finished {missing[0]}; `winnow run` makes one")
    with reporter() as reporting:
        make_single(job, run, product, reporting)
    return product.paths()
