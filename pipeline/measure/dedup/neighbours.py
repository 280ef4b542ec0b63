"""Pairs of near vectors, and how many of them a search misses."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.measure.dedup.cells import Cells, nearest, pairs_above
from pipeline.measure.dedup.edges import FOUND, MISSED, Indices, is_first
from pipeline.measure.dedup.stored import Vectors
from pipeline.words.heartbeat import beat

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""First and second member (first < second) and their similarity, one entry per pair."""

Marked = tuple[Indices, Indices, npt.NDArray[np.float32], npt.NDArray[np.int8]]
"""Pairs with a mark: of no sampled row, `FOUND` by the search, or `MISSED` by it and added."""
SAMPLED = 256
"""Rows whose exact neighbours the search is held against."""
NO_PAIRS: Pairs = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

EXACT_BELOW = 20_000
"""Number of vectors up to which all pairs are compared; above, only within cells."""
_QUERIES = 1024
_MOST_NEAR = 1000


@dataclass(frozen=True)
class SearchPlan:
    """How vectors are searched, as `dedup.cells` and `dedup.cells_searched` have it."""

    cells: int | None = None
    """Null: by the number of vectors."""
    cells_searched: int = 4

    def count(self, rows: int) -> int:
        """The number of cells for so many vectors; 1: all pairs are compared."""
        if self.cells is not None:
            return min(self.cells, max(rows, 1))
        return round(math.sqrt(self.cells_searched * rows)) if rows > EXACT_BELOW else 1

    def describe(self, rows: int) -> str:
        """In words, how near vectors of so many rows are found."""
        count = self.count(rows)
        if count == 1:
            return f"all pairs of {rows:,} vectors are compared"
        return (
            f"{rows:,} vectors are divided into {count:,} cells and compared with those of the "
            f"nearest {min(self.cells_searched, count)}; {SAMPLED} are compared with all, to tell "
            "what is missed"
        )

    def cells_of(self, vectors: Vectors) -> Cells:
        """The vectors in their cells."""
        return Cells.of(vectors, self.count(vectors.shape[0]), self.cells_searched)


def cosine_pairs(vectors: Vectors, plan: SearchPlan, similarity: float) -> Pairs:
    """Pairs of rows whose cosine is at least `similarity`, but for those beyond the 1,000 nearest
    of a row in a cell. Every pair found is an exact product."""
    return best_of(list(pairs_above(vectors, plan.cells_of(vectors), similarity, _MOST_NEAR)))


def nearest_pairs(vectors: Vectors, plan: SearchPlan, count: int, similarity: float) -> Pairs:
    """Pairs of rows of which one is among the `count` nearest of the other, with a cosine of at
    least `similarity`."""
    return best_of(list(nearest(vectors, plan.cells_of(vectors), count, similarity)))


def marked(
    vectors: Vectors, plan: SearchPlan, found: Pairs, least: float, count: int | None = None
) -> Marked:
    """`found` and what it lacks of the exact pairs of 256 rows: all with a cosine of at least
    `least`, or each row's `count` nearest of them."""
    rows = vectors.shape[0]
    if plan.count(rows) == 1:
        return (*found, np.zeros(len(found[0]), np.int8))
    # In the order of uids, which are hashes: a random sample.
    asked = np.unique(np.linspace(0, rows - 1, SAMPLED).astype(np.int64))
    left, right, cosine = _exact(vectors, asked, least, count)
    missed = ~np.isin(left * rows + right, found[0] * rows + found[1])
    is_sampled = np.isin(found[0] * rows + found[1], left * rows + right)
    marks = np.concatenate([is_sampled * FOUND, np.full(int(missed.sum()), MISSED)])
    return (*joined([found, (left[missed], right[missed], cosine[missed])]), marks.astype(np.int8))


def _exact(vectors: Vectors, asked: Indices, least: float, count: int | None) -> Pairs:
    """The near pairs of the rows `asked`, of which all others are looked at."""
    own, near = vectors.take(asked), []
    for start in range(0, vectors.shape[0], _QUERIES):
        beat()
        cosine = own @ vectors.slice(start, start + _QUERIES).T
        a, b = np.nonzero(cosine >= least)
        other = b + start
        keep = asked[a] != other
        near.append((a[keep], other[keep], cosine[a, b][keep]))
    a, other, cosine = joined(near)
    if count is not None:
        order = np.lexsort((-cosine, a))
        a, other, cosine = a[order], other[order], cosine[order]
        starts = np.searchsorted(a, np.arange(len(asked)))
        first = np.arange(len(a)) - starts[a] < count
        a, other, cosine = a[first], other[first], cosine[first]
    return best_of([(np.minimum(asked[a], other), np.maximum(asked[a], other), cosine)])


def joined(found: list[Pairs]) -> Pairs:
    """All pairs one after the other."""
    if not found:
        return NO_PAIRS
    left, right, similarity = (np.concatenate(part) for part in zip(*found, strict=True))
    return left, right, similarity


def best_of(found: list[Pairs]) -> Pairs:
    """The pairs of all, in order, each once, with its greatest similarity."""
    left, right, similarity = joined(found)
    order = np.lexsort((-similarity, right, left))
    left, right = left[order], right[order]
    first = is_first(left, right)
    return left[first], right[first], similarity[order][first].astype(np.float32)
