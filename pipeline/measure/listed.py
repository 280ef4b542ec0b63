"""Scores that the list itself has, to judge by in place of measuring."""

import difflib
from collections.abc import Mapping

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.words.errors import InputError

SCORES = {
    "similarity": Rule(reason="low_clip_score", when="similarity < 0.2", if_null="drop"),
    "punsafe": Rule(reason="nsfw", when="punsafe > 0.8", if_null="drop"),
    "pwatermark": Rule(reason="watermark", when="pwatermark > 0.8", if_null="drop"),
    "aesthetic": Rule(reason="low_aesthetic", when="aesthetic < 4.5", if_null="drop"),
}
"""The scores that public lists have (LAION-400M, 2B, Aesthetics), and their default rules: as those
over the measured scores; for the last two the thresholds that LAION published with them."""


def listed_rules(job: Job, measured: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The default rules with those over the list's scores first, since these cost nothing; they
    replace the rules over measured scores of the same reason."""
    own = tuple(SCORES[name] for name in job.columns.scores)
    reasons = {rule.reason for rule in own}
    return own + tuple(rule for rule in measured if rule.reason not in reasons)


def check_scores(job: Job, schema: Mapping[str, pa.DataType]) -> None:
    """InputError, before any work, for a score that the list does not have or that is no number."""
    for name in job.columns.scores:
        kind = schema.get(name)
        if kind is None:
            near = difflib.get_close_matches(name, schema, n=1)
            hint = f"; is it `{near[0]}`? Write that in a rule instead" if near else ""
            raise InputError(f"columns.scores: the list has no column `{name}`{hint}")
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise InputError(f"columns.scores: the list's `{name}` is {kind}, no number")
