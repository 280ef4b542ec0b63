"""From bytes as fetched to the stored JPEG, its hash and thumbnail: a slow, pure function."""

from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np
import simplejpeg

from pipeline.fetch.picture.decode import Pixels, decode, fit
from pipeline.fetch.picture.fingerprints import perceptual_hash, plain_hash, small, thumbnail
from pipeline.fetch.picture.metadata import MetadataOversizeError
from pipeline.fetch.picture.missing import CutShortError
from pipeline.fetch.picture.recipe import Recipe
from pipeline.fetch.picture.signals import read_signals
from pipeline.fetch.picture.sniff import looks_like, sniff
from pipeline.words.failure import printable

DECODED = frozenset({"jpeg", "png", "webp", "gif"})
"""Formats that are decoded even if the job does not accept them; others only if it does."""
JPEG_SIDE = 65_500
"""Greatest side that libjpeg writes, pixels."""


@dataclass(frozen=True)
class Made:
    """The result for a picture's bytes: `jpeg`, or a reason (`reasons.FETCH`) with its detail.

    The original size is that of the upright picture, in pixels; None if the header does not give
    it. `width` and `height` are as stored. `plain_pdq` is filled if the recipe asks for it. The
    signals are the picture's own statements (`signals.Signals`).
    """

    reason: str | None = None
    detail: str = ""
    format: str | None = None
    original_width: int | None = None
    original_height: int | None = None
    width: int | None = None
    height: int | None = None
    phash_quality: int | None = None
    jpeg: bytes = b""
    phash: bytes = b""
    thumb: bytes = b""
    plain_pdq: bytes = b""
    optout_metadata: str | None = None
    ai_generated_declared: str | None = None
    license_declared: str | None = None
    creator: str | None = None
    decode_warnings: str | None = None
    """What is wrong with a stored picture: words of `words/oddities`, with `, ` between them."""


def make_picture(data: bytes, recipe: Recipe) -> Made:
    """Decode, resize and encode, within the recipe's limits; they are checked on the header first.

    Only what could harm the process is refused here: a picture that is merely too small, too long
    or of a format that the job does not accept is stored, and a rule over its facts drops it later.

    `resize_mode` has img2dataset's meanings: `keep_ratio` brings the shorter side to `image_size`,
    `center_crop` cuts the middle square out of that, `border` brings the longer side to it and adds
    white, `no` keeps the size. With `resize_only_if_bigger` no mode enlarges a picture. MemoryError
    passes through.
    """
    sniffed = sniff(data)
    found = Made(format=sniffed.format if sniffed is not None else None)
    if sniffed is None or not (sniffed.format in DECODED or sniffed.format in recipe.formats):
        return _refuse("not_an_image", f"the bytes look like {looks_like(data)}", found)
    width, height = sniffed.width, sniffed.height
    if not 0 < min(width, height) <= max(width, height) < 1 << 31:
        return _refuse("decode_error", f"{sniffed.format} header cut short or broken", found)
    found = replace(found, original_width=width, original_height=height)
    if width * height > recipe.max_image_pixels:
        detail = f"{width}×{height} (at most {recipe.max_image_pixels} pixels)"
        return _refuse("image_too_many_pixels", detail, found)
    signals = read_signals(data, sniffed.format)
    found = replace(found, **asdict(signals))
    if recipe.respect_metadata and signals.optout_metadata is not None:
        return _refuse("opted_out_metadata", signals.optout_metadata, found)
    width, height = _target(width, height, recipe)
    if max(width, height) > JPEG_SIDE or width * height > recipe.max_image_pixels:
        before = f"{found.original_width}×{found.original_height}"
        detail = f"{before} would be stored as {width}×{height}"
        return _refuse("image_too_large", detail, found)
    scale = min(1.0, max(width / sniffed.width, height / sniffed.height))
    try:
        decoded = decode(data, sniffed, scale, recipe.max_metadata_bytes)
    except MemoryError:
        raise
    except MetadataOversizeError as error:
        return _refuse("metadata_oversize", str(error), found)
    except CutShortError as error:
        return _refuse("decode_error", str(error), found)
    except Exception as error:  # decoders raise anything at all on hostile bytes
        return _refuse("decode_error", f"{type(error).__name__}: {error}", found)
    pixels = decoded.pixels
    if decoded.turned:
        width, height = height, width
        found = replace(found, original_width=sniffed.height, original_height=sniffed.width)
    means = small(pixels)
    phash, quality = perceptual_hash(means)
    stored = _frame(fit(pixels, width, height), recipe)
    return replace(
        found,
        width=stored.shape[1],
        height=stored.shape[0],
        jpeg=simplejpeg.encode_jpeg(
            stored, quality=recipe.encode_quality, colorspace="RGB", colorsubsampling="420"
        ),
        phash=phash,
        phash_quality=quality,
        thumb=thumbnail(means),
        plain_pdq=plain_hash(pixels) if recipe.plain_pdq else b"",
        decode_warnings=", ".join(sorted(decoded.odd)) or None,
    )


def _refuse(reason: str, detail: str, found: Made) -> Made:
    return replace(found, reason=reason, detail=printable(detail))


def _target(width: int, height: int, recipe: Recipe) -> tuple[int, int]:
    """The whole picture's size before cropping or padding."""
    if recipe.resize_mode == "no":
        return width, height
    side = max(width, height) if recipe.resize_mode == "border" else min(width, height)
    if recipe.resize_only_if_bigger and side <= recipe.image_size:
        return width, height
    scale = recipe.image_size / side
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def _frame(whole: Pixels, recipe: Recipe) -> Pixels:
    side = recipe.image_size
    height, width = whole.shape[:2]
    if recipe.resize_mode == "center_crop" and min(height, width) == side:
        top, left = (height - side) // 2, (width - side) // 2
        whole = whole[top : top + side, left : left + side]
    elif recipe.resize_mode == "border" and max(height, width) == side:
        top, left = (side - height) // 2, (side - width) // 2
        whole = np.asarray(
            cv2.copyMakeBorder(
                whole, top, side - height - top, left, side - width - left,
                cv2.BORDER_CONSTANT, value=(255, 255, 255),
            ),
            dtype=np.uint8,
        )  # fmt: skip
    return np.ascontiguousarray(whole)
