"""Groups of repeats: a leader, the row with the smallest uid, and the rows that are like it.

Rows with identical bytes form one class, and only classes are compared: the most common picture of
a crawl, found a hundred thousand times, costs one comparison and not five billion.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.measure.dedup.neighbours import Pairs

Rows = npt.NDArray[np.int64]


def classes_of(keys: npt.NDArray[np.uint8]) -> tuple[Rows, Rows]:
    """Rows of bytes (rows, width) to the class of each, shape (rows,), and a row of each class."""
    if len(keys) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    words = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel()
    _, first, classes = np.unique(words, return_index=True, return_inverse=True)
    return classes.reshape(-1).astype(np.int64), first.astype(np.int64)


@dataclass(frozen=True)
class Likeness:
    """One kind of likeness: the class of each row (−1: not compared), and pairs of near classes."""

    classes: Rows
    pairs: Pairs

    @property
    def size(self) -> int:
        return int(self.classes.max(initial=-1)) + 1

    @cached_property
    def _members(self) -> tuple[Rows, Rows]:
        order = np.argsort(self.classes, kind="stable")
        return order, np.searchsorted(self.classes[order], np.arange(self.size + 1))

    @cached_property
    def _near(self) -> tuple[Rows, npt.NDArray[np.float32], Rows]:
        left, right, similarity = self.pairs
        start, end = np.concatenate([left, right]), np.concatenate([right, left])
        order = np.lexsort((end, start))
        bounds = np.searchsorted(start[order], np.arange(self.size + 1))
        return end[order], np.concatenate([similarity, similarity])[order], bounds

    def members(self, one: int) -> Rows:
        """Rows of a class, ascending."""
        order, bounds = self._members
        return order[bounds[one] : bounds[one + 1]]

    def near(self, one: int) -> Iterator[tuple[int, float]]:
        """The class itself and those near it, with their similarity."""
        yield one, 1.0
        ends, similarity, bounds = self._near
        part = slice(bounds[one], bounds[one + 1])
        yield from zip(ends[part].tolist(), similarity[part].tolist(), strict=True)

    def has_neighbours(self) -> npt.NDArray[np.bool_]:
        """Rows that are like any other, shape (rows,)."""
        shared = np.bincount(self.classes[self.classes >= 0], minlength=self.size) > 1
        shared[self.pairs[0]] = True
        shared[self.pairs[1]] = True
        return np.append(shared, False)[self.classes]


def solve(
    rows: int, likenesses: Sequence[Likeness]
) -> tuple[Rows, npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Leader (−1: no group), similarity and kind (its index in `likenesses`, most reliable first).

    Rows are visited in uid order: a row without a leader becomes the leader of all rows like it
    that have none.
    """
    leader = np.full(rows, -1, np.int64)
    similarity = np.full(rows, np.nan, np.float32)
    kinds = np.full(rows, -1, np.int8)
    visited = [np.zeros(likeness.size, bool) for likeness in likenesses]
    candidates = np.zeros(rows, bool)
    for likeness in likenesses:
        candidates |= likeness.has_neighbours()
    for row in np.flatnonzero(candidates).tolist():
        if leader[row] >= 0:
            continue
        best: tuple[int, float] | None = None
        for kind, likeness in enumerate(likenesses):
            own = likeness.classes[row]
            for one, near in likeness.near(own) if own >= 0 else ():
                if visited[kind][one]:
                    continue
                # All free rows of the near class join now, so it need not be visited again.
                visited[kind][one] = True
                members = likeness.members(one)
                free = members[(leader[members] < 0) & (members != row)]
                leader[free], similarity[free], kinds[free] = row, near, kind
                if len(free) and (best is None or (kind, -near) < (best[0], -best[1])):
                    best = kind, near
        if best is not None:
            leader[row], (kinds[row], similarity[row]) = row, best
    return leader, similarity, kinds
