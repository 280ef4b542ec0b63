"""Products that are made after the export in one piece: a model, pictures, a report."""

from functools import cache

from pipeline.config.job import Job
from pipeline.engine.product import Single
from pipeline.table.run import Run
from pipeline.words.errors import InputError
from pipeline.words.plugins import named

GROUP = "winnow.products"
"""Entry points that name a `Single` class; winnow's own are among them."""


@cache
def registered() -> dict[str, type[Single]]:
    """All by name, in the order in which they are made. InputError for an unusable one."""
    found = named(Single, GROUP, "product")  # type: ignore[type-abstract]
    return dict(sorted(found.items(), key=lambda entry: (entry[1].rank, entry[0])))


def singles_for(run: Run, job: Job) -> list[Single]:
    """A job's single products. InputError for a section of the job that no product handles."""
    for section in ("train", "sample"):
        if getattr(job, section) is not None and section not in registered():
            raise InputError(
                f"{section}: this installation lacks the package `train`; reinstall winnow"
            )
    made = (kind.of(run, job) for kind in registered().values())
    return [product for product in made if product is not None]
