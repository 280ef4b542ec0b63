"""Which layouts there are: one module each in this package, and those that other packages bring."""

import difflib
from collections.abc import Iterable
from functools import cache

from pipeline import export
from pipeline.config.job import Job
from pipeline.export import about
from pipeline.export.layout import Layout
from pipeline.ingest.schema import Listing
from pipeline.words.errors import InputError
from pipeline.words.plugins import discover

GROUP = "winnow.layouts"
"""Entry points that name a `Layout` class of another package."""
COMMON = frozenset({"manifest.json", "README.md", *about.FILES})
"""Files of every export that belong to no layout."""


@cache
def registered() -> dict[str, Layout]:
    """All layouts by name. InputError for one of another package that cannot be used."""
    found = discover(export, Layout, GROUP, "layout")  # type: ignore[type-abstract]
    return {name: kind() for name, kind in found.items()}


def asked(job: Job) -> list[Layout]:
    """The layouts that a job names, each once. InputError for an unknown name."""
    choices = {name: layout for name, layout in registered().items() if not layout.always}
    for name in job.export.formats:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(choices)}"
            raise InputError(f"export.formats: there is no layout `{name}`; {hint}")
    return [choices[name] for name in dict.fromkeys(job.export.formats)]


def check(job: Job, listing: Listing) -> None:
    """InputError, before any work, for an unknown layout or one that the job lacks a need of."""
    for layout in asked(job):
        missing = layout.needs(job, listing)
        if missing:
            raise InputError(f"export.formats: {layout.name} needs {missing}")


def unowned(names: Iterable[str]) -> list[str]:
    """The files of an export's folder that belong to no layout."""
    every = registered().values()
    return sorted(
        name for name in names if name not in COMMON and not any(one.owns(name) for one in every)
    )
