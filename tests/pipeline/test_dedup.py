"""Groups of duplicates: their leader, their members, and the kind of likeness."""

import io
import random
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from planned_run import fetched, jpeg, pairs

from pipeline.measure.dedup.dedup import near_hashes, same_bytes
from pipeline.measure.dedup.groups import Likeness, classes_of, solve

TINY = {"embed": {"model": "winnow-tiny"}}


def expected(rows: int, likenesses: list[Likeness]) -> tuple[list[int], list[int]]:
    """Leader and kind of each row by a plain implementation that compares every pair of rows."""

    def like(a: int, b: int) -> int:
        """The most reliable kind of likeness of two rows; −1: none."""
        for kind, (one, (left, right, _)) in enumerate((k, k.pairs) for k in likenesses):
            x, y = one.classes[a], one.classes[b]
            near = {(p, q) for p, q in zip(left, right, strict=True)}
            if min(x, y) >= 0 and (x == y or (x, y) in near or (y, x) in near):
                return kind
        return -1

    leader, kinds = [-1] * rows, [-1] * rows
    for row in range(rows):
        if leader[row] >= 0:
            continue
        free = [b for b in range(rows) if b != row and leader[b] < 0 and like(row, b) >= 0]
        if free:
            leader[row], kinds[row] = row, min(like(row, b) for b in free)
            for b in free:
                leader[b], kinds[b] = row, like(row, b)
    return leader, kinds


@st.composite
def likenesses(draw) -> tuple[int, list[Likeness]]:
    rows = draw(st.integers(0, 14))
    found = []
    for _ in range(draw(st.integers(0, 3))):
        codes = draw(st.lists(st.integers(-1, 9), min_size=rows, max_size=rows))
        known = sorted({code for code in codes if code >= 0})
        classes = np.array([known.index(c) if c >= 0 else -1 for c in codes], np.int64)
        all_pairs = [(a, b) for b in range(len(known)) for a in range(b)]
        chosen = draw(st.sets(st.sampled_from(all_pairs), max_size=8)) if all_pairs else set()
        left, right = (np.array([p[i] for p in sorted(chosen)], np.int64) for i in (0, 1))
        found.append(Likeness(classes, (left, right, np.full(len(left), 0.9, np.float32))))
    return rows, found


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(likenesses())
def test_groups_equal_those_of_a_plain_implementation(given_likenesses):
    rows, found = given_likenesses
    leader, similarity, kinds = solve(rows, found)
    expected_leader, expected_kinds = expected(rows, found)
    assert leader.tolist() == expected_leader
    assert kinds.tolist() == expected_kinds
    for row in range(rows):
        if leader[row] < 0:
            assert np.isnan(similarity[row])
        else:
            assert similarity[row] in (np.float32(0.9), 1)
            assert (
                leader[leader[row]] == leader[row] <= row
            )  # a leader is its own leader, and is first


def test_a_chain_of_small_steps_is_not_one_group():
    """1 is near 0 and 2, but 2 is not near 0: it is the leader of another group with 3."""
    steps = (np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([0.9, 0.95, 0.9], np.float32))
    leader, similarity, _ = solve(4, [Likeness(np.arange(4), steps)])
    assert leader.tolist() == [0, 0, 2, 2]
    assert similarity.tolist() == pytest.approx([0.9, 0.9, 0.9, 0.9])


@given(st.lists(st.binary(min_size=3, max_size=3), max_size=20))
def test_classes_are_equal_rows(cells):
    keys = np.frombuffer(b"".join(cells), np.uint8).reshape(len(cells), 3)
    classes, first = classes_of(keys)
    for a, one in zip(cells, classes, strict=True):
        for b, other in zip(cells, classes, strict=True):
            assert (a == b) == (one == other)
    assert [cells.index(cells[row]) for row in first] == first.tolist()


