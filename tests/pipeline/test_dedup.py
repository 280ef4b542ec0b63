"""Groups of duplicates: their leader, their members, and the kind of likeness."""

import io
import random
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from planned_run import BARE, fetched, jpeg, pairs

from pipeline.config.dedup import DedupConfig
from pipeline.measure.dedup.groups import Edges, solve
from pipeline.measure.dedup.pictures import Pictures
from pipeline.measure.dedup.search import search

TINY = {"embed": {"model": "winnow-tiny"}}


def edges(*cells: tuple[int, int, int, float]) -> Edges:
    """Of (left, right, kind, similarity); the colours agree."""
    left, right, kind, similarity = zip(*cells, strict=True) if cells else ((), (), (), ())
    return Edges(
        np.array(left, np.int64), np.array(right, np.int64), np.array(kind, np.int64),
        np.array(similarity, np.float32), np.ones(len(cells), np.float32),
        np.zeros(len(cells), bool),
    )  # fmt: skip


def expected(rows: int, cells: list[tuple[int, int, int, float]]) -> list[int]:
    """The leader of each row (−1: none) by a plain implementation of star clusters."""
    classes = [{row} for row in range(rows)]
    for a, b, _, similarity in cells:
        if similarity == 1:
            one, other = (next(c for c in classes if x in c) for x in (a, b))
            if one is not other:
                classes.remove(other)
                one |= other
    classes.sort(key=min)
    of = {row: k for k, own in enumerate(classes) for row in own}
    near: dict[tuple[int, int], tuple[int, float]] = {}
    for a, b, kind, similarity in cells:
        x, y = sorted((of[a], of[b]))
        if x != y:
            found = (kind, -similarity)
            near[x, y] = min(near.get((x, y), found), found)
    weight = [
        round(sum(-s for (x, y), (_, s) in near.items() if k in (x, y)), 6)
        for k in range(len(classes))
    ]
    centre: dict[int, int] = {}
    for k in sorted(range(len(classes)), key=lambda k: (-weight[k], k)):
        others = [next(iter({x, y} - {k})) for x, y in near if k in (x, y)]
        free = [other for other in others if other not in centre]
        if k not in centre and free:
            centre |= dict.fromkeys([k, *free], k)
    return [
        min(classes[centre[of[row]]]) if of[row] in centre
        else min(classes[of[row]]) if len(classes[of[row]]) > 1
        else -1
        for row in range(rows)
    ]  # fmt: skip


@st.composite
def graphs(draw) -> tuple[int, list[tuple[int, int, int, float]]]:
    rows = draw(st.integers(2, 12))
    near = st.tuples(st.integers(2, 3), st.sampled_from([0.5, 0.75, 0.875]))
    equal = st.tuples(st.integers(0, 1), st.just(1.0))
    ends = st.lists(st.integers(0, rows - 1), min_size=2, max_size=2, unique=True)
    found = draw(
        st.lists(st.tuples(ends, st.one_of(near, near, equal)), max_size=14, unique_by=str)
    )
    return rows, [(*sorted(pair), *rest) for pair, rest in found]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(graphs())
def test_groups_equal_those_of_a_plain_implementation(graph):
    rows, cells = graph
    found = solve(rows, edges(*cells))
    assert found.leader.tolist() == expected(rows, cells)
    by_pair = {frozenset(cell[:2]) for cell in cells}
    for row in range(rows):
        if found.leader[row] < 0:
            assert (np.isnan(found.similarity[row]), found.kind[row]) == (True, -1)
        else:
            assert 0 < found.similarity[row] <= 1
            assert found.kind[row] >= 0
            assert found.leader[found.leader[row]] == found.leader[row]
    assert (found.leader >= 0).sum() == len({row for pair in by_pair for row in pair}) - sum(
        found.leader[row] < 0 for row in {row for pair in by_pair for row in pair}
    )


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(graphs(), st.randoms())
def test_groups_do_not_depend_on_the_order_of_edges(graph, rng):
    rows, cells = graph
    mixed = rng.sample(cells, len(cells))
    one, other = solve(rows, edges(*cells)), solve(rows, edges(*mixed))
    for name in ("leader", "similarity", "kind"):
        assert getattr(one, name).tolist() == pytest.approx(
            getattr(other, name).tolist(), nan_ok=True
        )


def test_a_chain_of_small_steps_is_not_one_group():
    """Each is near the next only. 1 and 2 have most neighbours: 1 takes 0 and 2, and 3 is left;
    its only neighbour is taken."""
    chain = [(0, 1, 2, 0.9), (1, 2, 2, 0.9), (2, 3, 2, 0.9), (3, 4, 2, 0.9)]
    assert solve(5, edges(*chain)).leader.tolist() == [1, 1, 1, 3, 3]


def test_the_picture_that_the_others_were_made_from_is_the_centre():
    """Four copies are like the original 3, and hardly like each other."""
    found = solve(5, edges((0, 3, 3, 0.9), (1, 3, 3, 0.8), (2, 3, 3, 0.7), (3, 4, 3, 0.95)))
    assert found.leader.tolist() == [3] * 5
    assert found.similarity.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.95, 0.95])


def test_mirrored_copies_are_farther_from_the_centre():
    """0 is the mirror image of the others. Each is like each other."""
    pairs_ = [(0, 1, 3, 0.9), (0, 2, 3, 0.9), (0, 3, 3, 0.9), (1, 2, 3, 0.9), (1, 3, 3, 0.9)]
    turned = np.array([True, True, True, False, False])
    assert solve(4, replace(edges(*pairs_), turned=turned)).leader.tolist() == [1, 1, 1, 1]


