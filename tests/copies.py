"""Copies of pictures as the web makes them: what a search for repeats is to find."""

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Picture = np.ndarray
"""uint8, shape (height, width, 3), RGB."""


def recompressed(picture: Picture, quality: int) -> Picture:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(out.getvalue())))


def scaled(picture: Picture, factor: float) -> Picture:
    height, width = picture.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def cropped(picture: Picture, share: float) -> Picture:
    """The middle, `share` of each side."""
    height, width = picture.shape[:2]
    high, wide = round(height * share), round(width * share)
    top, left = (height - high) // 2, (width - wide) // 2
    return np.ascontiguousarray(picture[top : top + high, left : left + wide])


def rotated(picture: Picture, degrees: float) -> Picture:
    """About the middle, with white corners."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    white = (255, 255, 255)
    return np.asarray(cv2.warpAffine(picture, turn, (width, height), borderValue=white))


def mirrored(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[:, ::-1])


def grey(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))


def brighter(picture: Picture) -> Picture:
    return np.clip(picture * 1.2 + 15.0, 0, 255).astype(np.uint8)


def of_more_contrast(picture: Picture) -> Picture:
    return np.clip((picture - 128.0) * 1.4 + 128, 0, 255).astype(np.uint8)


def of_another_hue(picture: Picture) -> Picture:
    """All hues turned by 30 degrees."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + 15) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def blurred(picture: Picture) -> Picture:
    """By a Gauss of half a per cent of the longer side."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(picture.shape) * 0.005))


def noisy(picture: Picture) -> Picture:
    grain = np.random.default_rng(0).normal(0, 10, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def _written(
    picture: Picture, text: str, place: tuple[int, int], size: int, fill: tuple[int, ...]
) -> Picture:
    image = Image.fromarray(picture)
    font = ImageFont.load_default(max(8, size))
    ImageDraw.Draw(image, "RGBA").text(place, text, fill, font)
    return np.asarray(image)


def with_caption_bar(picture: Picture) -> Picture:
    """A white bar above, a sixth of the height, with words."""
    bar = max(16, picture.shape[0] // 6)
    framed = cv2.copyMakeBorder(picture, bar, 0, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return _written(framed, "when you see it", (bar // 3, bar // 5), bar // 2, (0, 0, 0, 255))


def with_border(picture: Picture) -> Picture:
    """Dark, of 7 % of the longer side."""
    wide = round(0.07 * max(picture.shape))
    return np.asarray(
        cv2.copyMakeBorder(picture, wide, wide, wide, wide, cv2.BORDER_CONSTANT, value=(20, 20, 20))
    )


def with_watermark(picture: Picture) -> Picture:
    """Words across the middle, half opaque, a ninth of the width high."""
    height, width = picture.shape[:2]
    size = width // 9
    return _written(
        picture, "STOCKPHOTO", (width // 9, (height - size) // 2), size, (255,) * 3 + (140,)
    )


def as_screenshot(picture: Picture) -> Picture:
    """In a page of 500×900 pixels with a head, a line above and a line below."""
    width, height, top = 500, 900, 120
    page = np.full((height, width, 3), 245, np.uint8)
    shown = scaled(picture, width / picture.shape[1])[: height - 200]
    page[top : top + len(shown)], page[:60] = shown, (40, 90, 160)
    for text, place, fill in (
        ("10:42    news feed", (10, 15), (255, 255, 255, 255)),
        ("someone shared a photo", (10, 75), (0, 0, 0, 255)),
        ("Like   Comment   Share", (10, top + 10 + len(shown)), (60, 60, 60, 255)),
    ):
        page = _written(page, text, place, 25, fill)
    return page


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 90": lambda p: recompressed(p, 90),
    "JPEG 50": lambda p: recompressed(p, 50),
    "JPEG 20": lambda p: recompressed(p, 20),
    "half size": lambda p: scaled(p, 0.5),
    "quarter size": lambda p: scaled(p, 0.25),
    "crop to 90 %": lambda p: cropped(p, 0.9),
    "crop to 80 %": lambda p: cropped(p, 0.8),
    "crop to 60 %": lambda p: cropped(p, 0.6),
    "rotation by 2°": lambda p: rotated(p, 2),
    "rotation by 10°": lambda p: rotated(p, 10),
    "mirror image": mirrored,
    "grey": grey,
    "brightness": brighter,
    "contrast": of_more_contrast,
    "hue": of_another_hue,
    "blur": blurred,
    "noise": noisy,
    "caption bar": with_caption_bar,
    "border": with_border,
    "watermark": with_watermark,
    "screenshot": as_screenshot,
}
"""The shares of crops are those of each side."""
