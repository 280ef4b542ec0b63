"""What stands for a picture when pictures are compared: a perceptual hash and a thumbnail."""

import numpy as np
import pdqhash

from pipeline.fetch.decode import Pixels, fit

THUMB_SIDE = 12
_PDQ_SIDE = 512


def perceptual_hash(pixels: Pixels) -> tuple[bytes, int]:
    """PDQ hash (32 bytes, most significant bit first) and its quality, 0–100.

    Source: Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm"
    (2019), which shrinks pictures to at most 512 pixels a side first.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest > _PDQ_SIDE:
        width = max(1, round(width * _PDQ_SIDE / longest))
        height = max(1, round(height * _PDQ_SIDE / longest))
    bits, quality = pdqhash.compute(fit(pixels, width, height))
    return np.packbits(bits).tobytes(), int(quality)


def thumbnail(pixels: Pixels) -> bytes:
    """The picture at 12×12 RGB, 432 bytes, row by row."""
    return fit(pixels, THUMB_SIDE, THUMB_SIDE).tobytes()
