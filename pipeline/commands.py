"""What the commands do, below the command line's words."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.job import Job
from pipeline.endings import DONE, PARTLY
from pipeline.errors import InputError
from pipeline.progress import console, reporter
from pipeline.run import Run

if TYPE_CHECKING:
    from pipeline.forgetting import Named
    from pipeline.runner import Prepared


def run_all(job: Job, job_file: Path | None) -> tuple[int, dict[str, Any]]:
    """A whole run with training, sampling and report: the exit code and what to tell."""
    from pipeline.inspect.damage import watched
    from pipeline.runner import prepare

    prepared = prepare(job)
    if prepared.job.train is not None or prepared.job.sample is not None:
        check_training(prepared.job, prepared.run)
    with watched(prepared.run):
        return _run_all(job, prepared, job_file)


def _run_all(job: Job, prepared: "Prepared", job_file: Path | None) -> tuple[int, dict[str, Any]]:
    from pipeline.inspect.stats import stats
    from pipeline.runner import execute

    with reporter() as told:
        result = execute(prepared, job_file, told)
    run = result.run
    answer = {"run": run.folder.url, **stats(run)}
    if result.exporter is None:
        print("winnow: every shard is quarantined, so nothing is exported", file=sys.stderr)
    if job.train is not None and result.exporter is not None:
        answer["model"] = train_on(prepared.job, run)
    if job.sample is not None and result.exporter is not None:
        answer |= sample_from(prepared.job, run, job.sample.prompts)
    answer["report"] = ensure_report(run)
    answer["quarantined"] = result.quarantined
    return (PARTLY if result.quarantined else DONE), answer


def run_and_report(job: Job, job_file: Path | None, as_json: bool) -> int:
    code, answer = run_all(job, job_file)
    if as_json:
        print(json.dumps(answer, indent=2, default=str))
    else:
        render_answer(answer)
    return code


def retry_rows(run_folder: str, where: str, scheduler: str | None, as_json: bool) -> int:
    """Fetch the rows that `where` matches again, and what follows; the exit code."""
    from pipeline.inspect.damage import reading
    from pipeline.inspect.stats import stats
    from pipeline.retrying import lines, retry

    with reading(run_folder) as run:
        before = _exported(run)
        with reporter() as told:
            result, tried = retry(run, where, scheduler, told)
        answer: dict[str, Any] = {"run": run.folder.url, **tried, **stats(run)}
        if result is not None:
            answer["report"] = ensure_report(run)
    answer["quarantined"] = result.quarantined if result is not None else []
    answer["notes"] = model_note(run) if _exported(run) != before else []
    _tell(answer, lines(tried), as_json)
    return PARTLY if answer["quarantined"] else DONE


def forget_rows(run_folder: str, named: "Iterable[Named]", dry_run: bool, as_json: bool) -> int:
    """Take rows down and bring the export up to date; the exit code."""
    from pipeline.forgetting import forget, lines
    from pipeline.inspect.damage import reading
    from pipeline.inspect.stats import stats

    with reading(run_folder) as run:
        with reporter() as told:
            result, answer = forget(run, named, dry_run, told)
        words = lines(answer)
        answer = {"run": run.folder.url, **answer, **(stats(run) if run.index else {})}
        if not dry_run and run.index:
            answer["report"] = ensure_report(run)
    answer["quarantined"] = result.quarantined if result is not None else []
    _tell(answer, words, as_json)
    return PARTLY if answer["quarantined"] else DONE


def _exported(run: Run) -> str | None:
    """The digest of the run's export."""
    return (run.state.get("export") or {}).get("digest")


def model_note(run: Run) -> list[str]:
    """A line where the run has a model: nothing here trains or draws again."""
    if not run.folder.exists("train/model"):
        return []
    job = run.job.get("job_file") or "JOB.yaml"
    return [f"the model in train/ is of the export before; `winnow train {job}` trains anew"]


def _tell(answer: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
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


def preview_all(job: Job) -> dict[str, Any]:
    """What a run would do, training and sampling included."""
    from pipeline.inspect.preview import preview

    answer = preview(job)
    if job.train is not None or job.sample is not None:
        from pipeline.stages.registry import resolve
        from train.handover import foresee

        job, run = resolve(job), Run(answer["run"])
        check_training(job, run)
        exported = answer["stages"][-1]["todo"] == 0
        answer["stages"] += foresee(job, run, exported)
    return answer


def ensure_report(run: Run) -> str:
    """The report's path; it is written again only if what it shows has changed."""
    from pipeline.inspect.report.source import report_is_current

    if report_is_current(run):
        return run.folder.path("report.html")
    from pipeline.inspect.report.write import write_report

    return write_report(run)


def show_query(run_folder: str, sql: str, as_json: bool) -> None:
    from pipeline.inspect.damage import reading
    from pipeline.inspect.query import query, render

    with reading(run_folder) as run:
        table = query(run, sql)
    if as_json:
        print(json.dumps(table.to_pylist(), indent=1, default=str))
        return
    console().print(render(table))


def check_training(job: Job, run: Run) -> None:
    """InputError before any work if training or sampling could not begin."""
    if not run.folder.is_local:
        raise InputError("train, sample: need a run folder on a local disk; set `output`")
    from train.handover import check

    check(job)


def train_on(job: Job, run: Run) -> str:
    from train.handover import train

    return str(train(job, run))


def sample_from(job: Job, run: Run, prompts: tuple[str, ...]) -> dict[str, Any]:
    from train.handover import sample

    return sample(job, run, prompts)


def _finished(job: Job) -> tuple[Job, Run]:
    from pipeline.stages.registry import resolve

    job = resolve(job)
    run = Run.open(f"{job.output.rstrip('/')}/{job.name}")
    if not run.state.get("export"):
        raise InputError(f"{run.folder.url} has no finished export; `winnow run` makes one")
    check_training(job, run)
    return job, run


def train_only(job: Job) -> str:
    if job.train is None:
        raise InputError("the job has no `train:` section; `train: {}` takes the defaults")
    job, run = _finished(job)
    return train_on(job, run)


def sample_only(job: Job, prompts: tuple[str, ...]) -> dict[str, Any]:
    section = job.sample
    if section is None:
        raise InputError("the job has no `sample:` section; `sample: {}` takes the defaults")
    job, run = _finished(job)
    return sample_from(job, run, prompts or section.prompts)
