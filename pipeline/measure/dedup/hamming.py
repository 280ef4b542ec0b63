"""Near binary hashes among many, exactly: multi-index hashing (Norouzi, Punjani and Fleet, 2014).

A hash of 256 bits is cut into 16 words. Two hashes that differ in at most 31 bits differ in at most
one bit in one of these words (else it would be two in each of 16). So for each of the 16 words the
hashes are sorted by it, and each is compared with those of the same word and of the words that
differ in a bit. Of random hashes that is one pair in 500.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.measure.dedup.edges import Indices
from pipeline.measure.dedup.neighbours import NO_PAIRS, Pairs, best_of
from pipeline.words.heartbeat import beat
from pipeline.words.threads import worker_threads

BITS, TABLES, WIDTH = 256, 16, 16
EXACT_BELOW = 4_000
"""Hashes up to which all pairs are compared."""
_AT_ONCE = 2**20
"""Pairs that a thread compares at once."""
_BLOCK = 256
Near = tuple[Indices, Indices, npt.NDArray[np.int16]]
"""Rows asked, rows found, and the bits in which they differ."""
Words = npt.NDArray[np.uint64]


class Hamming:
    """Hashes, uint8 of shape (rows, 32), to look up those that differ in few bits."""

    def __init__(self, hashes: npt.NDArray[np.uint8], distance: int) -> None:
        self._hashes, self._distance = _words(hashes), distance
        self._masks = [
            sum(1 << bit for bit in bits)
            for flips in range(distance // TABLES + 1)
            for bits in combinations(range(WIDTH), flips)
        ]

    def pairs(self) -> Pairs:
        """Pairs of rows (first < second), in order, and their similarity: 1 − bits/256."""
        left, right, similarity = self._search(self._hashes, is_own=True)
        return best_of([(np.minimum(left, right), np.maximum(left, right), similarity)])

    def matches(self, asked: npt.NDArray[np.uint8]) -> Pairs:
        """The same of other hashes: their rows in `asked`, the rows near to them, in order."""
        return best_of([self._search(_words(asked), is_own=False)])

    def _search(self, asked: Words, *, is_own: bool) -> Pairs:
        few = len(self._hashes) <= EXACT_BELOW
        ones = self._all(asked) if few else self._by_words(asked, is_own)
        found = list(ones)
        if not found:
            return NO_PAIRS
        left, right, bits = (np.concatenate(part) for part in zip(*found, strict=True))
        if is_own:
            keep = left != right
            left, right, bits = left[keep], right[keep], bits[keep]
        return left.astype(np.int64), right.astype(np.int64), (1 - bits / BITS).astype(np.float32)

    def _all(self, asked: Words) -> Iterator[Near]:
        for start in range(0, len(asked), _BLOCK):
            beat()
            block = asked[start : start + _BLOCK, None]
            bits = np.bitwise_count(block ^ self._hashes[None]).sum(axis=2, dtype=np.int16)
            a, b = np.nonzero(bits <= self._distance)
            yield a + start, b, np.asarray(bits[a, b], np.int16)

    def _by_words(self, asked: Words, is_own: bool) -> Iterator[Near]:
        with ThreadPoolExecutor(worker_threads()) as pool:
            for table in range(TABLES):
                beat()
                theirs = _Sorted.of(self._hashes, table)
                own = theirs if is_own else _Sorted.of(asked, table)
                work = partial(_near, own, theirs, table, self._distance, is_own)
                for found in pool.map(work, self._masks):
                    yield from found


class _Sorted:
    """Hashes in the order of one of their 16-bit words."""

    def __init__(self, rows: npt.NDArray[np.int64], keys: npt.NDArray[np.uint16], words: Words):
        self.rows = rows
        self.keys = keys
        self.words = words
        """Shape (4, rows)."""
        self.starts = np.zeros(2**WIDTH + 1, np.int64)
        np.cumsum(np.bincount(keys, minlength=2**WIDTH), out=self.starts[1:])

    @classmethod
    def of(cls, hashes: Words, table: int) -> "_Sorted":
        word, shift = divmod(table * WIDTH, 64)
        keys = (hashes[:, word] >> np.uint64(shift)).astype(np.uint16)
        order = np.argsort(keys, kind="stable")
        return cls(order, keys[order], np.ascontiguousarray(hashes[order].T))


def _near(
    own: _Sorted, theirs: _Sorted, table: int, distance: int, is_own: bool, mask: int
) -> list[Near]:
    """Pairs whose word differs in just the bits of `mask`: rows, rows, bits."""
    asked = np.arange(len(own.keys))
    if is_own and mask:  # each pair once: from the side on which the lowest of the bits is 0
        asked = np.flatnonzero(own.keys & np.uint16(mask & -mask) == 0)
    keys = own.keys[asked] ^ np.uint16(mask)
    first, last = theirs.starts[keys], theirs.starts[keys.astype(np.int64) + 1]
    if is_own and not mask:
        first = asked + 1
    counts = np.maximum(last - first, 0)
    ends = np.cumsum(counts)
    found: list[Near] = []
    start = 0
    # The two words of 64 bits that this one of 16 is not in tell nearly all pairs apart.
    order = [(table // 4 + step) % 4 for step in (1, 2, 3, 0)]
    while start < len(asked):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + _AT_ONCE, "right")), start + 1)
        part = counts[start:stop]
        total = int(part.sum())
        if total:
            left = np.repeat(asked[start:stop], part)
            offset = first[start:stop] - (ends[start:stop] - part - before)
            right = np.arange(total) + np.repeat(offset, part)
            bits = np.zeros(total, np.uint8)
            for one in order[:2]:
                bits += np.bitwise_count(own.words[one][left] ^ theirs.words[one][right])
            keep = np.flatnonzero(bits <= distance)
            left, right, near = left[keep], right[keep], bits[keep].astype(np.int16)
            for one in order[2:]:
                near += np.bitwise_count(own.words[one][left] ^ theirs.words[one][right])
            is_near = near <= distance
            found.append((own.rows[left[is_near]], theirs.rows[right[is_near]], near[is_near]))
        start = stop
    return found


def _words(hashes: npt.NDArray[np.uint8]) -> Words:
    return np.ascontiguousarray(hashes, np.uint8).view(np.uint64).reshape(-1, BITS // 64)
