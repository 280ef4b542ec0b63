"""How far each picture of a group is from what is typical of the group.

Of many copies of a picture each was changed in its own way, and at most places most of them still
show what it showed. So the median of all is near to the picture that they were made from, and a
copy that was made brighter, greyer, noisier or blurred is far from it.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.measure.dedup.edges import Indices, Numbers
from pipeline.table.arrays import from_numbers

SIDE = 24
"""Samples on each axis."""
_LEAST = 3
"""Different pictures from which on there is a median that is none of them."""
_FACTOR, _LEVELS = 1.5, 0.5
"""How much farther than the nearest, and how many grey levels beyond that, is still as near: as far
as the compression of a JPEG of quality 90 moves a picture."""
Samples = npt.NDArray[np.uint8]


def samples_of(rgb: npt.NDArray[np.uint8]) -> bytes:
    """24×24 single pixels of a picture (height, width, 3), row by row, unlike a small picture as
    noisy or as sharp as the picture is."""
    import cv2

    return cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST).tobytes()


def centralities(
    group: Indices, width: Indices, height: Indices, samples: pa.ChunkedArray
) -> Numbers:
    """For each row minus its mean distance in levels to the median of those in its group that are
    of its size, each different picture counted once; 0 if it is as near as the nearest, or if there
    are fewer than three different ones. `nan` without samples. A `group` of −1 is none."""
    found = np.full(len(group), np.nan, np.float32)
    there = np.flatnonzero((group >= 0) & np.asarray(samples.is_valid()))
    keys = np.stack([group[there], width[there], height[there]], axis=1)
    order = np.lexsort(keys.T)
    there, keys = there[order], keys[order]
    changes = np.ones(len(keys), bool)
    changes[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.flatnonzero(changes)
    for start, end in pairwise([*starts, len(keys)]):
        rows = there[start:end]
        found[rows] = 0 if len(rows) < _LEAST else _of_one(samples.take(from_numbers(rows)))
    return found


def _of_one(samples: pa.ChunkedArray) -> Numbers:
    """Those of the members of one group."""
    codes = samples.combine_chunks().dictionary_encode()
    different = np.frombuffer(b"".join(codes.dictionary.to_pylist()), np.uint8)
    pictures = different.reshape(len(codes.dictionary), -1)
    if len(pictures) < _LEAST:
        return np.zeros(len(samples), np.float32)
    median = np.median(pictures, axis=0).astype(np.float32)
    away = np.abs(pictures - median).mean(axis=1)
    beyond = np.maximum(away - (_FACTOR * away.min() + _LEVELS), 0)
    own: Numbers = np.float32(-1) * np.round(beyond, 1)[np.asarray(codes.indices)]
    return own + np.float32(0)  # no −0
