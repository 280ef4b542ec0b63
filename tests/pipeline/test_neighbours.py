"""Near pairs, compared with a search over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.measure.dedup import neighbours
from pipeline.measure.dedup.neighbours import cosine_pairs, hamming_pairs


def flipped(rng: np.random.Generator, count: int, sources: int, most: int) -> np.ndarray:
    """Hashes of 256 bits: a few at random, and copies of them with up to `most` bits turned."""
    base = rng.integers(0, 256, (sources, 32), np.uint8)
    bits = np.unpackbits(base[rng.integers(0, sources, count)], axis=1)
    for row in bits:
        row[rng.choice(256, rng.integers(0, most + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def clouds(rng: np.random.Generator, count: int, sources: int, noise: float) -> np.ndarray:
    """Normalised vectors about a few centres."""
    centres = rng.normal(size=(sources, 24))
    points = centres[rng.integers(0, sources, count)] + noise * rng.normal(size=(count, 24))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(0, 40), st.integers(1, 6), st.integers(0, 64))
def test_hashes_within_a_distance_are_all_found(seed, count, sources, distance):
    hashes = flipped(np.random.default_rng(seed), count, sources, 40)
    left, right, similarity = hamming_pairs(hashes, distance)
    bits = np.unpackbits(hashes, axis=1).astype(int)
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    expected = [
        (a, b) for a in range(count) for b in range(a + 1, count) if apart[a, b] <= distance
    ]
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == expected
    assert similarity == pytest.approx([1 - apart[pair] / 256 for pair in expected])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(1, 60), st.integers(1, 6), st.floats(0.5, 0.99))
def test_vectors_above_a_cosine_are_all_found(seed, count, sources, similarity):
    vectors = clouds(np.random.default_rng(seed), count, sources, 0.2)
    left, right, cosine = cosine_pairs(vectors, similarity)
    exact = np.einsum("ad,bd->ab", vectors.astype(float), vectors.astype(float))
    found = dict(zip(zip(left.tolist(), right.tolist(), strict=True), cosine, strict=True))
    for a in range(count):
        for b in range(a + 1, count):
            if abs(exact[a, b] - similarity) > 1e-6:  # float32 rounding may decide at the threshold
                assert ((a, b) in found) == (exact[a, b] > similarity)
    for pair, value in found.items():
        assert value == pytest.approx(exact[pair], abs=1e-5)


def test_pairs_just_below_the_threshold_are_not_found(monkeypatch: pytest.MonkeyPatch):
    """The index is searched with a lower threshold; the exact product decides."""
    turn = np.arccos([1.0, 0.9505, 0.9495])
    vectors = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    left, right, _ = cosine_pairs(vectors, 0.95)
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == [(0, 1), (1, 2)]


def test_more_queries_than_a_batch(monkeypatch: pytest.MonkeyPatch):
    vectors = clouds(np.random.default_rng(0), 100, 5, 0.2)
    whole = cosine_pairs(vectors, 0.9)
    hashes = flipped(np.random.default_rng(0), 100, 5, 9)
    pairs = hamming_pairs(hashes, 12)
    assert len(pairs[0]) > 100
    monkeypatch.setattr(neighbours, "_QUERIES", 7)
    for got, expected in zip(cosine_pairs(vectors, 0.9), whole, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    for got, expected in zip(hamming_pairs(hashes, 12), pairs, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_inverted_file_finds_no_wrong_pair_and_misses_few(monkeypatch: pytest.MonkeyPatch):
    vectors = clouds(np.random.default_rng(1), 2_000, 300, 0.05)
    exact = set(zip(*map(np.ndarray.tolist, cosine_pairs(vectors, 0.95)[:2]), strict=True))
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 0)
    first, again = cosine_pairs(vectors, 0.95), cosine_pairs(vectors, 0.95)
    found = set(zip(*map(np.ndarray.tolist, first[:2]), strict=True))
    assert found <= exact
    assert len(found) > 0.95 * len(exact) > 1_000
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
