"""What a picture's pixels say without a model: blur, flatness, margins, one colour, text.

Every measure is a share, of the picture scaled down to at most 256 pixels a side, so that a picture
has the same values whatever size it is stored in.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
"""A picture, uint8 (height, width, 3)."""
Grey = npt.NDArray[np.uint8]
"""Levels of grey, uint8 (height, width)."""

SIDE = 256
_NOISE = 12
"""Levels by which JPEG changes a pixel of a plain area beside an edge."""
_LEAST_SIDE = 16
_WINDOW = 9
_STROKE = 40
_AROUND = (25, 9)


class Margins(NamedTuple):
    """Shares of the height or width that are a margin of one colour."""

    top: float
    bottom: float
    left: float
    right: float


def scaled(rgb: RGB) -> RGB:
    """The picture with no side above 256 pixels; smaller ones as they are."""
    import cv2

    height, width = rgb.shape[:2]
    factor = SIDE / max(height, width)
    if factor >= 1:
        return rgb
    size = max(1, round(width * factor)), max(1, round(height * factor))
    found: Any = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return np.asarray(found, np.uint8)


def blur(grey: Grey) -> float | None:
    """How much less a picture's steps become if it is blurred: 0 sharp, 1 as blurred as can be.

    The perceptual blur metric of Crété-Roffet et al., 2007 (hal-00232709), which does not depend on
    contrast: the greater of both directions. None for a picture without steps of 1 level a pixel.
    """
    import cv2

    if min(grey.shape) < _LEAST_SIDE:
        return None
    levels, found = grey.astype(np.float32), []
    for along in (levels, np.ascontiguousarray(levels.T)):
        blurred = cv2.blur(along, (_WINDOW, 1))
        steps = cv2.absdiff(along[:, 1:], along[:, :-1])
        total = cv2.sumElems(steps)[0]
        if total < steps.size:
            continue
        lost: Any = cv2.subtract(steps, cv2.absdiff(blurred[:, 1:], blurred[:, :-1]))
        found.append(1 - float(np.maximum(lost, 0).sum()) / total)
    return max(found, default=None)


def flat_share(grey: Grey) -> float:
    """The share of pixels around which 5×5 pixels differ by at most 12 levels."""
    import cv2

    window = np.ones((5, 5), np.uint8)
    spread = cv2.subtract(cv2.dilate(grey, window), cv2.erode(grey, window))
    return float((spread <= _NOISE).mean())


def one_colour_share(rgb: RGB) -> float:
    """The share of pixels within 12 levels of the commonest colour, in each channel."""
    import cv2

    counts = cv2.calcHist([rgb], [0, 1, 2], None, [16, 16, 16], [0, 256] * 3)
    low = 16 * np.asarray(np.unravel_index(int(counts.argmax()), counts.shape), np.float64)
    colour = np.asarray(cv2.mean(rgb, cv2.inRange(rgb, low, low + 15))[:3])
    return cv2.countNonZero(_near(rgb, colour)) / (rgb.shape[0] * rgb.shape[1])


def margins(rgb: RGB) -> Margins:
    """Rows above and below, then columns at both sides, that have the colour of the edge.

    A line is of a colour if 98 % of its pixels are within 12 levels of it. A picture of one colour
    is all margin: its `top` is 1, the others are 0.
    """
    height, width = rgb.shape[:2]
    top = _lines(rgb, 0, last=False)
    if top == height:
        return Margins(1.0, 0.0, 0.0, 0.0)
    bottom = _lines(rgb, 0, last=True)
    inner = np.ascontiguousarray(rgb[top : height - bottom])
    left = _lines(inner, 1, last=False)
    right = _lines(inner, 1, last=True) if left < width else 0
    return Margins(top / height, bottom / height, left / width, right / width)


def inside(grey: Grey, of: Margins) -> Grey:
    """The picture without its margins; all of it if little is left."""
    height, width = grey.shape
    inner = grey[
        round(of.top * height) : height - round(of.bottom * height),
        round(of.left * width) : width - round(of.right * width),
    ]
    return inner if min(inner.shape) >= _LEAST_SIDE else grey


def text_share(grey: Grey) -> float:
    """The share of the picture that looks like lines of text: thin strokes, close to each other,
    of strong contrast, on a plain ground.

    Strokes are what a morphological opening or closing of 7×7 removes (top-hat). Around a pixel of
    text (25×9) 12 to 65 % are strokes of one polarity, a quarter or more is plain ground, and the
    ground's levels have a standard deviation below 12.
    """
    import cv2

    window = np.ones((7, 7), np.uint8)
    found: Any = np.zeros(grey.shape, np.uint8)
    for kind in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN):
        ground = cv2.morphologyEx(grey, kind, window)
        depth = cv2.absdiff(ground, grey)
        strokes = _share_around(cv2.threshold(depth, _STROKE, 255, cv2.THRESH_BINARY)[1])
        plain = _share_around(cv2.threshold(depth, _NOISE, 255, cv2.THRESH_BINARY_INV)[1])
        mean = cv2.boxFilter(ground, cv2.CV_32F, _AROUND)
        spread = cv2.subtract(
            cv2.sqrBoxFilter(ground, cv2.CV_32F, _AROUND), cv2.multiply(mean, mean)
        )
        here = cv2.bitwise_and(cv2.inRange(strokes, 31, 165), cv2.inRange(plain, 64, 255))
        here = cv2.bitwise_and(here, cv2.inRange(spread, -1e9, 144.0))
        found = cv2.bitwise_or(found, here)
    return cv2.countNonZero(found) / found.size


def _share_around(mask: Any) -> Any:
    """The share of set pixels (255) around each, in 255ths: uint8 (height, width) of the same."""
    import cv2

    return cv2.blur(mask, _AROUND)


def _near(rgb: RGB, colour: npt.NDArray[np.floating[Any]]) -> Grey:
    """255 where every channel is within 12 levels of the colour, else 0."""
    import cv2

    return np.asarray(cv2.inRange(rgb, colour - _NOISE, colour + _NOISE), np.uint8)


def _lines(rgb: RGB, axis: int, last: bool) -> int:
    """How many rows (axis 0) or columns (1), from the first or the last, have the colour of that
    one."""
    import cv2

    edge = np.ascontiguousarray(rgb.take([-1 if last else 0], axis))
    colour = np.sort(edge.reshape(-1, 3), axis=0)[edge.size // 6].astype(np.float64)
    if cv2.countNonZero(_near(edge, colour)) < 0.98 * edge.size / 3:
        return 0
    alike = cv2.reduce(_near(rgb, colour), 1 - axis, cv2.REDUCE_AVG).ravel() >= 250
    if last:
        alike = alike[::-1]
    return len(alike) if alike.all() else int(alike.argmin())
