"""The search for copies over shards: what is noted, what a threshold costs, who stays."""

import json
import random
import warnings

import numpy as np
import pytest
import torch
from planned_run import BARE, fetched, make_job, pairs
from sklearn.datasets import load_sample_images

from pipeline.engine import tasks
from pipeline.inspect.preview import preview
from pipeline.measure.dedup import neighbours, verify
from pipeline.measure.dedup.pairs import PairsStage
from pipeline.models.nsfw import load_nsfw
from pipeline.table.parquet import read_parquet
from tests.copies import COPIES, cropped, mirrored, recompressed, with_border

TEMPLE, FLOWER = load_sample_images().images
RULES = [{"reason": "duplicate", "when": "dup_group is not null"}]
KINDS = ("crop to 80 %", "mirror image", "border", "screenshot", "grey", "rotation by 10°")


def pictures() -> dict[str, np.ndarray]:
    """Two photographs, copies of each, and four other pictures, by caption."""
    names = [row["caption"] for row in pairs(18)]
    originals = [TEMPLE[:, :300], FLOWER[:, 320:620]]
    copies = [COPIES[kind](photo) for photo in originals for kind in KINDS]
    others = [TEMPLE[:, 430:], FLOWER[:, :200], TEMPLE[:200, 301:430], FLOWER[200:, 200:319]]
    shown = [np.ascontiguousarray(p) for p in (*originals, *copies, *others)]
    return dict(zip(names, shown, strict=True))


def laid(plan_run, shard_size: int, order: int = 0, **dedup):
    """A planned run over `pictures` with what describes them and the groups."""
    rows, stored = pairs(18), pictures()
    planned = plan_run(
        random.Random(order).sample(rows, len(rows)), shard_size=shard_size, name=f"r{order}",
        rules=RULES,
        dedup={"phash_distance": None, "verify_budget": 5.0, **dedup},
    )  # fmt: skip
    planned.make(*planned.caption_stages)
    for shard in planned.shards:
        captions = [row["caption"] for row in planned.rows(shard)]
        planned.commit_pictures(shard, [stored[c] for c in captions])
    planned.make("descriptors", "pairs", "dedup", "decide")
    return planned


@pytest.fixture(scope="module")
def families() -> set[frozenset[str]]:
    names = list(pictures())
    return {
        frozenset([names[k], *names[2 + k * len(KINDS) : 2 + (k + 1) * len(KINDS)]]) for k in (0, 1)
    }


@pytest.mark.parametrize(("shard_size", "order"), [(100, 0), (5, 1), (4, 2)])
def test_copies_are_found_over_shards_in_any_order(plan_run, families, shard_size, order):
    planned = laid(plan_run, shard_size, order)
    assert planned.groups() == families
    cells = planned.read("dedup")
    assert {own["dup_kind"] for own in cells.values()} == {"aligned", None}
    assert {own["dup_sim"] is None for own in cells.values()} == {True, False}


def test_the_original_stays(plan_run, families):
    planned = laid(plan_run, 6)
    verdicts = planned.read("decide")
    names = list(pictures())
    assert {c for c, own in verdicts.items() if own["reason"] is None} == {*names[:2], *names[-4:]}
    for family in families:
        kept = min(family, key=names.index)
        of = {verdicts[c]["dup_of"] for c in family - {kept}}
        assert of == {verdicts[kept]["uid"]}


def test_edges_are_noted_once_on_the_smaller_uid(plan_run):
    planned = laid(plan_run, 5)
    cells = planned.read("pairs")
    shards = {own["uid"]: s for s in planned.shards for own in planned.rows(s)}
    seen = set()
    for own in cells.values():
        for edge in own["dup_edges"] or ():
            assert own["uid"] < edge["uid"]
            assert edge["shard"] == shards[edge["uid"]]
            assert edge["kind"] == "aligned"
            assert 0.2 <= edge["similarity"] <= 1
            seen.add((own["uid"], edge["uid"]))
    assert len(seen) == sum(len(own["dup_edges"] or ()) for own in cells.values())
    in_edges = {uid for pair in seen for uid in pair}
    assert all(own["dup_edges"] is not None for own in cells.values() if own["uid"] in in_edges)


