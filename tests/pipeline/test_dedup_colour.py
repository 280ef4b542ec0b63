"""Pictures that differ only in colour: PDQ hashes agree, thumbnails do not."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipeline.fetch.picture.fingerprints import perceptual_hash, thumbnail
from pipeline.measure.dedup.dedup import near_hashes


def _flag(colour: tuple[int, int, int]) -> np.ndarray:
    """A serrated area of one colour on white, like the flags of Bahrain and Qatar."""
    flag = np.full((128, 192, 3), 255, np.uint8)
    for tooth in range(9):
        top = tooth * 15
        cv2.fillPoly(
            flag, [np.array([[60, top], [192, top], [192, top + 14], [80, top + 7]])], colour
        )
    return flag


@pytest.mark.parametrize(("agreement", "grouped"), [(None, True), (0.9, False)])
def test_flags_that_differ_only_in_colour_are_not_duplicates(agreement, grouped):
    # Of equal luminance, so that PDQ's grey picture is the same.
    pictures = [_flag((200, 40, 40)), _flag((0, 104, 177))]
    hashes, qualities = zip(*(perceptual_hash(p) for p in pictures), strict=True)
    rows = pa.table(
        {
            "phash": pa.array(hashes, pa.binary(32)),
            "phash_quality": pa.array(qualities, pa.int32()),
            "thumb": pa.array([thumbnail(p) for p in pictures], pa.binary(432)),
        }
    )
    found = near_hashes(rows, 24, 0, agreement)
    assert bool(found.has_neighbours().all()) is grouped
