"""A picture's perceptual hash and thumbnail, by which pictures are compared."""

import cv2
import numpy as np
import pdqhash

from pipeline.fetch.picture.decode import Pixels

THUMB_SIDE = 12
_HASH_SIDE = 64


def small(pixels: Pixels) -> Pixels:
    """The picture's means over 64×64 areas, which the hash and the thumbnail are made from."""
    size = (_HASH_SIDE, _HASH_SIDE)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def perceptual_hash(means: Pixels) -> tuple[bytes, int]:
    """PDQ hash (32 bytes, most significant bit first) and its quality, 0–100, of 64×64 means.

    Source: Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm"
    (2019). PDQ works on 64×64 luminances. Here every picture is reduced to them by means over
    areas instead of PDQ's own box filters, whose sample positions depend on the size: so a picture
    and its reduced copy differ by 2–6 bits instead of 11–20 (docs/decisions/fetching.md).
    The hash stays near that of other PDQ tools (6–8 bits, at most 26).
    """
    bits, quality = pdqhash.compute(means)
    return np.packbits(bits).tobytes(), int(quality)


def plain_hash(pixels: Pixels) -> bytes:
    """PDQ hash (32 bytes) by the algorithm's own first step, to compare with others' lists."""
    bits, _ = pdqhash.compute(pixels)
    return np.packbits(bits).tobytes()


def thumbnail(means: Pixels) -> bytes:
    """The picture at 12×12 RGB, 432 bytes, row by row, of 64×64 means."""
    side = (THUMB_SIDE, THUMB_SIDE)
    return bytes(cv2.resize(means, side, interpolation=cv2.INTER_AREA).tobytes())
