"""Pictures laid on each other: which are the same, and what was added around one of them."""

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from pipeline.config.dedup import DedupConfig
from pipeline.measure.dedup.alignment import Alignment, align, sketch, small
from pipeline.measure.dedup.colours import colour_agreements
from pipeline.measure.dedup.verify import edge_of
from tests.copies import (
    COPIES,
    as_screenshot,
    cropped,
    with_border,
    with_caption_bar,
    with_watermark,
)

LINE, COLOUR = DedupConfig().verify_similarity, DedupConfig().verify_colour
TEMPLE, FLOWER = load_sample_images().images


def parts() -> list[np.ndarray]:
    """Six pictures without a common place."""
    return [
        np.ascontiguousarray(photo[:, left : left + 210])
        for photo in (TEMPLE, FLOWER)
        for left in (0, 215, 430)
    ]


def laid(one: np.ndarray, other: np.ndarray) -> Alignment | None:
    return align(sketch(small(one)), sketch(small(other)))


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("photo", [TEMPLE, FLOWER], ids=["temple", "flower"])
def test_a_copy_is_the_same_picture(photo, kind):
    found = laid(COPIES[kind](photo), photo)
    assert found is not None
    assert found.similarity >= LINE
    assert found.colour >= COLOUR
    assert found.is_mirrored == (kind == "mirror image")


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("crop to 80 %", 1.0, 0.64), ("crop to 60 %", 1.0, 0.36), ("half size", 1.0, 1.0),
        ("border", 0.724, 1.0), ("caption bar", 0.857, 1.0), ("screenshot", 0.37, 1.0),
    ],
)  # fmt: skip
def test_the_shares_that_both_show(kind, first, second):
    found = laid(COPIES[kind](TEMPLE), TEMPLE)
    assert found is not None
    assert (found.share_first, found.share_second) == pytest.approx((first, second), abs=0.02)


@pytest.mark.parametrize(
    "overlay",
    [lambda p: p, with_watermark, with_caption_bar, with_border, as_screenshot],
    ids=["none", "watermark", "caption bar", "border", "screenshot"],
)
def test_unlike_pictures_under_one_overlay_are_not_alike(overlay):
    """What is laid over both matches well; the pictures below it do not."""
    pictures = [overlay(part) for part in parts()]
    found = [
        (i, j, one.similarity)
        for i in range(len(pictures))
        for j in range(i)
        if (one := laid(pictures[i], pictures[j])) is not None and one.similarity >= LINE
    ]
    assert found == []


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (64, 64), (1000, 10)])
def test_pictures_without_detail_are_like_nothing(size):
    plain = np.full((*size, 3), 200, np.uint8)
    assert laid(plain, plain) is None
    assert laid(plain, TEMPLE) is None
    assert laid(TEMPLE, plain) is None


def test_the_result_is_the_same_each_time():
    pair = [sketch(small(p)) for p in (cropped(TEMPLE, 0.7), TEMPLE)]
    assert align(*pair) == align(*pair)
    again = [sketch(small(p)) for p in (cropped(TEMPLE, 0.7), TEMPLE)]
    assert align(*again) == align(*pair)


@pytest.mark.parametrize(
    ("copy", "added"),
    [(with_border, 0.276), (with_caption_bar, 0.143), (as_screenshot, 0.63)],
)
def test_what_was_added_around_a_picture_is_noted(copy, added):
    edge = edge_of(small(copy(TEMPLE)), small(TEMPLE), floor=0.2)
    assert edge is not None
    assert (edge["added"], edge["other_added"]) == pytest.approx((added, 0), abs=0.02)
    back = edge_of(small(TEMPLE), small(copy(TEMPLE)), floor=0.2)
    assert back is not None
    assert (back["added"], back["other_added"]) == pytest.approx((0, added), abs=0.02)


@pytest.mark.parametrize("photo", [TEMPLE, FLOWER], ids=["temple", "flower"])
def test_what_a_crop_has_lost_was_not_added(photo):
    edge = edge_of(small(cropped(photo, 0.7)), small(photo), floor=0.2)
    assert edge is not None
    assert (edge["added"], edge["other_added"]) == (0, 0)


def test_the_plain_ground_around_a_thing_is_no_frame():
    """A photograph on white, and the same with less white around it."""
    white = {"borderType": cv2.BORDER_CONSTANT, "value": (255, 255, 255)}
    wide = cv2.copyMakeBorder(FLOWER[50:350, 150:500], 90, 90, 90, 90, **white)
    edge = edge_of(small(cropped(wide, 0.85)), small(wide), floor=0.2)
    assert edge is not None
    assert (edge["added"], edge["other_added"]) == (0, 0)
    edge = edge_of(small(FLOWER[50:350, 150:500]), small(wide), floor=0.2)
    assert edge is not None
    assert edge["other_added"] == pytest.approx(0.59, abs=0.03)


def test_a_small_picture_is_enlarged_before_it_is_compared():
    tiny = cv2.resize(TEMPLE, (80, 53), interpolation=cv2.INTER_AREA)
    assert max(sketch(small(tiny)).shape) == 256
    found = laid(tiny, TEMPLE)
    assert found is not None
    assert found.similarity >= LINE


def test_colours_agree_whatever_their_brightness():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (1, 40, 3)).astype(float)
    grey = colours.mean(axis=2, keepdims=True).repeat(3, axis=2)
    assert colour_agreements(colours, colours * 0.5 + 20)[0] == pytest.approx(1)
    assert colour_agreements(colours, grey)[0] == pytest.approx(0.97)  # compared as if both were
    assert colour_agreements(grey * 0.5, grey)[0] == pytest.approx(1)
    assert colour_agreements(colours, colours[:, :, [1, 2, 0]])[0] < 0.6
    assert colour_agreements(colours, 255 - colours)[0] == pytest.approx(-1)
    assert colour_agreements(np.full((1, 4, 3), 9.0), np.full((1, 4, 3), 200.0))[0] == 1
