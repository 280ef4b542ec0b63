"""Which stages there are, which of them a job has, and the rules of a job that names none."""

import difflib
from collections.abc import Mapping
from functools import cache

import pyarrow as pa

from pipeline import measure
from pipeline.config.job import Job, Rule
from pipeline.measure.listed import listed_rules
from pipeline.measure.stage import Stage
from pipeline.words.errors import InputError
from pipeline.words.plugins import discover

GROUP = "winnow.stages"
"""Entry points that name a `Stage` class of another package."""


@cache
def registered() -> dict[str, type[Stage]]:
    """All measuring stages by name, in the order in which they run.

    InputError for one of another package that cannot be used.
    """
    found = discover(measure, Stage, GROUP, "stage")  # type: ignore[type-abstract]
    return dict(sorted(found.items(), key=lambda entry: (entry[1].whole, entry[1].rank, entry[0])))


def optional() -> list[str]:
    """Names that a job may have under `measure:`."""
    own = vars(Stage)["of"].__func__  # a stage with keys elsewhere in the job overrides it
    return [
        name for name, kind in registered().items() if getattr(kind.of, "__func__", None) is own
    ]


def measuring(job: Job, schema: Mapping[str, pa.DataType]) -> list[Stage]:
    """The job's measuring stages, in order; `schema` holds the shards' columns.

    InputError for an unknown measurement.
    """
    for name in job.measure:
        if name not in optional():
            near = difflib.get_close_matches(name, optional(), n=1)
            hint = f"did you mean `{near[0]}`?" if near else _there_are(optional())
            raise InputError(f"measure: there is no measurement `{name}`; {hint}")
    made = (kind.of(job, schema) for kind in registered().values())
    return [stage for stage in made if stage is not None]


def _there_are(names: list[str]) -> str:
    return f"there are {', '.join(names)}" if names else "none is installed"


def default_rules(job: Job) -> tuple[Rule, ...]:
    """Cautious rules over what this job measures, in the order of cost."""
    stages = sorted(
        measuring(job, {}), key=lambda s: s.rank if s.rules_rank is None else s.rules_rank
    )
    return listed_rules(job, tuple(rule for stage in stages for rule in stage.default_rules()))


def resolve(job: Job) -> Job:
    """The job with its default rules filled in, if it names none."""
    return job if job.rules is not None else job.model_copy(update={"rules": default_rules(job)})


def step_of(name: str) -> str:
    """What the rules over a stage's columns are called in the funnel."""
    kind = registered().get(name)
    return kind.step if kind is not None else Stage.step
