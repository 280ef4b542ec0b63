"""Pictures that differ only in colour: PDQ hashes agree, thumbnails do not."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
from planned_run import BARE

from pipeline.config.dedup import DedupConfig
from pipeline.fetch.picture.fingerprints import perceptual_hash, thumbnail
from pipeline.measure.dedup.pictures import Pictures
from pipeline.measure.dedup.search import search

RED, BLUE, GREY = (200, 40, 40), (0, 104, 177), (88, 88, 88)
"""Of equal luminance, so that PDQ's grey picture is the same."""


def _flag(colour: tuple[int, int, int]) -> np.ndarray:
    """A serrated area of one colour on white, like the flags of Bahrain and Qatar."""
    flag = np.full((128, 192, 3), 255, np.uint8)
    for tooth in range(9):
        top = tooth * 15
        cv2.fillPoly(
            flag, [np.array([[60, top], [192, top], [192, top + 14], [80, top + 7]])], colour
        )
    return flag


@pytest.mark.parametrize(
    ("colours", "agrees"), [((RED, BLUE), False), ((RED, GREY), True), ((GREY, BLUE), True)]
)
def test_flags_that_differ_only_in_colour_are_not_duplicates(colours, agrees):
    """A grey copy of either is one."""
    pictures = [_flag(colour) for colour in colours]
    hashes, qualities = zip(*(perceptual_hash(p) for p in pictures), strict=True)
    rows = pa.table(
        {
            "uid": ["a", "b"],
            "sha256": ["1", "2"],
            "phash": pa.array(hashes, pa.binary(32)),
            "phash_quality": pa.array(qualities, pa.int32()),
            "thumb": pa.array([thumbnail(p) for p in pictures], pa.binary(432)),
        }
    )
    config = DedupConfig(**BARE["dedup"], phash_quality=0)
    (edge,) = search(Pictures(rows, []), config, None, by_clip=False).to_pylist()
    assert edge["kind"] == "phash"
    assert (edge["colour"] >= config.phash_thumbnail_similarity) is agrees
