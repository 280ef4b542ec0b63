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
_TABLES = 16
"""Tables of a multi-index, of 16 bits each: two hashes of at most 16·(k + 1) − 1 bits apart differ
in at most k bits in one of them (Norouzi et al., 2014)."""


def _unpack(
    lims: npt.NDArray[Any], labels: npt.NDArray[np.int64], first: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    # FAISS gives `lims` as uint64; its differences must be signed for np.repeat.
    ends: npt.NDArray[np.int64] = lims.astype(np.int64)
    counts = ends[1:] - ends[:-1]
    queries = np.repeat(np.arange(first, first + len(counts), dtype=np.int64), counts)
    return queries, labels.astype(np.int64)


def hamming_pairs(
    hashes: npt.NDArray[np.uint8], distance: int, queries: npt.NDArray[np.uint8] | None = None
) -> Pairs:
    """Pairs of rows (n, 32) that differ in at most `distance` bits; similarity 1 − bits/256.

    With `queries` of the same shape the first member is one of these, the second one of `hashes`,
    in another row. Exact: up to 20,000 rows all pairs are compared, above by multi-index hashing.
    """
    import faiss

    bits = hashes.shape[1] * 8
    index: Any
    if len(hashes) <= EXACT_BELOW or bits != 16 * _TABLES or distance >= 3 * _TABLES:
        index = faiss.IndexBinaryFlat(bits)
    else:
        index = faiss.IndexBinaryMultiHash(bits, _TABLES, 16)
        index.nflip = distance // _TABLES
    index.add(np.ascontiguousarray(hashes))
    asked = hashes if queries is None else queries
    found = []
    for start, batch in _batches(asked):
        lims, distances, labels = index.range_search(batch, distance + 1)
        left, right = _unpack(lims, labels, start)
        keep = (left < right if queries is None else left != right) & (distances <= distance)
        found.append((left[keep], right[keep], 1 - distances[keep] / bits))
    return best_of(found)


def cosine_pairs(vectors: npt.NDArray[np.float32], similarity: float) -> Pairs:
    """Pairs of normalised rows (n, dim) whose cosine is at least `similarity`.

    Every pair found is checked by an exact product, so that an approximate index can miss a pair
    but never invent one.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    index = _index(vectors)
    found = []
    for start, batch in _batches(vectors):
        # Searched with a slightly lower threshold, because the exact product decides.
        lims, _, labels = index.range_search(batch, similarity - 1e-3)
        left, right = _unpack(lims, labels, start)
        for a, b in _blocks(left[left < right], right[left < right]):
            cosine = np.einsum("nd,nd->n", vectors[a], vectors[b])
            near = cosine >= similarity
            found.append((a[near], b[near], cosine[near]))
    return best_of(found)


def nearest_pairs(vectors: npt.NDArray[np.float32], count: int, similarity: float) -> Pairs:
    """Pairs of normalised rows (n, dim) of which one is among the `count` nearest of the other,
    with a cosine of at least `similarity`."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    index = _index(vectors)
    found = []
    for start, batch in _batches(vectors):
        cosine, labels = index.search(batch, min(count + 1, len(vectors)))
        left = np.repeat(np.arange(start, start + len(batch), dtype=np.int64), labels.shape[1])
        right, near = labels.ravel().astype(np.int64), cosine.ravel()
        keep = (right >= 0) & (right != left) & (near >= similarity)
        a, b = np.minimum(left, right)[keep], np.maximum(left, right)[keep]
        found.append((a, b, near[keep]))
    return best_of(found)


def normalised(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Rows (n, dim) as float32 of length 1: float16 is off by up to 1e-3, too much for thresholds
    near 1."""
    wide = vectors.astype(np.float32)
    wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)
    return wide


def _batches(rows: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Rows to search for at once, and the number of the first; with a sign of life for each."""
    for start in range(0, len(rows), _QUERIES):
        beat()
        yield start, np.ascontiguousarray(rows[start : start + _QUERIES])


def _index(vectors: npt.NDArray[np.float32]) -> Any:
    import faiss

    n, dim = vectors.shape
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
    return index


def _blocks(
    left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], size: int = 65_536
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    for start in range(0, len(left), size):
        yield left[start : start + size], right[start : start + size]


def best_of(found: list[Pairs]) -> Pairs:
    """The pairs of all, in order, each once, with its greatest similarity."""
    if not found:
        return NO_PAIRS
    left, right, similarity = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((-similarity, right, left))
    left, right = left[order], right[order]
    first = is_first(left, right)
    return left[first], right[first], similarity[order][first].astype(np.float32)


def is_first(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Of pairs in order, those that are not as the one before."""
    first = np.ones(len(left), bool)
    first[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return first
