"""Measures of the pixels that need no model, on pictures drawn for each of them."""

import cv2
import numpy as np
import pytest
from planned_run import pairs
from sklearn.datasets import load_sample_images

from pipeline.measure.pictures import pixel_measures as measures
from pipeline.measure.pictures.pixels import PixelsSession
from pipeline.measure.registry import default_rules, measuring


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [np.asarray(one) for one in load_sample_images().images]


def measured(rgb: np.ndarray) -> dict[str, float | None]:
    return PixelsSession().prepare(np.ascontiguousarray(rgb))


def plain(colour: tuple[int, int, int] = (200, 30, 40), size: tuple[int, int] = (90, 120)):
    return np.full((*size, 3), colour, np.uint8)


def noisy_jpeg(rgb: np.ndarray, quality: int = 90) -> np.ndarray:
    done, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def test_a_picture_of_one_colour():
    assert measured(plain()) == {
        "blur": None, "flat_share": 1, "one_colour_share": 1, "text_share": 0,
        "border_top": 1, "border_bottom": 0, "border_left": 0, "border_right": 0,
    }  # fmt: skip


def test_blur_rises_with_blurring_and_does_not_depend_on_contrast_or_size(photographs):
    for photo in photographs:
        sharp = measured(photo)["blur"]
        found = [measured(cv2.GaussianBlur(photo, (0, 0), sigma))["blur"] for sigma in (2, 5, 12)]
        assert sharp < 0.4
        assert sharp < found[0] < found[1] < found[2]
        assert found[2] > 0.6
        faint = (photo * 0.4 + 80).astype(np.uint8)
        assert measured(faint)["blur"] == pytest.approx(sharp, abs=0.03)
        half = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        assert measured(half)["blur"] == pytest.approx(sharp, abs=0.03)


def test_a_margin_does_not_make_a_blurred_picture_sharp(photographs):
    blurred = cv2.GaussianBlur(photographs[0], (0, 0), 8)
    framed = cv2.copyMakeBorder(blurred, 100, 100, 0, 0, cv2.BORDER_CONSTANT, value=(255,) * 3)
    assert measured(framed)["blur"] == pytest.approx(measured(blurred)["blur"], abs=0.08)


def test_margins_on_each_side_of_a_jpeg(photographs):
    photo = cv2.resize(photographs[0], (400, 300), interpolation=cv2.INTER_AREA)
    framed = cv2.copyMakeBorder(photo, 40, 60, 25, 75, cv2.BORDER_CONSTANT, value=(10, 10, 10))
    found = measured(noisy_jpeg(framed))
    expected = {"top": 40 / 400, "bottom": 60 / 400, "left": 25 / 500, "right": 75 / 500}
    for side, share in expected.items():
        assert found[f"border_{side}"] == pytest.approx(share, abs=0.01), side
    assert [measured(photo)[f"border_{side}"] for side in expected] == [0, 0, 0, 0]


def test_near_blank_pictures_and_others(photographs):
    speck = plain((250, 250, 250), (200, 200))
    speck[90:100, 90:110] = 0
    assert measured(noisy_jpeg(speck))["one_colour_share"] > 0.98
    assert measured(photographs[0])["one_colour_share"] < 0.3
    half = plain()
    half[:, 60:] = 0
    assert measured(half)["one_colour_share"] == pytest.approx(0.5, abs=0.01)


def test_flat_share_is_that_of_the_flat_part():
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    noise[:, :80] = 127
    assert measured(noise)["flat_share"] == pytest.approx(0.4, abs=0.02)


def test_text_and_photographs(photographs):
    page = plain((245, 245, 240), (300, 400))
    for y in range(24, 290, 22):
        cv2.putText(page, "some words that stand here in lines", (12, y), 0, 0.62, (30, 30, 30), 1)
    assert measured(page)["text_share"] > 0.4
    assert measured(255 - page)["text_share"] > 0.4
    assert max(measured(photo)["text_share"] for photo in photographs) < 0.25


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2), (7, 9), (2000, 10)])
def test_pictures_of_odd_sizes(size: tuple[int, int]):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = measured(noise)
    assert all(value is None or 0 <= value <= 1 for value in found.values()), found


def test_the_stage_is_off_by_default_and_its_rule_is_by_itself(job_of, plan_run, drawings):
    off = job_of(pairs(2))
    assert "pixels" not in {stage.name for stage in measuring(off, {})}
    assert "near_blank" not in {rule.reason for rule in default_rules(off)}
    planned = plan_run(pairs(3), measure={"pixels": {}}, rules=None)
    rules = [rule for rule in default_rules(planned.plan.job) if rule.reason == "near_blank"]
    assert [rule.when for rule in rules] == ["one_colour_share > 0.98"]
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [drawings[0], None, plain(size=(96, 96))])
    planned.make("pixels")
    cells = list(planned.read("pixels").values())
    assert [row["one_colour_share"] for row in cells][1:] == [None, 1]
    assert cells[0]["one_colour_share"] < 0.5
    planned.make("pairs", "dedup", "decide")
    assert [row["reason"] for row in planned.read("decide").values()] == [
        None, "http_not_found", "near_blank",
    ]  # fmt: skip


def test_shares_are_of_the_scaled_picture(photographs):
    small = measures.scaled(photographs[0])
    assert small.shape == (171, 256, 3)
    assert measures.scaled(small) is small
