"""From bytes as fetched to the stored JPEG: the resizer that img2dataset calls."""

import hashlib
from dataclasses import dataclass, replace
from typing import IO, Any

import cv2
import numpy as np
import simplejpeg

from pipeline.config.download import DownloadConfig
from pipeline.fetch.failure import printable
from pipeline.fetch.picture.decode import Pixels, decode, fit
from pipeline.fetch.picture.fingerprints import perceptual_hash, thumbnail
from pipeline.fetch.picture.sniff import Sniffed, looks_like, sniff


@dataclass(frozen=True)
class Facts:
    """What was learned about fetched bytes; the size is that of the upright picture, in pixels."""

    sha256: str
    size: int
    format: str | None = None
    original_width: int | None = None
    original_height: int | None = None
    phash: bytes | None = None
    phash_quality: int | None = None
    thumb: bytes | None = None


class Picture(bytes):
    """A stored JPEG. img2dataset hands it to the writer untouched, and its facts with it."""

    facts: Facts


class Refusal(str):
    """Why bytes were refused, as `reason: detail`, with what was learned about them."""

    facts: Facts


Resized = tuple[Picture | None, int | None, int | None, int | None, int | None, Refusal | None]


class Resizer:
    """`(stream, boxes) -> (jpeg, width, height, original width, original height, error)`.

    Limits are checked on the header, before anything is decoded. `resize_mode` has img2dataset's
    meanings: `keep_ratio` brings the shorter side to `image_size`, `center_crop` cuts the middle
    square out of that, `border` brings the longer side to it and adds white, `no` leaves the size.
    With `resize_only_if_bigger` a smaller picture is left as it is in all of them.
    """

    def __init__(self, config: DownloadConfig) -> None:
        self._config = config

    def __call__(self, stream: IO[bytes], boxes: Any = None) -> Resized:
        stream.seek(0)
        data = stream.read()
        facts = Facts(hashlib.sha256(data).hexdigest(), len(data))
        sniffed = sniff(data)
        if sniffed is None:
            return _refuse("not_an_image", f"the bytes look like {looks_like(data)}", facts)
        facts = replace(facts, format=sniffed.format)
        if not sniffed.width or not sniffed.height:
            return _refuse("decode_error", f"{sniffed.format} header cut short or broken", facts)
        sized = replace(facts, original_width=sniffed.width, original_height=sniffed.height)
        if fault := self._limits(sniffed):
            return _refuse(*fault, sized)
        width, height = self._target(sniffed.width, sniffed.height)
        scale = min(1.0, max(width / sniffed.width, height / sniffed.height))
        try:
            pixels, turned = decode(data, sniffed, scale)
        except Exception as error:  # decoders raise anything at all on hostile bytes
            return _refuse("decode_error", f"{type(error).__name__}: {error}", sized)
        if turned:
            width, height = height, width
            sized = replace(sized, original_width=sniffed.height, original_height=sniffed.width)
        whole = fit(pixels, width, height)
        phash, quality = perceptual_hash(pixels)
        stored = self._frame(whole)
        jpeg = simplejpeg.encode_jpeg(
            stored, quality=self._config.encode_quality, colorspace="RGB", colorsubsampling="420"
        )
        picture = Picture(jpeg)
        picture.facts = replace(sized, phash=phash, phash_quality=quality, thumb=thumbnail(pixels))
        size = (stored.shape[1], stored.shape[0])
        return picture, *size, sized.original_width, sized.original_height, None

    def _limits(self, sniffed: Sniffed) -> tuple[str, str] | None:
        config, (width, height) = self._config, (sniffed.width, sniffed.height)
        if min(width, height) < config.min_image_size:
            return "image_too_small", f"{width}×{height} (at least {config.min_image_size})"
        if width * height > config.max_image_pixels:
            detail = f"{width}×{height} (at most {config.max_image_pixels} pixels)"
            return "image_too_many_pixels", detail
        ratio = max(width, height) / min(width, height)
        if ratio > config.max_aspect_ratio:
            return "image_aspect_ratio", f"{width}×{height} (at most {config.max_aspect_ratio:g}:1)"
        return None

    def _target(self, width: int, height: int) -> tuple[int, int]:
        """The whole picture's size before cropping or padding."""
        config = self._config
        if config.resize_mode == "no":
            return width, height
        side = max(width, height) if config.resize_mode == "border" else min(width, height)
        if config.resize_only_if_bigger and side <= config.image_size:
            return width, height
        scale = config.image_size / side
        return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))

    def _frame(self, whole: Pixels) -> Pixels:
        config, side = self._config, self._config.image_size
        height, width = whole.shape[:2]
        if config.resize_mode == "center_crop" and min(height, width) == side:
            top, left = (height - side) // 2, (width - side) // 2
            whole = whole[top : top + side, left : left + side]
        elif config.resize_mode == "border" and max(height, width) == side:
            top, left = (side - height) // 2, (side - width) // 2
            whole = np.asarray(
                cv2.copyMakeBorder(
                    whole, top, side - height - top, left, side - width - left,
                    cv2.BORDER_CONSTANT, value=(255, 255, 255),
                ),
                dtype=np.uint8,
            )  # fmt: skip
        return np.ascontiguousarray(whole)


def _refuse(reason: str, detail: str, facts: Facts) -> Resized:
    refusal = Refusal(f"{reason}: {printable(detail)}")
    refusal.facts = facts
    return None, None, None, None, None, refusal