def test_a_threshold_costs_no_search(plan_run):
    base = {"verify_similarity": 0.3}
    plans = [
        plan_run(pairs(1), name=f"p{i}", dedup=base | changed).plan.by_name
        for i, changed in enumerate(
            [{}, {"verify_similarity": 0.5}, {"verify_colour": 0.9}, {"phash_distance": 20},
             {"phash_thumbnail_similarity": 0.8}, {"floor": {"verify_similarity": 0.1}}]
        )
    ]  # fmt: skip
    searches = [plan["pairs"].fingerprint for plan in plans]
    assert searches[:5] == [searches[0]] * 5
    assert searches[5] != searches[0]  # more is noted
    assert len({plan["dedup"].fingerprint for plan in plans}) == 6
    assert len({plan["descriptors"].fingerprint for plan in plans}) == 1


def test_a_small_budget_leaves_the_farthest_unchecked(plan_run, families):
    planned = laid(plan_run, 100, verify_budget=0.5)
    folder = planned.plan.run.folder.sub(planned.plan.by_name["pairs"].folder)
    summary = json.loads(folder.read("00000.json"))["summary"]
    assert summary["checked"] == 9  # half a pair for each of 18 pictures
    assert summary["unchecked"] > 9
    assert 0 < summary["aligned"] <= 9
    assert summary["edges"] == summary["aligned"]
    found = planned.groups()
    assert found
    assert all(any(group <= family for family in families) for group in found)


@pytest.fixture
def laid_on_each_other(monkeypatch) -> list[int]:
    """One entry for each pair that is laid on each other."""
    calls: list[int] = []
    align = verify.align

    def counted(first, second):
        calls.append(1)
        return align(first, second)

    monkeypatch.setattr(verify, "align", counted)
    return calls


def again(planned, shard: int, pictures: dict[str, np.ndarray]) -> None:
    captions = [row["caption"] for row in planned.rows(shard)]
    planned.commit_pictures(shard, [pictures[c] for c in captions])
    planned.make("descriptors", "pairs", "dedup", "decide")


def test_plan_says_how_it_searches_and_what_that_costs(tmp_path):
    def outlook(**dedup) -> list[str]:
        return preview(make_job(tmp_path, pairs(1), dedup=dedup))["outlook"]

    (said,) = outlook(verify_budget=2.5)
    assert said == (
        "at most 2.5 pairs are laid on each other for each picture, up to 34 ms of a core "
        "(dedup.verify_budget)"
    )
    assert outlook(verify=False) == []
    stage = PairsStage(make_job(tmp_path, pairs(1), dedup={}))
    assert stage.outlook(2000) == (
        "pairs: all pairs of 2,000 vectors are compared; at most 12,000 pairs are laid on each "
        "other in all, up to 0.0 hours of a core (dedup.verify_budget)"
    )
    assert stage.outlook(1_000_000).startswith(
        "pairs: 1,000,000 vectors are divided into 2,000 cells and compared with those of the "
        "nearest 4; 256 are compared with all"
    )
    by_hand = PairsStage(make_job(tmp_path, pairs(1), dedup={"cells": 50, "cells_searched": 9}))
    assert by_hand.outlook(1_000_000).startswith(
        "pairs: 1,000,000 vectors are divided into 50 cells and compared with those of the nearest "
        "9; 256"
    )
    exact = PairsStage(make_job(tmp_path, pairs(1), dedup={"cells": 1}))
    assert exact.outlook(10**6).startswith("pairs: all pairs of 1,000,000 vectors are compared")
    assert by_hand.settings() == {"cells": 50, "cells_searched": 9}


@pytest.mark.parametrize(
    ("model", "is_verified"), [(None, True), ("winnow-tiny", True), ("winnow-tiny", False)]
)
def test_what_an_approximate_search_finds_is_held_against_an_exact_one(
    plan_run, drawings, monkeypatch, model, is_verified
):
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 2)
    planned = plan_run(
        pairs(12), shard_size=5, embed={"model": model}, rules=RULES,
        dedup={"verify": is_verified, "vector_similarity": 0.1, "pixels": False, "turned": False},
    )  # fmt: skip
    planned.make(*planned.caption_stages)
    rng = np.random.default_rng(0)
    for shard in planned.shards:
        rows = planned.rows(shard)
        numbers = [int(row["caption"].split()[-1]) for row in rows]
        planned.commit_pictures(shard, [drawings[n % 8] for n in numbers])
        if model:
            planned.commit_vectors(shard, rng.normal(0, 1, (len(rows), 16)), [0.2] * len(rows))
    planned.make(*(["descriptors"] if is_verified else []), "pairs")
    folder = planned.plan.run.folder.sub(planned.plan.by_name["pairs"].folder)
    counts = [json.loads(folder.read(f"{s:05d}.json"))["summary"] for s in planned.shards]
    assert sum(one["sampled"] for one in counts) > 0
    assert sum(one["missed"] for one in counts) <= sum(one["sampled"] for one in counts)


