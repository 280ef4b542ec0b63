"""Rules and masks that drop captions whose language is unknown."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from pipeline.config.job import Job
from pipeline.table.sql import columns_of, evaluate

LANGUAGE = ("language", "language_score", "language_agreed")
SHORT_LOST = "16 %"
"""Share of the English captions of one to three words whose language is unknown, or called another
one; measured in docs/quality.md."""


def unknown_language_notice(job: Job, schema: Mapping[str, pa.DataType]) -> str | None:
    """One line that names them; None if there are none. `schema` holds the columns of the job.

    A rule is tried on a row of which nothing is known, so one that asks for more than that the
    language is unknown is not named. A mask is named only if it reads no other columns.
    """
    if not job.captions.language:
        return None
    found = []
    for i, rule in enumerate(job.rules or ()):
        columns = columns_of(rule.when, schema, f"rules[{i}].when")
        drops = (1, -1) if rule.if_null == "drop" else (1,)
        if "language" in columns and _on_nothing(rule.when, columns, schema) in drops:
            found.append(f"rules[{i}] ({rule.reason})")
    for place, mask in _masks(job):
        columns = columns_of(mask, schema, place)
        if set(columns) <= set(LANGUAGE) and _on_nothing(mask, columns, schema) != 1:
            found.append(place)
    if not found:
        return None
    verb = "leaves" if len(found) == 1 else "leave"
    return (
        f"{', '.join(found)} {verb} out captions whose language is unknown too, in all "
        f"{SHORT_LOST} of the English ones of 1–3 words; see docs/config.md, captions.language"
    )


def _masks(job: Job) -> Iterator[tuple[str, str]]:
    """The job's `only_if`, by their places."""
    masks = {
        "download": job.download.only_if,
        "embed": job.embed.only_if,
        "images": job.images.only_if,
        "captions.toxicity": job.captions.toxicity.only_if if job.captions.toxicity else None,
    }
    masks |= {f"measure.{name}": (keys or {}).get("only_if") for name, keys in job.measure.items()}
    return ((f"{name}.only_if", mask) for name, mask in masks.items() if mask)


def _on_nothing(expression: str, columns: Sequence[str], schema: Mapping[str, pa.DataType]) -> int:
    """1, 0 or -1 (null): the expression's value where all these columns are null."""
    row = pa.table({name: pa.nulls(1, schema[name]) for name in columns})
    return int(evaluate(row, [expression])[0][0])
