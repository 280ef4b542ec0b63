"""Find the temperature and bias at which a zero-shot head's scores are probabilities.

`python -m pipeline.inspect.calibrate RUN HEAD LABELS.csv`: the labelled rows must have been
embedded by the run; nothing is measured again and nothing is written. At least some tens of rows of
either label are needed, drawn at random from the rows that the head is to judge: a temperature that
was fitted on easy rows makes the scores of hard ones too sure.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer

from pipeline.engine.parts import Parts, stage_parts
from pipeline.engine.runner import recorded_job
from pipeline.models.calibration import (
    Calibrated,
    calibration_error,
    fit,
    log_loss,
    probabilities,
)
from pipeline.models.clip_compiled import clip_of
from pipeline.models.heads.registry import heads_of
from pipeline.models.heads.zeroshot import ZeroshotHead
from pipeline.table.checked import checked
from pipeline.table.part import shard_name
from pipeline.table.run import Run
from pipeline.words.endings import endings
from pipeline.words.errors import InputError

_LABELS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
FEW = 20


def calibrate(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The `name` of a zero-shot head.")],
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS.csv", help="Columns `uid` and `label`: 1 for rows of the class, else 0."
        ),
    ],
) -> None:
    """Print `temperature` and `bias` for the job, and how well scores fit before and after.

    The fit is made on a half of the labelled rows; the figures are of the other half.
    """
    with endings():
        for line in report(run_folder, head, labels):
            print(line)


def report(run_folder: str, name: str, path: Path) -> list[str]:
    """The lines to print. InputError for a head, labels or uids that cannot be used."""
    run = Run.open(run_folder)
    job = recorded_job(run)
    found = next((one for one in heads_of(job) if one.column == name), None)
    if not isinstance(found, ZeroshotHead):
        zeroshot = [one.column for one in heads_of(job) if isinstance(one, ZeroshotHead)]
        raise InputError(
            f"HEAD: `{name}` is no zero-shot head of this run; there are "
            f"{', '.join(zeroshot) or 'none'}"
        )
    wanted = read_labels(path)
    uids, vectors = _vectors(run, sorted(wanted), found.config.of, path)
    labels = np.asarray([wanted[uid] for uid in uids])
    if min(labels.sum(), (~labels).sum()) < 2:
        raise InputError(
            f"{path}: of the rows with a vector {labels.sum()} are labelled 1 and "
            f"{(~labels).sum()} are labelled 0; label at least two of each, better {FEW}"
        )
    clip = clip_of(job.embed)
    cosines = found.load_cosines(clip)(vectors)
    positive, negative = (side.astype(np.float64) for side in cosines)
    today = Calibrated(1 / found.scale(clip), float(found.config.bias))
    # Every second row of either label: the uids are hashes, so their order is random.
    to_fit = np.zeros(len(labels), bool)
    for value in (False, True):
        to_fit[np.flatnonzero(labels == value)[::2]] = True
    fitted = fit(positive[to_fit], negative[to_fit], labels[to_fit], clip.logit_scale)
    test = ~to_fit
    lines = [
        f"# {name}: fitted on {to_fit.sum()} labelled rows, measured on {test.sum()} others "
        f"({labels[test].sum()} of the class)"
    ]
    for what, one in (("before", today), ("after", fitted)):
        scores = probabilities(positive[test], negative[test], one)
        error, loss = calibration_error(scores, labels[test]), log_loss(scores, labels[test])
        lines.append(f"# {what}: calibration error {error:.3f}, log loss {loss:.3f}")
    if min(labels.sum(), (~labels).sum()) < FEW:
        lines.append(f"# fewer than {FEW} rows of one label: label more, these figures are rough")
    return [*lines, f"temperature: {fitted.temperature:.4g}", f"bias: {fitted.bias:.4g}"]


def read_labels(path: Path) -> dict[str, bool]:
    """uid -> label. InputError for a file without the two columns, or another label than 0 or 1."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"uid", "label"} <= set(reader.fieldnames or ()):
                raise InputError(f"{path}: its first line must name the columns `uid` and `label`")
            found = {}
            for row in reader:
                label = _LABELS.get((row["label"] or "").strip().lower())
                if label is None:
                    raise InputError(
                        f"{path}, line {reader.line_num}: label `{row['label']}`; write 1 or 0"
                    )
                found[row["uid"].strip()] = label
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a CSV file in UTF-8") from None
    return found


def _vectors(run: Run, uids: Sequence[str], of: str, path: Path) -> tuple[list[str], Any]:
    """Those of the uids that have a vector, and the vectors, float32 (rows, dim)."""
    part = next((one for one in stage_parts(run) if one.name == "embed"), None)
    found: list[str] = []
    vectors, asked = [], set(uids)
    for shard in sorted(part.sidecars) if part is not None else ():
        assert part is not None
        here = _table(run, part, shard)
        rows = [i for i, (uid, score) in enumerate(here) if score is not None and uid in asked]
        if rows:
            with _file(run, part, shard, {"image": "img.npy", "text": "txt.npy"}[of]) as array:
                vectors.append(np.load(array, allow_pickle=False)[rows].astype(np.float32))
            found += [here[i][0] for i in rows]
    if not found:
        raise InputError(
            f"{path}: no row of this run that has a vector has one of its {len(uids)} uids; take "
            "them from the run, e.g. by `winnow sql`"
        )
    order = np.argsort(np.asarray(found))
    return [found[i] for i in order], np.concatenate(vectors)[order]


def _table(run: Run, part: Parts, shard: int) -> list[tuple[str, float | None]]:
    with _file(run, part, shard, "parquet") as path:
        table = pq.read_table(path, columns=["uid", "clip_score"])
    return list(zip(table["uid"].to_pylist(), table["clip_score"].to_pylist(), strict=True))


def _file(run: Run, part: Parts, shard: int, suffix: str) -> Any:
    name = f"{shard_name(shard)}.{suffix}"
    sums = part.sidecars[shard].digests
    return checked(run.folder.url, run.folder.sub(part.folder), name, sums.get(name))


if __name__ == "__main__":
    import pipeline.words.quiet_exit  # noqa: F401 - DuckDB may be loaded

    typer.run(calibrate)
    sys.exit(0)
