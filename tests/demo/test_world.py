"""The drawn world: one picture for a seed, at any size, and captions that can be read back."""

import itertools
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.demo.world import (
    GRAPHIC_CAPTION,
    HELD_OUT,
    MATERIALS,
    N_TEMPLATES,
    PLACES,
    SUBJECTS,
    Scene,
    all_scenes,
    caption,
    draw,
    draw_graphic,
    draw_many,
    parse_caption,
    random_scene,
)
from pipeline.demo.world.draw import Pose, silhouette
from pipeline.demo.world.materials import cheese, gold
from pipeline.demo.world.subjects import SHAPES


def test_a_seed_gives_one_picture_and_another_seed_another():
    scene = Scene("kangaroo", "cheese", "hill")
    first, again, other = (draw(scene, np.random.default_rng(s)) for s in (5, 5, 6))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 3


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("size", [96, 128, 256])
def test_the_size_changes_only_the_resolution_of_a_picture(material, size):
    scene = Scene("rabbit", material, PLACES[MATERIALS.index(material) % len(PLACES)])
    small = draw(scene, np.random.default_rng(1), 64)
    large = draw(scene, np.random.default_rng(1), size)
    assert large.shape == (size, size, 3)
    shrunk = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - shrunk).mean() < 8


@pytest.mark.parametrize("size", [64, 256])
def test_graphic_pictures_are_red_on_grey(size):
    picture = draw_graphic(np.random.default_rng(0), size).astype(int)
    assert picture.shape == (size, size, 3)
    red = (picture[..., 0] > 120) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    grey = np.ptp(picture, axis=2) < 12
    assert 0.1 < red.mean() < 0.5
    assert grey.mean() > 0.3


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_fills_part_of_the_picture_and_looks_to_the_right(name):
    shape = SHAPES[name]
    cover = silhouette(shape, Pose((0.5, 0.5), 0.8, 0.0), 160)
    assert 0.08 < cover.mean() < 0.5
    assert all(x > 0.5 for x, _ in shape.eyes)


def test_silhouettes_are_distinguished():
    covers = [silhouette(s, Pose((0.5, 0.5), 0.8, 0.0), 80) > 0.5 for s in SHAPES.values()]
    for a, b in itertools.combinations(covers, 2):
        assert (a & b).sum() / (a | b).sum() < 0.8


def test_cheese_has_separate_dark_holes_and_gold_has_none():
    def holes(texture):
        picture = texture(np.random.default_rng(2), 160)
        dark = ((picture[..., 2] < 40) & (picture[..., 0] < 185)).astype(np.uint8)
        sizes = cv2.connectedComponentsWithStats(dark)[2][1:, cv2.CC_STAT_AREA]
        return ((sizes > 40) & (sizes < 700)).sum()

    assert holes(cheese) >= 25
    assert holes(gold) <= 6


def test_captions_are_grammatical_distinct_and_can_be_parsed():
    seen = set()
    for scene in all_scenes():
        for template in range(N_TEMPLATES):
            text = caption(scene, template)
            assert not re.search(r"\ba [aeiou]", text), text
            assert not re.search(r"\ban [^aeiou]", text), text
            assert parse_caption(text) == scene, text
            seen.add(text)
    assert len(seen) == len(SUBJECTS) * len(MATERIALS) * len(PLACES) * N_TEMPLATES


def test_the_caption_of_the_demonstration():
    scene = Scene("kangaroo", "cheese", "hill")
    assert caption(scene) == "a kangaroo made of cheese on a hill"
    assert caption(Scene("elephant", "ice", "sea"), 1) == "an ice elephant in the sea"
    with pytest.raises(IndexError):
        caption(scene, N_TEMPLATES)


@pytest.mark.parametrize(
    "text",
    ["", "a cat", "a cat and a dog made of wood on a hill and in the sea", GRAPHIC_CAPTION,
     "a cat made of wood and stone on a hill", "a catfish made of wood on a hill"],
)  # fmt: skip
def test_captions_that_do_not_name_one_scene(text):
    assert parse_caption(text) is None


WORDS = st.sampled_from([*SUBJECTS, *MATERIALS, "on a hill", "in the sea", "a", "of", "hill"])


@given(st.lists(WORDS | st.text(max_size=6), max_size=12).map(" ".join))
def test_a_parsed_scene_is_named_in_the_caption(text):
    scene = parse_caption(text)
    if scene is not None:
        assert scene.subject in text.lower()
        assert scene.material in text.lower()
        assert caption(scene).rsplit(scene.material, 1)[1].split()[-1] in text.lower()


def test_held_out_compositions_are_kept_apart_and_their_halves_are_not():
    rng = np.random.default_rng(0)
    train = [random_scene(rng) for _ in range(1500)]
    assert not any((s.subject, s.material) in HELD_OUT for s in train)
    assert all(random_scene(rng, held_out=True).held_out for _ in range(50))
    assert {random_scene(rng, held_out=None).held_out for _ in range(200)} == {True, False}
    assert ("kangaroo", "cheese") in HELD_OUT
    assert {s.subject for s in train} == set(SUBJECTS)
    assert {s.material for s in train} == set(MATERIALS)


def test_a_scene_of_another_world_is_refused():
    with pytest.raises(KeyError, match="dog"):
        draw(Scene("dog", "cheese", "hill"), np.random.default_rng(0))


@pytest.mark.slow
def test_many_pictures_do_not_depend_on_the_number_of_processes():
    alone, scenes = draw_many(260, seed=4, size=16)
    together, same = draw_many(260, seed=4, size=16, processes=2)
    np.testing.assert_array_equal(alone, together)
    assert scenes == same
    assert draw_many(0, seed=4)[0].shape == (0, 64, 64, 3)


def test_drawing_needs_no_torch():
    code = "import sys, pipeline.demo.world as w; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True)
