"""Which picture of a group is the one that the others were made from."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipeline.measure.dedup.typical import centralities, samples_of
from tests.copies import COPIES, Picture


@pytest.fixture(scope="module")
def picture() -> Picture:
    """Coloured clouds that are finely grained."""
    rng = np.random.default_rng(3)
    coarse, fine = (
        cv2.GaussianBlur(rng.normal(0, 1, (240, 320, 3)), (0, 0), sigma) for sigma in (12, 1.2)
    )
    return np.clip(128 + 1200 * coarse + 40 * fine, 0, 255).astype(np.uint8)


OF_ONE_SIZE = [
    "JPEG 50", "JPEG 20", "mirror image", "grey", "brightness", "contrast", "hue", "blur", "noise",
    "rotation by 2°",
]  # fmt: skip


def of(pictures: list[Picture | None], group: list[int] | None = None) -> list[float]:
    size = np.array([(0, 0) if one is None else one.shape[:2] for one in pictures], np.int64)
    size = size.reshape(-1, 2)
    cells = pa.chunked_array([[None if one is None else samples_of(one) for one in pictures]])
    groups = np.zeros(len(pictures), np.int64) if group is None else np.array(group, np.int64)
    return centralities(groups, size[:, 1], size[:, 0], cells).tolist()


def test_the_original_is_nearest_to_what_most_copies_show(picture):
    """Of each two kinds of copies, and of all together."""
    copies = {kind: COPIES[kind](picture) for kind in OF_ONE_SIZE}
    found = dict(zip(["original", *copies], of([picture, *copies.values()]), strict=True))
    assert found["original"] == 0
    # What differs hardly is told apart by the bytes of its file, not by a part of a level.
    slight = {"original", "JPEG 50", "blur"}
    assert {kind for kind, value in found.items() if value == 0} <= slight
    for changed in ("brightness", "grey", "mirror image", "rotation by 2°"):
        for other in ("JPEG 50", "noise"):
            few = of([copies[changed], picture, copies[other]])
            assert few[1] == 0
            assert few[0] < 0, changed


def test_equal_copies_count_once(picture):
    """Else the copy that was spread most would pass for the original."""
    grey = COPIES["grey"](picture)
    others = [COPIES[kind](picture) for kind in ("JPEG 20", "watermark", "brightness")]
    found = of([*[grey] * 20, picture, *others])
    assert found[20] == 0
    assert set(found[:20]) == {found[0]}
    assert found[0] < 0


def test_two_different_pictures_have_no_middle(picture):
    assert of([picture, COPIES["noise"](picture), picture]) == [0, 0, 0]


def test_other_sizes_other_groups_and_rows_without_a_picture_are_apart(picture):
    turned, bright = COPIES["mirror image"](picture), COPIES["brightness"](picture)
    half = COPIES["half size"](picture)
    found = of([picture, turned, bright, half, None, turned], [0, 0, 0, 0, 0, -1])
    assert found[0] == 0 == found[3]
    assert found[1] < 0 > found[2]
    assert np.isnan(found[4:]).all()


def test_nothing_gives_nothing(picture):
    assert of([]) == []
    assert np.isnan(of([picture], [-1])).all()
