"""Which layouts there are: one module each in this package, and those that other packages bring."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pipeline import layouts
from pipeline.config.job import Job
from pipeline.errors import InputError
from pipeline.layouts.base import Layout
from pipeline.stages.ingest import Listing

GROUP = "winnow.layouts"
"""Entry points that name a `Layout` class of another package."""
COMMON = frozenset({"manifest.json", "README.md"})
"""Files of every export, which are no layout's."""


def packaged() -> dict[str, Layout]:
    """The layouts of this package, by name; TypeError for one that cannot write or erase."""
    found: dict[str, Layout] = {}
    for info in pkgutil.iter_modules(layouts.__path__):
        module = importlib.import_module(f"{layouts.__name__}.{info.name}")
        for kind in vars(module).values():
            if _is_layout(kind) and kind.__module__ == module.__name__:
                found[kind.name] = kind()
    return dict(sorted(found.items()))


@cache
def registered() -> dict[str, Layout]:
    """All layouts by name. InputError for one of another package that cannot serve."""
    found = packaged()
    for entry in entry_points(group=GROUP):
        place = f"the layout `{entry.name}` of {entry.dist.name if entry.dist else 'a package'}"
        try:
            kind = entry.load()
            if not _is_layout(kind):
                raise TypeError(f"{entry.value} is no Layout")
            layout = kind()
        except Exception as error:
            raise InputError(f"{place} cannot be used: {error}; uninstall or mend it") from error
        if layout.name in found:
            raise InputError(f"{place} is called like another one; uninstall one of them")
        found[layout.name] = layout
    return found


def _is_layout(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Layout) and kind is not Layout


def asked(job: Job) -> list[Layout]:
    """The layouts that a job asks for, each once. InputError for a name that is none."""
    choices = {name: layout for name, layout in registered().items() if not layout.always}
    for name in job.export.formats:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(choices)}"
            raise InputError(f"export.formats: there is no layout `{name}`; {hint}")
    return [choices[name] for name in dict.fromkeys(job.export.formats)]


def check(job: Job, listing: Listing) -> None:
    """InputError, before any work, for an unknown layout or one that misses what it needs."""
    for layout in asked(job):
        missing = layout.needs(job, listing)
        if missing:
            raise InputError(f"export.formats: {layout.name} needs {missing}")


def unowned(names: Iterable[str]) -> list[str]:
    """Those of an export folder's files that no layout knows how to erase."""
    every = registered().values()
    return sorted(
        name for name in names if name not in COMMON and not any(one.owns(name) for one in every)
    )
