"""Edges: pairs of pictures that are alike, with how much, and by what they were found."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.table.arrays import Flags, from_flags, from_numbers

KINDS = ("bytes", "pixels", "phash", "aligned", "vector")
"""The most reliable first."""
PROPOSED, UNCHECKED = "proposed", "unchecked"
"""In place of a kind: still to be aligned; not reached by the budget."""
FOUND, MISSED = 1, 2
"""Marks of the true pairs of sampled rows: the search found it, or missed it and got it added."""
Indices = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float32]

EDGE = pa.struct(
    [
        ("uid", pa.string()), ("shard", pa.int32()), ("kind", pa.string()),
        ("similarity", pa.float32()), ("colour", pa.float32()), ("turned", pa.bool_()),
        ("added", pa.float32()), ("other_added", pa.float32()),
    ]
)  # fmt: skip
CHECK = pa.struct([("uid", pa.string()), ("mark", pa.string())])
"""A pair that was laid on each other."""


@dataclass(frozen=True)
class Found:
    """Edges of one kind between rows of a table, one entry each."""

    kind: str
    left: Indices
    right: Indices
    similarity: Numbers
    colour: Numbers
    turned: Flags
    """Whether one of the two is mirrored, or turned by a quarter."""

    @classmethod
    def equal(cls, kind: str, classes: Indices) -> "Found":
        """An edge from each row to the first of its class (−1: none), with similarity 1."""
        rows = np.flatnonzero(classes >= 0)
        _, first, own = np.unique(classes[rows], return_index=True, return_inverse=True)
        leader = rows[first[own.reshape(-1)]]
        later = leader != rows
        ones = np.ones(int(later.sum()), np.float32)
        return cls(kind, leader[later], rows[later], ones, ones, ones < 1)

    def among(self, rows: Indices) -> "Found":
        """The same edges, if the members are places in `rows`."""
        left, right = rows[self.left], rows[self.right]
        return replace(self, left=np.minimum(left, right), right=np.maximum(left, right))


def tabled(found: list[Found]) -> pa.Table:
    """`left`, `right`, `kind`, `similarity`, `colour`, `turned`: each pair once, with its most
    reliable kind and its greatest similarity in that."""
    found = [Found.equal("bytes", np.zeros(0, np.int64)), *found]
    left, right = (np.concatenate([getattr(f, side) for f in found]) for side in ("left", "right"))
    similarity = np.concatenate([f.similarity for f in found]).astype(np.float32)
    colour = np.concatenate([f.colour for f in found]).astype(np.float32)
    turned = np.concatenate([f.turned for f in found])
    kind = np.repeat(np.arange(len(found)), [len(f.left) for f in found])
    order = np.lexsort((-similarity, kind, right, left))
    left, right = left[order], right[order]
    first = is_first(left, right)
    kept = order[first]
    names = pa.array([f.kind for f in found], pa.string())
    return pa.table(
        {
            "left": from_numbers(left[first]),
            "right": from_numbers(right[first]),
            "kind": names.take(from_numbers(kind[kept])),
            "similarity": from_numbers(similarity[kept]),
            "colour": from_numbers(colour[kept]),
            "turned": from_flags(turned[kept]),
        }
    )


def is_first(left: Indices, right: Indices) -> Flags:
    """Of pairs in order, those that are not as the one before."""
    first = np.ones(len(left), bool)
    first[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return first
