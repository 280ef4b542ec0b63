"""Near vectors and hashes among many, against a plain comparison of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.measure.dedup import hamming, neighbours, stored
from pipeline.measure.dedup.cells import Cells, nearest, pairs_above
from pipeline.measure.dedup.edges import FOUND, MISSED
from pipeline.measure.dedup.hamming import Hamming
from pipeline.measure.dedup.neighbours import (
    SearchPlan,
    best_of,
    cosine_pairs,
    marked,
    nearest_pairs,
)
from pipeline.measure.dedup.stored import Vectors, new_array, normalised


def clustered(rows: int, dim: int = 32, clusters: int = 50, seed: int = 0) -> np.ndarray:
    """Vectors about some centres, every tenth a near copy of another one."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (clusters, dim))
    found = centres[rng.integers(0, clusters, rows)] + rng.normal(0, 0.8, (rows, dim))
    copied = np.arange(0, rows, 10)
    of = (copied + 5) % rows
    found[copied] = found[of] + rng.normal(0, 0.08, (len(copied), dim))
    return found.astype(np.float16)


def exact(vectors: np.ndarray, least: float) -> dict[tuple[int, int], float]:
    wide = normalised(vectors)
    cosine = np.triu(wide @ wide.T, 1)
    left, right = np.nonzero(cosine >= least)
    return {(int(a), int(b)): float(cosine[a, b]) for a, b in zip(left, right, strict=True)}


def as_dict(pairs) -> dict[tuple[int, int], float]:
    return {(int(a), int(b)): float(c) for a, b, c in zip(*pairs, strict=True)}


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 1000), st.integers(1, 5))
def test_of_few_vectors_every_near_pair_is_found(rows, dim, seed, count):
    vectors = np.random.default_rng(seed).normal(0, 1, (rows, dim)).astype(np.float16)
    found = as_dict(cosine_pairs(Vectors(vectors), SearchPlan(), 0.5))
    assert found == pytest.approx(exact(vectors, 0.5), abs=1e-5)
    wide = normalised(vectors)
    cosine = wide @ wide.T
    np.fill_diagonal(cosine, -2)
    near = as_dict(nearest_pairs(Vectors(vectors), SearchPlan(), count, -1.0))
    assert len(near) <= rows * count
    for row in range(rows):
        own = sorted(
            (c for pair, c in near.items() if row in pair), reverse=True
        )[:count]  # fmt: skip
        assert own == pytest.approx(np.sort(cosine[row])[::-1][: min(count, rows - 1)], abs=1e-5)


def test_within_cells_hardly_a_near_pair_is_missed_and_none_invented():
    vectors = clustered(6000)
    cells = SearchPlan(155, 4).cells_of(Vectors(vectors))
    assert cells.count > 100
    truth = exact(vectors, 0.96)
    assert len(truth) > 500
    found = as_dict(best_of(list(pairs_above(Vectors(vectors), cells, 0.96, 1000))))
    assert set(found) <= set(truth)
    assert len(found) >= 0.995 * len(truth)
    near = as_dict(best_of(list(nearest(Vectors(vectors), cells, 5, 0.96))))
    assert set(near) <= set(truth)
    assert len(near) >= 0.995 * len(truth)


def test_each_vector_lies_in_one_cell_and_looks_into_others():
    cells = Cells.of(Vectors(clustered(3000)), 110, 4)
    within, visitors = zip(*cells.each(), strict=True)
    assert sorted(np.concatenate(within).tolist()) == list(range(3000))
    assert len(np.concatenate(visitors)) == 3000 * 3
    assert all(np.isin(v, w).sum() == 0 for v, w in zip(visitors, within, strict=True))


def test_the_plan_of_a_job_is_followed():
    vectors = Vectors(clustered(3000))
    assert SearchPlan().cells_of(vectors).count == 1
    assert SearchPlan(cells=1).count(10**6) == 1
    cells = SearchPlan(cells=40, cells_searched=3).cells_of(vectors)
    assert (cells.count, cells.looked_into.shape) == (40, (3000, 3))
    truth = set(exact(vectors.array, 0.8))
    found = [
        len(truth & set(as_dict(cosine_pairs(vectors, SearchPlan(200, searched), 0.8))))
        for searched in (1, 4, 300)
    ]
    assert found[0] < found[1] <= found[2] == len(truth)
    assert SearchPlan(cells=9000).cells_of(Vectors(clustered(50))).count == 50


