"""`winnow demo`: draw and serve the world, run its job, and compare the verdicts with the truth."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from pipeline.config.job import Job
from pipeline.config.load import load_job
from pipeline.demo.dirt import make_world
from pipeline.demo.jobs import own_job
from pipeline.demo.truth import ReasonScore, score
from pipeline.demo.web import serve
from pipeline.table.run import Run
from pipeline.words.extras import need_extra


def run_demo(
    out: Path,
    rows: int,
    seed: int,
    overrides: Sequence[str],
    run_all: Callable[[Job, Path], tuple[int, dict[str, Any]]],
) -> tuple[int, dict[str, Any], Table]:
    """The whole demo under `out/demo-world` (the web) and `out/demo` (the run).

    `run_all` runs a job. Returns the exit code, the answer, and the scores against the truth.
    """
    need_extra("winnow demo", "train", "diffusers", "transformers")
    job_file = own_job("demo.yaml")
    world = out / "demo-world"
    given = [
        f"input={world / 'rows.parquet'}",
        f"captions.vocabulary={world / 'vocabulary.txt'}",
        f"download.opted_out_domains={world / 'opted-out.txt'}",
        f"output={out}",
        *overrides,
    ]
    with serve(world) as url:
        print(f"demo: a web of {rows:,} rows at {url}", file=sys.stderr)
        make_world(world, url, seed, rows, progress=_report)
        code, answer = run_all(load_job(job_file, given), job_file)
    run = Run.open(answer["run"])
    scores = score(pq.read_table(world / "truth.parquet"), verdicts(run))
    answer["truth"] = [_plain(one) for one in scores]
    return code, answer, truth_table(scores)


def _report(done: int, total: int) -> None:
    if done == total or done % 400 == 0:
        print(f"demo: {done:,} of {total:,} pictures drawn", file=sys.stderr)


def verdicts(run: Run) -> pa.Table:
    """uid, url, caption, reason and reasons of every row."""
    from pipeline.inspect.query import query

    return query(run, "SELECT uid, url, caption, reason, reasons FROM samples")


def _plain(one: ReasonScore) -> dict[str, Any]:
    return {
        "reason": one.reason,
        "planted": one.planted,
        "found": one.found,
        "wrong": one.wrong,
        "precision": one.precision,
        "recall": one.recall,
        "kinds": {kind.kind: [kind.found, kind.planted] for kind in one.kinds},
    }


def truth_table(scores: Sequence[ReasonScore]) -> Table:
    """Precision and recall per reason, and how many of each planted kind were found."""
    table = Table(
        title="against the planted truth", title_justify="left", box=None, header_style="dim"
    )
    table.add_column("reason", no_wrap=True)
    for name in ("planted", "found", "precision", "recall"):
        table.add_column(name, justify="right")
    table.add_column("by kind", style="dim")
    for one in scores:
        kinds = ", ".join(f"{k.kind} {k.found}/{k.planted}" for k in one.kinds)
        table.add_row(
            one.reason, str(one.planted), str(one.found),
            _share(one.precision), _share(one.recall), kinds if len(one.kinds) > 1 else "",
        )  # fmt: skip
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