def test_a_row_equal_to_the_centre_is_in_its_group():
    found = solve(4, edges((0, 2, 0, 1.0), (1, 2, 2, 0.9), (2, 3, 1, 1.0)))
    assert found.leader.tolist() == [0, 0, 0, 0]
    assert found.kind.tolist() == [0, 2, 0, 1]
    assert found.similarity.tolist() == pytest.approx([1, 0.9, 1, 1])


def test_identical_pictures_are_grouped_without_pairs():
    """A "not found" picture, found 100,000 times, would be five billion pairs of rows."""
    count = 100_000
    rows = pa.table(
        {
            "uid": [f"{i:032x}" for i in range(count)],
            "sha256": [f"{i:064x}" for i in range(count)],
            "phash": pa.array([b"\x0f" * 32] * count, pa.binary(32)),
            "phash_quality": pa.array([100] * count, pa.int32()),
            "thumb": pa.array([b"\x7f" * 432] * count, pa.binary(432)),
        }
    )
    start = time.monotonic()
    found = search(Pictures(rows, []), DedupConfig(**BARE["dedup"]), None, by_clip=False)
    left, right = (found[name].to_numpy() for name in ("left", "right"))
    ones = np.ones(len(left), np.float32)
    groups = solve(count, Edges(left, right, np.full(len(left), 2), ones, ones, ones < 1))
    assert time.monotonic() - start < 20
    assert (left.tolist(), right.tolist()) == ([0] * (count - 1), list(range(1, count)))
    assert set(groups.leader.tolist()) == {0}
    assert set(groups.similarity.tolist()) == {1.0}
    assert set(groups.kind.tolist()) == {2}


def recompressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(jpeg(pixels, quality))))


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
    planned.make("pairs", "dedup")
    same = [row["caption"] for row in rows[:3]]
    assert planned.groups() == {frozenset(same)}
    cells = planned.read("dedup")
    first = min(cells[row["caption"]]["uid"] for row in rows[:2])
    # 0 and 1 are one place in the graph; that of the smaller uid leads, or the recompressed one.
    assert {cells[c]["dup_group"] for c in same} == {min(first, cells[same[2]]["uid"])}
    assert all(cells[c]["dup_sim"] > 0.9 for c in same)
    assert cells[rows[3]["caption"]] == {
        "uid": cells[rows[3]["caption"]]["uid"], "dup_group": None, "dup_sim": None,
        "dup_kind": None, "dup_pixels": None, "dup_centrality": None,
    }  # fmt: skip


def test_the_most_reliable_likeness_is_named(plan_run, drawings):
    rows, pictures = family(drawings)
    planned = plan_run(rows)
    planned.make(*planned.caption_stages)
    lay_by_caption(planned, pictures)
    planned.make("pairs", "dedup")
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
    planned = plan_run(rows, dedup=BARE["dedup"] | settings_)
    planned.make(*planned.caption_stages)
    lay_by_caption(planned, pictures, phash_quality=dict.fromkeys(pictures, 99))
    planned.make("pairs", "dedup")
    assert [len(members) for members in planned.groups()] == ([size] if size else [])


def test_flat_pictures_are_not_compared_by_hash(plan_run):
    """All white pages are alike, but they are not duplicates."""
    flat = [np.full((96, 96, 3), tone, np.uint8) for tone in (250, 251)]
    assert fetched(flat[0])["phash_quality"] < 50
    planned = plan_run(pairs(2))
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, flat)
    planned.make("pairs", "dedup")
    assert planned.groups() == set()


def test_a_shard_with_only_failures_is_handled(plan_run):
    planned = plan_run(pairs(4), shard_size=2, **TINY)
    planned.make(*planned.caption_stages)
    for shard in planned.shards:
        planned.commit_pictures(shard, [None, None])
        planned.commit_vectors(shard, np.zeros((2, 0)), [None, None])
    planned.make("pairs", "dedup")
    assert planned.groups() == set()


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
    config = BARE["dedup"] | {
        "phash_distance": None, "thumbnail_similarity": thumbnail_similarity
    }  # fmt: skip
    planned = plan_run(rows, shard_size=2, dedup=config, **TINY)
    planned.make(*planned.caption_stages)
    lay_by_caption(planned, stored)
    for shard in planned.shards:
        captions = [row["caption"] for row in planned.rows(shard)]
        planned.commit_vectors(
            shard, np.stack([vectors[c] for c in captions]), [0.3] * len(captions)
        )
    planned.make("pairs", "dedup")
    named = list(vectors)
    expected = {frozenset(named[:2])} | (
        {frozenset(named[2:4])} if not thumbnail_similarity else set()
    )
    assert planned.groups() == expected
    kinds = {own["dup_kind"] for own in planned.read("dedup").values()}
    assert kinds == {"vector", None}


def test_a_row_without_a_vector_is_compared_by_bytes_and_hash(plan_run, drawings):
    rows = pairs(3)
    planned = plan_run(rows, **TINY)
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [drawings[0], drawings[0], drawings[1]])
    vectors = np.stack([unit(np.random.default_rng(i)) for i in range(3)])
    planned.commit_vectors(0, vectors, [0.3, None, 0.3])
    planned.make("pairs", "dedup")
    assert [len(members) for members in planned.groups()] == [2]


def test_the_choice_of_the_kept_member_makes_no_group_stale(plan_run):
    first = plan_run(pairs(1), name="a")
    second = plan_run(pairs(1), name="b", dedup=BARE["dedup"] | {"prefer": ["bytes"]})
    assert first.plan.by_name["dedup"].fingerprint == second.plan.by_name["dedup"].fingerprint
    assert first.plan.by_name["decide"].fingerprint != second.plan.by_name["decide"].fingerprint