def test_what_was_laid_on_each_other_is_not_again(plan_run, laid_on_each_other):
    """One picture is another one than before: only its pairs are checked anew."""
    planned = laid(plan_run, 6)
    first, before = len(laid_on_each_other), planned.read("pairs")
    assert first > 20
    laid_on_each_other.clear()
    stored = pictures()
    changed = planned.rows(0)[0]["caption"]
    again(planned, 0, stored | {changed: np.ascontiguousarray(np.rot90(stored[changed]))})
    after = planned.read("pairs")
    uid = after[changed]["uid"]
    own = [
        check["uid"]
        for caption, cells in after.items()
        for check in cells["dup_checks"] or ()
        if uid in (cells["uid"], check["uid"])
    ]
    new = {
        (caption, check["uid"])
        for caption, cells in after.items()
        for check in cells["dup_checks"] or ()
        if check not in (before[caption]["dup_checks"] or ())
    }
    assert len(own) <= len(laid_on_each_other) == len(new) < first / 2


def test_a_picture_that_changed_under_its_uid_is_laid_on_the_others_again(
    plan_run, families, laid_on_each_other
):
    planned = laid(plan_run, 6)
    stored, (family, *_) = pictures(), sorted(families, key=sorted)
    one = min(family, key=list(stored).index)
    place = next(s for s in planned.shards if one in {r["caption"] for r in planned.rows(s)})
    tiles = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    other = tiles.repeat(10, axis=0).repeat(10, axis=1)
    again(planned, place, stored | {one: other})
    assert all(one not in group for group in planned.groups())


def test_same_pixels_in_another_format_are_a_repeat(plan_run):
    """Other bytes, the same stored picture."""
    planned = plan_run(pairs(3), dedup=BARE["dedup"] | {"pixels": True, "phash_distance": None})
    planned.make(*planned.caption_stages)
    stored = [TEMPLE[:96, :96], TEMPLE[:96, :96], FLOWER[:96, :96]]
    planned.commit_pictures(0, [np.ascontiguousarray(p) for p in stored], sha256=["a", "b", "c"])
    planned.make("descriptors", "pairs", "dedup")
    kinds = [own["dup_kind"] for own in planned.read("dedup").values()]
    assert sorted(map(str, kinds)) == ["None", "pixels", "pixels"]


@pytest.mark.parametrize("turned", [True, False])
def test_mirrored_and_turned_copies_have_near_hashes(plan_run, turned):
    photo = np.ascontiguousarray(TEMPLE[:300, :300])
    turns = [np.rot90(photo, k) for k in range(4)]
    stored = [recompressed(np.ascontiguousarray(p), 90) for p in (*turns, *map(mirrored, turns))]
    planned = plan_run(pairs(8), dedup=BARE["dedup"] | {"turned": turned})
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, stored)
    planned.make(*(["descriptors"] if turned else []), "pairs", "dedup")
    assert planned.groups() == (
        {frozenset(row["caption"] for row in pairs(8))} if turned else set()
    )