def test_identical_pictures_are_grouped_without_pairs():
    """A "not found" picture, found 100,000 times, would be five billion pairs of rows."""
    count = 100_000
    rows = pa.table(
        {
            "sha256": [f"{i:064x}" for i in range(count)],
            "phash": pa.array([b"\x0f" * 32] * count, pa.binary(32)),
            "phash_quality": pa.array([100] * count, pa.int32()),
        }
    )
    start = time.monotonic()
    hashes = near_hashes(rows, 24, 50)
    leader, similarity, kinds = solve(count, [same_bytes(rows), hashes])
    assert time.monotonic() - start < 10
    assert len(hashes.pairs[0]) == 0
    assert set(leader.tolist()) == {0}
    assert set(similarity.tolist()) == {1.0}
    assert set(kinds.tolist()) == {1}


def recompressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(jpeg(pixels, quality))))


def groups(planned) -> set[frozenset[str]]:
    """Groups as sets of captions."""
    found: dict[str, set[str]] = {}
    for caption, own in planned.read("dedup").items():
        if own["dup_group"] is not None:
            found.setdefault(own["dup_group"], set()).add(caption)
    return {frozenset(members) for members in found.values()}


def lay_by_caption(planned, pictures: dict[str, np.ndarray | None], **changes) -> None:
    for shard in planned.shards:
        captions = [row["caption"] for row in planned.rows(shard)]
        cells = {name: [v.get(c) for c in captions] for name, v in changes.items()}
        planned.commit_pictures(shard, [pictures[c] for c in captions], **cells)


def family(drawings) -> tuple[list[dict[str, str]], dict[str, np.ndarray | None]]:
    """Rows and pictures: 0 and 1 the same bytes, 2 recompressed, 3 a 404, the others different."""
    rows = pairs(8)
    kinds = [
        drawings[0], drawings[0], recompressed(drawings[0], 10), None, drawings[1], drawings[2],
        drawings[3], drawings[4],
    ]  # fmt: skip
    return rows, {row["caption"]: pixels for row, pixels in zip(rows, kinds, strict=True)}


@pytest.mark.parametrize("shard_size", [2, 3, 100])
def test_repeats_are_found_over_shards(plan_run, drawings, shard_size: int):
    rows, pictures = family(drawings)
    planned = plan_run(random.Random(shard_size).sample(rows, len(rows)), shard_size=shard_size)
    planned.make(*planned.caption_stages)
    lay_by_caption(planned, pictures)
    planned.make("dedup")
    same = [row["caption"] for row in rows[:3]]
    assert groups(planned) == {frozenset(same)}
    cells = planned.read("dedup")
    assert {cells[c]["dup_group"] for c in same} == {min(cells[c]["uid"] for c in same)}
    assert all(cells[c]["dup_sim"] > 0.9 for c in same)
    assert cells[rows[3]["caption"]] == {
        "uid": cells[rows[3]["caption"]]["uid"], "dup_group": None, "dup_sim": None,
        "dup_kind": None,
    }  # fmt: skip


def test_the_most_reliable_likeness_is_named(plan_run, drawings):
    rows, pictures = family(drawings)
    planned = plan_run(rows)
    planned.make(*planned.caption_stages)
    lay_by_caption(planned, pictures)
    planned.make("dedup")
    cells = planned.read("dedup")
    a, b, c = (cells[row["caption"]] for row in rows[:3])
    leader = min(a["uid"], b["uid"], c["uid"])
    if leader == c["uid"]:
        assert [a["dup_kind"], b["dup_kind"]] == ["phash", "phash"]
    else:
        assert [a["dup_kind"], b["dup_kind"]] == ["bytes", "bytes"]
        assert a["dup_sim"] == b["dup_sim"] == 1.0
        assert c["dup_kind"] == "phash"


