"""Near vectors among many: each is compared with those of its nearest few cells.

The cells are those of a k-means over a sample. Each vector lies in its nearest cell and looks into
that one and the next nearest. The products within a cell are exact, so that a pair can be missed,
never invented. With k cells and m looked into, the work is n·k·d for the assignment and about
n·m·n/k·d within the cells, least for k = √(m·n).

Vectors are read by cells and blocks, from a file where there are many of them, so that the memory
does not grow with their number but for some 30 bytes of each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.measure.dedup.edges import Indices
from pipeline.measure.dedup.stored import Vectors
from pipeline.words.heartbeat import beat

_SAMPLED, _ITERATIONS = 48, 6
"""Vectors for each cell that the k-means sees, and its steps: more of either finds no more."""
_BLOCK, _PRODUCTS = 4096, 2**23
"""Vectors that are read at once, and products that are made at once."""


@dataclass(frozen=True)
class Cells:
    """Which cells each vector looks into, and which it lies in."""

    looked_into: npt.NDArray[np.int32]
    """Shape (rows, cells looked into): the nearest first, in which the vector lies."""
    count: int

    @classmethod
    def of(cls, vectors: Vectors, count: int, looked_into: int) -> "Cells":
        """The same for the same vectors in the same order."""
        import faiss

        rows, dim = vectors.shape
        count = min(count, rows)
        if count <= 1:
            return cls(np.zeros((rows, 1), np.int32), 1)
        means = faiss.Kmeans(
            dim, count, niter=_ITERATIONS, spherical=True, seed=1,
            max_points_per_centroid=_SAMPLED, min_points_per_centroid=1,
        )  # fmt: skip
        sample = np.random.default_rng(0).permutation(rows)[: _SAMPLED * count]
        means.train(vectors.take(np.sort(sample)))
        nearest: Any = faiss.IndexFlatIP(dim)
        nearest.add(means.centroids)
        found = np.zeros((rows, min(looked_into, count)), np.int32)
        for start in range(0, rows, _BLOCK):
            beat()
            block = vectors.slice(start, start + _BLOCK)
            found[start : start + len(block)] = nearest.search(block, found.shape[1])[1]
        return cls(found, count)

    def each(self) -> Iterator[tuple[Indices, Indices]]:
        """Of each cell the vectors that lie in it and those that look into it from others, both
        ascending."""
        inside = _grouped(self.looked_into[:, :1], self.count)
        outside = _grouped(self.looked_into[:, 1:], self.count)
        yield from zip(inside, outside, strict=True)


def _grouped(cells: npt.NDArray[np.int32], count: int) -> Iterator[Indices]:
    """The rows of each cell's entries (rows, entries a row), ascending."""
    order = np.argsort(cells, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(cells.ravel(), minlength=count))
    width = max(1, cells.shape[1])
    start = 0
    for end in ends.tolist():
        yield order[start:end] // width
        start = end


def pairs_above(
    vectors: Vectors, cells: Cells, least: float, most: int
) -> Iterator[tuple[Indices, Indices, npt.NDArray[np.float32]]]:
    """Pairs (first < second) whose cosine is at least `least`, some of them twice; of more than
    `most` such in a cell a vector's nearest."""
    for within, visitors in cells.each():
        inner = vectors.take(within)
        for rows in _blocks(np.concatenate([within, visitors]), len(within)):
            cosine = vectors.take(rows) @ inner.T
            cosine[rows[:, None] == within] = -1
            near = cosine >= least
            for row in np.flatnonzero(near.sum(axis=1) > most):
                kept = np.argpartition(-cosine[row], most)[:most]
                own = np.zeros(len(within), bool)
                own[kept] = True
                near[row] &= own
            a, b = np.nonzero(near)
            left, right = rows[a], within[b]
            yield np.minimum(left, right), np.maximum(left, right), cosine[a, b]


def nearest(
    vectors: Vectors, cells: Cells, count: int, least: float
) -> Iterator[tuple[Indices, Indices, npt.NDArray[np.float32]]]:
    """Pairs of each vector and its `count` nearest with a cosine of at least `least`; (first <
    second), some of them twice."""
    rows = vectors.shape[0]
    near = np.full((rows, count), -1, np.int32)
    cosine = np.full((rows, count), -2, np.float32)
    for within, visitors in cells.each():
        inner = vectors.take(within)
        for some in _blocks(np.concatenate([within, visitors]), len(within)):
            found = vectors.take(some) @ inner.T
            found[some[:, None] == within] = -2
            if found.shape[1] > count:
                best = np.argpartition(-found, count - 1, axis=1)[:, :count]
                found = np.take_along_axis(found, best, axis=1)
            else:
                best = np.broadcast_to(np.arange(found.shape[1]), found.shape)
            both = np.concatenate([cosine[some], found], axis=1)
            names = np.concatenate([near[some], within[best]], axis=1)
            kept = np.argsort(-both, axis=1, kind="stable")[:, :count]
            cosine[some] = np.take_along_axis(both, kept, axis=1)
            near[some] = np.take_along_axis(names, kept, axis=1)
    for start in range(0, rows, _BLOCK):
        part = slice(start, start + _BLOCK)
        a, b = np.nonzero(cosine[part] >= max(least, -1))
        left, right = a + start, near[part][a, b].astype(np.int64)
        yield np.minimum(left, right), np.maximum(left, right), cosine[part][a, b]


def _blocks(rows: Indices, others: int) -> Iterator[Indices]:
    """Parts of the rows whose products with so many others are held at once."""
    step = max(64, min(_BLOCK, _PRODUCTS // max(others, 1)))
    for start in range(0, len(rows), step):
        beat()
        yield rows[start : start + step]
