"""Pairs of pictures that may show the same, by vectors that were made for something else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.measure.dedup.neighbours import (
    NO_PAIRS,
    Marked,
    SearchPlan,
    marked,
    nearest_pairs,
)
from pipeline.measure.dedup.stored import Vectors, new_array, normalised, release
from pipeline.words.heartbeat import beat

LEAST_ROWS = 256
"""Vectors from which on their covariance is estimated."""
_SAMPLE, _WIDTH, _AT_ONCE = 20_000, 256, 16_384
_LINE = 0.2
"""Least cosine of whitened vectors. Of a hard kind, screenshots, nine in ten lie above it."""


@dataclass(frozen=True)
class Whitening:
    """Vectors on their 256 main axes, each divided by the root of its deviation, and normalised.

    Networks give any two pictures much in common. Without that, and with less of what varies most
    (half of a whitening; Jégou and Chum, 2012), copies stand out.
    """

    centre: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]

    @classmethod
    def of(cls, vectors: npt.NDArray[Any]) -> "Whitening":
        """By the first 20,000 of the vectors (rows, dim): in the order of uids, which are hashes,
        these are a random sample."""
        sample = np.asarray(vectors[:_SAMPLE], np.float64)
        mean = sample.mean(axis=0)
        values, axes = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
        last = slice(-min(_WIDTH, vectors.shape[1]), None)
        scale = np.maximum(values[last], values[-1] * 1e-6) ** 0.25
        return cls(mean.astype(np.float32), (axes[:, last] / scale).astype(np.float32))

    def apply(self, vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Vectors (rows, dim) to float32 of length 1, shape (rows, 256 or less)."""
        return normalised((vectors.astype(np.float32) - self.centre) @ self.projection)


def whitened(vectors: npt.NDArray[Any], scratch: Path | None = None) -> npt.NDArray[np.float16]:
    """The vectors (rows, dim) by their own whitening; many of them in a file of the folder
    `scratch`."""
    whitening = Whitening.of(vectors)
    found = new_array((len(vectors), whitening.projection.shape[1]), scratch, "whitened")
    for start in range(0, len(vectors), _AT_ONCE):
        beat()
        part = slice(start, start + _AT_ONCE)
        found[part] = whitening.apply(vectors[part])
    release(vectors)
    release(found)
    return found


def propose(
    vectors: npt.NDArray[np.float16], plan: SearchPlan, count: int, scratch: Path | None = None
) -> Marked:
    """The `count` nearest of each row (rows, dim), nearest first.

    Of fewer than 256 rows all pairs among the nearest are proposed, as their covariance is unknown.
    """
    if len(vectors) < 2 or vectors.shape[1] == 0:
        return (*NO_PAIRS, np.zeros(0, np.int8))
    if len(vectors) < LEAST_ROWS:
        near, line = Vectors(vectors), -1.0
    else:
        near, line = Vectors(whitened(vectors, scratch)), _LINE
    found = marked(near, plan, nearest_pairs(near, plan, count, line), line, count)
    # Rounded, as the last digits of a product depend on the number of threads.
    left, right, cosine, marks = found[0], found[1], np.round(found[2], 4), found[3]
    order = np.lexsort((right, left, -cosine))
    return left[order], right[order], cosine[order], marks[order]