@pytest.mark.parametrize(
    ("settings_", "size"),
    [
        ({"phash_distance": None}, 2), ({"bytes": False}, 3), ({"phash_distance": 0}, 2),
        ({"bytes": False, "phash_distance": None}, 0), ({"phash_quality": 100}, 2),
    ],
)  # fmt: skip
def test_each_likeness_can_be_turned_off(plan_run, drawings, settings_, size: int):
    rows, pictures = family(drawings)
    planned = plan_run(rows, dedup=settings_)
    planned.make(*planned.caption_stages)
    lay_by_caption(planned, pictures, phash_quality=dict.fromkeys(pictures, 99))
    planned.make("dedup")
    assert [len(members) for members in groups(planned)] == ([size] if size else [])


def test_flat_pictures_are_not_compared_by_hash(plan_run):
    """All white pages are alike, but they are not duplicates."""
    flat = [np.full((96, 96, 3), tone, np.uint8) for tone in (250, 251)]
    assert fetched(flat[0])["phash_quality"] < 50
    planned = plan_run(pairs(2))
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, flat)
    planned.make("dedup")
    assert groups(planned) == set()


def test_a_shard_with_only_failures_is_handled(plan_run):
    planned = plan_run(pairs(4), shard_size=2, **TINY)
    planned.make(*planned.caption_stages)
    for shard in planned.shards:
        planned.commit_pictures(shard, [None, None])
        planned.commit_vectors(shard, np.zeros((2, 0)), [None, None])
    planned.make("dedup")
    assert groups(planned) == set()


def unit(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=128)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("thumbnail_similarity", [0.95, None])
def test_near_vectors_must_have_similar_thumbnails(plan_run, drawings, thumbnail_similarity):
    """0 and 1: near vectors, similar pictures. 2 and 3: near vectors, different pictures."""
    rng = np.random.default_rng(0)
    a, b = unit(rng), unit(rng)
    near_a, near_b = (v + 0.01 * unit(rng) for v in (a, b))
    rows = pairs(5)
    vectors = dict(
        zip([r["caption"] for r in rows], [a, near_a, b, near_b, unit(rng)], strict=True)
    )
    pictures = [drawings[0], recompressed(drawings[0], 30), *drawings[1:4]]
    stored = dict(zip(vectors, pictures, strict=True))
    config = {"phash_distance": None, "thumbnail_similarity": thumbnail_similarity}
    planned = plan_run(rows, shard_size=2, dedup=config, **TINY)
    planned.make(*planned.caption_stages)
    lay_by_caption(planned, stored)
    for shard in planned.shards:
        captions = [row["caption"] for row in planned.rows(shard)]
        planned.commit_vectors(
            shard, np.stack([vectors[c] for c in captions]), [0.3] * len(captions)
        )
    planned.make("dedup")
    named = list(vectors)
    expected = {frozenset(named[:2])} | (
        {frozenset(named[2:4])} if not thumbnail_similarity else set()
    )
    assert groups(planned) == expected
    kinds = {own["dup_kind"] for own in planned.read("dedup").values()}
    assert kinds == {"vector", None}


def test_a_row_without_a_vector_is_compared_by_bytes_and_hash(plan_run, drawings):
    rows = pairs(3)
    planned = plan_run(rows, **TINY)
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [drawings[0], drawings[0], drawings[1]])
    vectors = np.stack([unit(np.random.default_rng(i)) for i in range(3)])
    planned.commit_vectors(0, vectors, [0.3, None, 0.3])
    planned.make("dedup")
    assert [len(members) for members in groups(planned)] == [2]


def test_the_choice_of_the_kept_member_makes_no_group_stale(plan_run):
    first = plan_run(pairs(1), name="a")
    second = plan_run(pairs(1), name="b", dedup={"prefer": ["bytes"]})
    assert first.plan.by_name["dedup"].fingerprint == second.plan.by_name["dedup"].fingerprint
    assert first.plan.by_name["decide"].fingerprint != second.plan.by_name["decide"].fingerprint