@pytest.mark.parametrize("model", [None, "winnow-tiny"])
def test_a_row_without_descriptors_is_compared_by_its_bytes_and_else_left_out(plan_run, model):
    """As after a process that died on it."""
    planned = plan_run(pairs(4), dedup={"verify": True}, embed={"model": model})
    planned.make(*planned.caption_stages)
    stored = [TEMPLE[:, :300], cropped(TEMPLE[:, :300], 0.8), TEMPLE[:, :300], FLOWER]
    planned.commit_pictures(0, [np.ascontiguousarray(p) for p in stored])
    if model:
        planned.commit_vectors(0, np.eye(4, 8), [0.3] * 4)
    planned.make("descriptors")
    node = planned.plan.by_name["descriptors"]
    place = f"{node.folder}/00000.parquet"
    cells = read_parquet(planned.plan.run.folder, place).to_pylist()
    lost = [{name: c[name] for name in c if name != "uid" and i > 0} for i, c in enumerate(cells)]
    files = {} if model else {"layer.npy": planned.scratch / "layer.npy"}
    for path in files.values():
        np.save(path, planned.plan.data(0).array("descriptors", "layer.npy"))
    planned.commit_part("descriptors", 0, lost, files)
    planned.make("pairs", "dedup")
    groups = planned.read("dedup")
    kinds = [groups[row["caption"]]["dup_kind"] for row in planned.rows(0)]
    assert kinds == ["bytes", "aligned", "bytes", None]


def test_both_stages_look_through_the_network_once(plan_run, monkeypatch):
    network = load_nsfw()
    calls: list[int] = []
    run = network._session.run

    class Counted:
        def run(self, outputs, given):
            calls.append(len(given["input:0"]))
            return run(outputs, given)

    planned = plan_run(pairs(5), images={"nsfw": "opennsfw"}, dedup={"verify": True})
    planned.make(*planned.caption_stages)
    planned.commit_pictures(
        0, [cropped(TEMPLE, 0.5 + i / 10) if i != 3 else None for i in range(5)]
    )
    monkeypatch.setattr(network, "_session", Counted())
    inputs = planned.made_from("images", 0) | planned.made_from("descriptors", 0)
    run_folder = planned.plan.run.folder.url
    done = tasks.run_pictures(run_folder, planned.plan.digest, ["images", "descriptors"], 0, inputs)
    assert set(done.digests) == {"images", "descriptors"}
    assert calls == [4]
    layer = planned.plan.data(0).array("descriptors", "layer.npy")
    assert layer.shape == (5, 1024)
    assert [bool(row.any()) for row in layer] == [True, True, True, False, True]


def test_a_frame_makes_a_larger_picture_no_better(plan_run):
    """By its size alone the framed one would stay."""
    planned = plan_run(pairs(2), dedup={"phash_distance": None}, rules=RULES)
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [TEMPLE, with_border(TEMPLE)])
    planned.make("descriptors", "pairs", "dedup", "decide")
    plain, framed = (planned.read("decide")[row["caption"]] for row in pairs(2))
    assert (plain["reason"], framed["reason"]) == (None, "duplicate")
    cells = [planned.read("dedup")[row["caption"]]["dup_pixels"] for row in pairs(2)]
    assert cells[0] == TEMPLE.shape[0] * TEMPLE.shape[1] > cells[1]
    assert fetched(with_border(TEMPLE))["original_pixels"] > cells[0]


class Coarse(torch.nn.Module):
    """Stands for a descriptor of the user's: the grey values of 8×8 areas."""

    def forward(self, pictures):
        return torch.nn.functional.adaptive_avg_pool2d(pictures.mean(1), 8).flatten(1)


@pytest.fixture
def coarse(tmp_path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Coarse()), str(tmp_path / "coarse.pt"))
    return str(tmp_path / "coarse.pt")


def test_a_descriptor_of_the_users_proposes_in_place_of_the_network(plan_run, coarse, families):
    planned = laid(plan_run, 7, descriptor=coarse, descriptor_size=64)
    layer = planned.plan.run.folder.sub(planned.plan.by_name["descriptors"].folder)
    with layer.local("00000.layer.npy") as path:
        assert np.load(path).shape == (7, 64)
    recipe = json.loads(layer.read("recipe.json"))
    assert "dedup: descriptor" in json.dumps(recipe)
    assert planned.groups() == families


def test_without_verify_the_descriptors_cosine_decides(plan_run, coarse):
    dedup = {"verify": False, "turned": False, "phash_distance": None, "pixels": False}
    like = {"descriptor": coarse, "descriptor_size": 64, "vector_similarity": 0.99}
    planned = laid(plan_run, 7, **dedup, **like)
    kinds = {cells["dup_kind"] for cells in planned.read("dedup").values()}
    assert kinds == {None, "vector"}
    names = list(pictures())
    grey = KINDS.index("grey")
    for one in (0, 1):
        pair = {names[one], names[2 + one * len(KINDS) + grey]}
        assert any(pair <= group for group in planned.groups())
