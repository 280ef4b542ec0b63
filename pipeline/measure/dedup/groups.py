"""Groups of repeats: a centre, and the pictures that are like it.

Joining everything that a chain of edges connects would put pictures into one group that have
nothing in common: each step is small, their sum is not. So the graph is covered by stars (Aslam,
Pelekhov and Rus, "The Star Clustering Algorithm", 2004): the picture with the most and the nearest
neighbours is a centre and takes those that no other centre has; then the next one. The centre is
mostly the picture that the others were made from.

Equal rows are one place in the graph: the most common picture of a crawl, found a hundred thousand
times, costs no more than one that was found once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.measure.dedup.edges import Indices, Numbers, is_first


@dataclass(frozen=True)
class Edges:
    """Pairs of rows; `kind` is a number, the most reliable first."""

    left: Indices
    right: Indices
    kind: Indices
    similarity: Numbers
    colour: Numbers
    turned: npt.NDArray[np.bool_]

    @property
    def is_equal(self) -> npt.NDArray[np.bool_]:
        """Which join rows that cannot be told apart by what the kind compares."""
        equal: npt.NDArray[np.bool_] = (self.similarity >= 1) & (self.colour >= 1) & ~self.turned
        return equal

    @property
    def worth(self) -> npt.NDArray[np.float64]:
        """What each adds to the weight of both as a centre. Half, if one is mirrored or turned: of
        many copies most are as the original is."""
        half = np.where(self.turned, 0.5, 1.0)
        return self.similarity.astype(np.float64) * np.maximum(self.colour, 0) * half


@dataclass(frozen=True)
class Groups:
    """One entry a row."""

    leader: Indices
    """The first row of the centre; −1: the row is in no group."""
    similarity: Numbers
    """To the centre; the centre's own is that to its nearest."""
    kind: Indices


def solve(rows: int, edges: Edges) -> Groups:
    """The groups of rows that are in the order of their uids. Each edge joins other rows."""
    equal = edges.is_equal
    places = classes_of(rows, edges.left[equal], edges.right[equal])
    first = np.unique(places, return_index=True)[1]
    near = _between(places, edges, ~equal)
    weight = np.zeros(len(first), np.float64)
    np.add.at(weight, near.left, near.worth)
    np.add.at(weight, near.right, near.worth)
    centre, by = _stars(np.round(weight, 6), near)
    leader = np.where(centre[places] >= 0, first[centre[places]], -1)
    own_kind = _kinds_of_equals(rows, edges, equal)
    sizes = np.bincount(places, minlength=len(first))
    leader = np.where((leader < 0) & (sizes[places] > 1), first[places], leader)
    similarity = np.where(leader < 0, np.nan, 1.0).astype(np.float32)
    kind = own_kind.copy()
    through = by[places]
    joined = through >= 0
    similarity[joined], kind[joined] = near.similarity[through[joined]], near.kind[through[joined]]
    # The centre's rows: equal ones are nearer than any neighbour.
    inner = joined & (centre[places] == places) & (own_kind >= 0)
    similarity[inner], kind[inner] = 1.0, own_kind[inner]
    return Groups(leader, similarity, kind)


def classes_of(rows: int, left: Indices, right: Indices) -> Indices:
    """The class of each row that the edges join, numbered by their first rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(rows, rows))
    _, labels = connected_components(graph, directed=False)
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes.reshape(-1)]


def _between(places: Indices, edges: Edges, which: npt.NDArray[np.bool_]) -> Edges:
    """The edges between classes: each pair once, with its nearest edge of the best kind."""
    a, b = places[edges.left[which]], places[edges.right[which]]
    left, right = np.minimum(a, b), np.maximum(a, b)
    kind, similarity, colour = edges.kind[which], edges.similarity[which], edges.colour[which]
    order = np.lexsort((-colour, -similarity, kind, right, left))
    left, right = left[order], right[order]
    keep = (left != right) & is_first(left, right)
    order = order[keep]
    turned = edges.turned[which][order]
    return Edges(left[keep], right[keep], kind[order], similarity[order], colour[order], turned)


def _stars(weight: npt.NDArray[np.float64], near: Edges) -> tuple[Indices, Indices]:
    """The centre of each class (−1: no group), and the edge through which it joined; for a centre
    that of its nearest."""
    count = len(weight)
    centre, by = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    start, end = np.concatenate([near.left, near.right]), np.concatenate([near.right, near.left])
    number = np.tile(np.arange(len(near.left)), 2)
    order = np.lexsort((end, start))
    end, number = end[order], number[order]
    bounds = np.searchsorted(start[order], np.arange(count + 1))
    joined = np.flatnonzero(np.diff(bounds))
    for one in joined[np.lexsort((joined, -weight[joined]))].tolist():
        if centre[one] >= 0:
            continue
        part = slice(bounds[one], bounds[one + 1])
        free = centre[end[part]] < 0
        others, through = end[part][free], number[part][free]
        if len(others) == 0:
            continue
        centre[one], centre[others] = one, one
        by[others] = through
        by[one] = through[np.lexsort((others, -near.similarity[through], near.kind[through]))[0]]
    return centre, by


def _kinds_of_equals(rows: int, edges: Edges, equal: npt.NDArray[np.bool_]) -> Indices:
    """The best kind among each row's edges to equal rows; −1: it has none."""
    best = np.full(rows, np.iinfo(np.int64).max)
    for ends in (edges.left[equal], edges.right[equal]):
        np.minimum.at(best, ends, edges.kind[equal])
    return np.where(best == np.iinfo(np.int64).max, -1, best)
