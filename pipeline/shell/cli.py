"""The command `winnow`. Results go to stdout, progress and messages to stderr."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.shell import options
from pipeline.words.endings import CODES, endings


class _Commands(TyperGroup):
    """The commands, ended by `endings`; click would exit with 1 at Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        with endings():
            return super().invoke(ctx)


app = typer.Typer(
    name="winnow",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a list of scraped (url, caption) rows to a clean image-text dataset, and from the "
    "dataset to a text-to-image model. Start with `winnow demo`, or write a job file with one "
    "line, `input: pairs.parquet`, and `winnow run job.yaml`.",
    epilog=CODES,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"winnow {version('winnow-curation')}")
        raise typer.Exit()


@app.callback()
def winnow(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def _load(job_file: Path, overrides: list[str], scheduler: str | None = None) -> Any:
    from pipeline.config.load import load_job

    given = [*overrides, f"cluster.scheduler={scheduler}"] if scheduler else overrides
    return load_job(job_file, given)


def _show(value: Any, as_json: bool, render: Callable[[Any], Any]) -> None:
    """Print the answer on stdout, as JSON or as text for people."""
    if as_json:
        print(json.dumps(value, indent=2, default=str))
        return
    from pipeline.words.progress import console

    console().print(render(value))


@app.command()
def run(
    job_file: options.JobFile,
    set_: options.Override = [],  # noqa: B006 - Typer reads the default and never changes it
    scheduler: options.Scheduler = None,
    json_: options.Json = False,
) -> None:
    """Run a job: fetch, measure, judge, export, and, if the job says so, train and sample.

    What is up to date from an earlier run is not done again; `winnow plan` shows what would be.
    """
    from pipeline.shell.commands import run_and_report

    raise typer.Exit(run_and_report(_load(job_file, set_, scheduler), job_file, json_))


@app.command()
def plan(
    job_file: options.JobFile,
    set_: options.Override = [],  # noqa: B006
    json_: options.Json = False,
) -> None:
    """Show what `winnow run` would do, stage by stage, and why. Does no work."""
    from pipeline.inspect.preview import preview, render

    _show(preview(_load(job_file, set_)), json_, render)


@app.command()
def status(run_folder: options.RunFolder, json_: options.Json = False) -> None:
    """Show the progress of a run: shards done per stage, quarantined ones, disk space used."""
    from pipeline.inspect.asked import asked
    from pipeline.inspect.status import render
    from pipeline.inspect.status import status as read

    _show(asked(run_folder, read), json_, render)


@app.command()
def stats(run_folder: options.RunFolder, json_: options.Json = False) -> None:
    """Count rows by reason, recomputed from the parts' files."""
    from pipeline.inspect.asked import asked
    from pipeline.inspect.stats import render
    from pipeline.inspect.stats import stats as read

    _show(asked(run_folder, read), json_, render)


@app.command()
def explain(
    run_folder: options.RunFolder,
    sample_: options.SampleName,
    json_: options.Json = False,
) -> None:
    """Show why one row was kept or dropped: every measurement and every rule."""
    from pipeline.inspect.asked import asked
    from pipeline.inspect.explain import explain as read
    from pipeline.inspect.explain_text import render

    _show(asked(run_folder, lambda run: read(run, sample_)), json_, render)


@app.command()
def sql(
    run_folder: options.RunFolder,
    query_: options.Query,
    json_: options.Json = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV with a header line.")] = False,
) -> None:
    """Query all rows and measurements, e.g. "select reason, count(*) from samples group by 1".

    On a terminal long cells are cut and wide rows are shown one below the other; in a pipe every
    row and cell is printed whole, divided by tabs.
    """
    from pipeline.shell.commands import show_query

    show_query(run_folder, query_, "json" if json_ else "csv" if csv_ else None)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a job file, with which editors complete and check one.

    E.g. `winnow schema > job.schema.json`, and `# yaml-language-server: $schema=job.schema.json` as
    the first line of the job file.
    """
    from pipeline.config.job import Job

    print(json.dumps(Job.model_json_schema(), indent=1))


@app.command()
def retry(
    run_folder: options.RunFolder,
    where: options.Where,
    scheduler: options.Scheduler = None,
    json_: options.Json = False,
) -> None:
    """Fetch some rows again and update what depends on them; other rows are unchanged.

    Needs only the run folder. Rows with an input error and rows taken down are left out.
    """
    from pipeline.shell.commands import retry_rows

    raise typer.Exit(retry_rows(run_folder, where, scheduler, json_))


@app.command()
def forget(
    run_folder: options.RunFolder,
    uid: options.Uids = [],  # noqa: B006
    url: options.Urls = [],  # noqa: B006
    domain: options.Domains = [],  # noqa: B006
    sha256: options.Sums = [],  # noqa: B006
    file: options.Lists = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    json_: options.Json = False,
) -> None:
    """Take rows down: erase their caption, address, picture and measurements from the run for good.

    Their uid stays, with the reason `forgotten`; no later run brings them back or fetches them.
    """
    from pipeline.lifecycle.forget import read_list
    from pipeline.shell.commands import forget_rows

    given = {"uid": uid, "url": url, "domain": domain, "sha256": sha256}
    named = [(kind, text, f"--{kind}") for kind, texts in given.items() for text in texts]
    named += [one for path in file for one in read_list(path)]
    raise typer.Exit(forget_rows(run_folder, named, dry_run, json_))


@app.command()
def verify(
    run_folder: options.RunFolder,
    export: options.ExportOnly = False,
    mend: options.Mend = False,
    json_: options.Json = False,
) -> None:
    """Compare every file of a run with its checksum, and name those that were cut or changed.

    Exit 0 if none is damaged or all were made again, else 3.
    """
    from pipeline.shell.commands import verify_run

    raise typer.Exit(verify_run(run_folder, export, mend, json_))


@app.command()
def report(run_folder: options.RunFolder, json_: options.Json = False) -> None:
    """Write report.html into the run folder: one self-contained page for auditors."""
    from pipeline.inspect.asked import asked
    from pipeline.inspect.report.product import Report

    path = asked(run_folder, lambda run: Report(run).write())
    print(json.dumps({"report": path}) if json_ else path)


@app.command()
def train(
    job_file: options.JobFile,
    set_: options.Override = [],  # noqa: B006
    json_: options.Json = False,
) -> None:
    """Fine-tune the job's diffusion model on the run's export."""
    from pipeline.shell.commands import make_only

    paths = make_only(_load(job_file, set_), "train")
    print(json.dumps(paths) if json_ else paths["model"])


@app.command()
def sample(
    job_file: options.JobFile,
    set_: options.Override = [],  # noqa: B006
    prompt: options.Prompts = [],  # noqa: B006
    json_: options.Json = False,
) -> None:
    """Draw pictures with the trained model, rerank them, and put the best nine on a sheet."""
    from pipeline.shell.commands import make_only

    job = _load(job_file, set_)
    if prompt and job.sample is not None:
        job = job.model_copy(
            update={"sample": job.sample.model_copy(update={"prompts": tuple(prompt)})}
        )
    paths = make_only(job, "sample")
    print(json.dumps(paths) if json_ else paths["grid"])


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the demo's runs.")] = Path("runs"),
    rows: Annotated[int, typer.Option(help="Rows of the demo's list.", min=200)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the demo world.")] = 0,
    set_: options.Override = [],  # noqa: B006
    json_: options.Json = False,
) -> None:
    """Draw and serve a small web with known faults, curate it, train on it, score the result."""
    from pipeline.demo.command import run_demo
    from pipeline.shell.commands import render_answer, run_all

    code, answer, scores = run_demo(out, rows, seed, set_, run_all)
    if json_:
        print(json.dumps(answer, indent=2, default=str))
    else:
        render_answer(answer, last=scores)
    raise typer.Exit(code)


def main() -> None:
    """Entry point: an error that is not a bug ends with one line and an exit code (`endings`)."""
    with endings():
        app()


def entry() -> None:
    """The console script: `main`, with settings for the whole process."""
    import pipeline.words.quiet_exit  # noqa: F401 - for its effect
    from pipeline.words.processes import keep_working_folder_out

    keep_working_folder_out()
    # Threads that spin while they wait would take cores from others. Set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
