"""Pairs that are near: Hamming distance of binary hashes, cosine of vectors, both by FAISS."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.words.heartbeat import beat

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""First and second member (first < second) and their similarity, one entry per pair."""

NO_PAIRS: Pairs = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

EXACT_BELOW = 20_000
"""Number of vectors up to which all pairs are compared; above, an inverted file proposes them."""
_QUERIES = 1024


def _unpack(
    lims: npt.NDArray[Any], labels: npt.NDArray[np.int64], first: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    # FAISS gives `lims` as uint64; its differences must be signed for np.repeat.
    ends: npt.NDArray[np.int64] = lims.astype(np.int64)
    counts = ends[1:] - ends[:-1]
    queries = np.repeat(np.arange(first, first + len(counts), dtype=np.int64), counts)
    return queries, labels.astype(np.int64)


def hamming_pairs(hashes: npt.NDArray[np.uint8], distance: int) -> Pairs:
    """Pairs of rows (n, bytes) that differ in at most `distance` bits; similarity 1 − bits/all."""
    import faiss

    bits = hashes.shape[1] * 8
    index = faiss.IndexBinaryFlat(bits)
    index.add(np.ascontiguousarray(hashes))
    found = []
    for start in range(0, len(hashes), _QUERIES):
        beat()
        batch = np.ascontiguousarray(hashes[start : start + _QUERIES])
        lims, distances, labels = index.range_search(batch, distance + 1)
        left, right = _unpack(lims, labels, start)
        keep = left < right
        near = (distances[keep] <= distance).nonzero()[0]
        found.append((left[keep][near], right[keep][near], 1 - distances[keep][near] / bits))
    return _concatenate(found)


def cosine_pairs(vectors: npt.NDArray[np.float32], similarity: float) -> Pairs:
    """Pairs of normalised rows (n, dim) whose cosine is at least `similarity`.

    Every pair found is checked by an exact product, so that an approximate index can miss a pair
    but never invent one.
    """
    import faiss

    n, dim = vectors.shape
    vectors = np.ascontiguousarray(vectors, np.float32)
    index: Any
    if n <= EXACT_BELOW:
        index = faiss.IndexFlatIP(dim)
    else:
        lists = int(2 ** np.ceil(np.log2(4 * np.sqrt(n))))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim), dim, lists,
            faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT,
        )  # fmt: skip
        index.train(vectors[np.random.default_rng(0).permutation(n)[: 64 * lists]])
        index.nprobe = 8
    index.add(vectors)
    found = []
    for start in range(0, n, _QUERIES):
        # Searched with a slightly lower threshold, because the exact product decides.
        beat()
        batch = vectors[start : start + _QUERIES]
        lims, _, labels = index.range_search(batch, similarity - 1e-3)
        left, right = _unpack(lims, labels, start)
        for a, b in _blocks(left[left < right], right[left < right]):
            cosine = np.einsum("nd,nd->n", vectors[a], vectors[b])
            near = cosine >= similarity
            found.append((a[near], b[near], cosine[near]))
    return _concatenate(found)


def _blocks(
    left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], size: int = 65_536
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    for start in range(0, len(left), size):
        yield left[start : start + size], right[start : start + size]


def _concatenate(found: list[Pairs]) -> Pairs:
    if not found:
        return NO_PAIRS
    left, right, similarity = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((right, left))
    return left[order], right[order], similarity[order].astype(np.float32)
