"""Whether a proposed pair of small pictures shows the same, as an edge."""

import functools
from typing import Any

from pipeline.measure.dedup.alignment import Alignment, Sketch, align, sketch

_KEPT = 512
"""Sketches that a process keeps, about half a megabyte each with their mirror images."""
_WHOLE, _PLAIN, _LEAST = 0.95, 0.45, 0.03
"""The share of one picture that the other shows so that it counts as all of it; the share of the
commonest colour of what is then around it so that this was added; and its least share."""


@functools.lru_cache(maxsize=_KEPT)
def _sketch(jpeg: bytes) -> Sketch:
    return sketch(jpeg)


def check(pair: tuple[bytes, bytes], floor: float) -> dict[str, Any] | None:
    """The edge of two pictures made by `alignment.small`; None if they are not alike."""
    found = align(*(_sketch(jpeg) for jpeg in pair))
    if found is None or found.similarity < floor:
        return None
    added, other_added = _added(found)
    return {
        "kind": "aligned", "similarity": found.similarity, "colour": found.colour,
        "turned": found.is_mirrored,
        "added": added, "other_added": other_added,
    }  # fmt: skip


def _added(found: Alignment) -> tuple[float, float]:
    """What share of each picture was added around the other one."""
    around = (
        (1 - found.share_first, found.plain_first),
        (1 - found.share_second, found.plain_second),
    )
    first, second = (
        share if share >= _LEAST and plain >= _PLAIN else 0.0 for share, plain in around
    )
    return (first if found.share_second >= _WHOLE else 0.0), (
        second if found.share_first >= _WHOLE else 0.0
    )