def test_vectors_in_a_file_give_the_same_pairs(tmp_path, monkeypatch):
    """And their pages are given back between the blocks."""
    vectors = clustered(3000)
    monkeypatch.setattr(stored, "_IN_MEMORY", 0)
    monkeypatch.setattr(stored, "_HELD", 10_000)
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 100)
    filed = new_array(vectors.shape, tmp_path, "vectors")
    assert isinstance(filed, np.memmap)
    filed[:] = vectors
    assert as_dict(nearest_pairs(Vectors(filed), SearchPlan(), 3, 0.5)) == as_dict(
        nearest_pairs(Vectors(vectors), SearchPlan(), 3, 0.5)
    )
    assert new_array(vectors.shape, None, "x").base is None


def test_of_a_crowd_each_vector_keeps_its_nearest():
    """Thousands of nearly equal pictures would be millions of pairs."""
    rng = np.random.default_rng(1)
    crowd = (np.ones((300, 16)) + rng.normal(0, 1e-2, (300, 16))).astype(np.float16)
    cells = Cells(np.zeros((300, 1), np.int32), 1)
    found = as_dict(best_of(list(pairs_above(Vectors(crowd), cells, 0.9, 5))))
    assert len(found) <= 300 * 5
    truth = exact(crowd, 0.9)
    for row in range(300):
        best = max((c for pair, c in truth.items() if row in pair))
        assert max(c for pair, c in found.items() if row in pair) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("distance", [0, 15, 31, 47])
def test_near_hashes_are_all_found(distance, monkeypatch):
    monkeypatch.setattr(hamming, "EXACT_BELOW", 100)
    rng = np.random.default_rng(distance)
    bits = rng.random((1500, 256)) < 0.5
    for row in range(0, 1500, 3):
        flips = rng.permutation(256)[: rng.integers(0, 60)]
        bits[row] = bits[(row + 1) % 1500]
        bits[row, flips] ^= True
    away = (bits[:, None] != bits[None]).sum(axis=2)
    left, right = np.nonzero(np.triu(away <= distance, 1))
    hashes = np.packbits(bits, axis=1)
    found = as_dict(Hamming(hashes, distance).pairs())
    truth = {
        (a, b): 1 - away[a, b] / 256 for a, b in zip(left.tolist(), right.tolist(), strict=True)
    }
    assert found == pytest.approx(truth)
    asked = np.packbits(bits[:40], axis=1)
    matches = as_dict(Hamming(hashes, distance).matches(asked))
    assert set(matches) == {
        (a, b) for a, b in zip(*map(list, np.nonzero(away[:40] <= distance)), strict=True)
    }


def test_a_sample_tells_what_is_missed_and_gets_it_added(monkeypatch):
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 100)
    vectors = Vectors(clustered(3000))
    whole = nearest_pairs(vectors, SearchPlan(), 3, 0.5)
    assert (marked(vectors, SearchPlan(), whole, 0.5, 3)[3] != MISSED).mean() > 0.99
    half = [side[::2] for side in whole]
    left, right, cosine, marks = marked(vectors, SearchPlan(), (half[0], half[1], half[2]), 0.5, 3)
    truth = exact(vectors.array, 0.5)
    new = range(len(half[0]), len(left))
    assert len(new) > 100
    assert {int(mark) for mark in marks[len(half[0]) :]} == {MISSED}
    for i in new:
        pair = int(left[i]), int(right[i])
        assert cosine[i] == pytest.approx(truth[pair], abs=1e-5)
    share = (marks == FOUND).sum() / (marks > 0).sum()
    assert 0.35 < share < 0.65


def test_of_few_vectors_nothing_is_sampled():
    vectors = Vectors(clustered(300))
    found = nearest_pairs(vectors, SearchPlan(), 3, 0.5)
    assert set(marked(vectors, SearchPlan(), found, 0.5, 3)[3].tolist()) == {0}
