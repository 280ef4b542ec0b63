"""Which kinds of heads there are: those of this package, and those that other packages bring."""

import difflib
from functools import cache

from pipeline.config.job import Job
from pipeline.models import heads
from pipeline.models.heads.base import HeadKind
from pipeline.words.errors import InputError
from pipeline.words.plugins import discover

GROUP = "winnow.heads"
"""Entry points that name a `HeadKind` class of another package."""


@cache
def registered() -> dict[str, type[HeadKind]]:
    """All kinds by name. InputError for one of another package that cannot serve."""
    return discover(heads, HeadKind, GROUP, "head kind")  # type: ignore[type-abstract]


def heads_of(job: Job) -> tuple[HeadKind, ...]:
    """The job's heads, in their order. InputError for an unknown kind or keys that are not its."""
    kinds, found = registered(), []
    for i, head in enumerate(job.images.heads):
        place = f"images.heads[{i}]"
        if head.kind not in kinds:
            near = difflib.get_close_matches(head.kind, kinds, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(kinds)}"
            raise InputError(f"{place}.kind: there is no kind of head `{head.kind}`; {hint}")
        found.append(kinds[head.kind](head, place))
    return tuple(found)
