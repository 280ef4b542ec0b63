"""A square canvas addressed in fractions of its side, so that a drawing is the same at any size.

x grows to the right and y downwards, both from 0 to 1. Angles are degrees.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
Values = NDArray[np.float32] | NDArray[np.float64]
Point = tuple[float, float]
Colour = Sequence[float] | Values | float

_SUBPIXEL_BITS = 4


@lru_cache(maxsize=8)
def axes(side: int) -> tuple[Field, Field]:
    """x and y of every pixel's centre, float32 arrays of shape (side, side), read-only."""
    centres = ((np.arange(side, dtype=np.float32) + 0.5) / side).astype(np.float32)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    x.flags.writeable = y.flags.writeable = False
    return x, y


def noise(rng: np.random.Generator, cells: int, side: int, amplitude: float = 1.0) -> Field:
    """Smooth value noise of unit variance at its knots, float32 of shape (side, side).

    It takes the same draws from `rng` at any side.
    """
    knots = rng.standard_normal((cells, cells)).astype(np.float32) * amplitude
    return np.asarray(cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def flat(colour: Colour, side: int) -> Field:
    """One colour everywhere, float32 of shape (side, side, 3)."""
    return np.broadcast_to(np.asarray(colour, np.float32), (side, side, 3)).copy()


def blend(top: Colour, bottom: Colour, side: int) -> Field:
    """A vertical gradient between two colours, float32 of shape (side, side, 3)."""
    weight = axes(side)[1][..., None]
    return np.asarray(top, np.float32) * (1 - weight) + np.asarray(bottom, np.float32) * weight


def to_pixels(values: Values) -> Pixels:
    """Colours 0-255 as uint8, clipped and rounded."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class Canvas:
    """uint8 pixels, (side, side) or (side, side, 3), and anti-aliased shapes on them."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = np.ascontiguousarray(pixels)
        self.side = int(pixels.shape[0])

    @classmethod
    def mask(cls, side: int) -> Canvas:
        """An empty single-channel canvas."""
        return cls(np.zeros((side, side), np.uint8))

    def circle(
        self, centre: Point, radius: float, colour: Colour = 255.0, squash: float = 1.0
    ) -> None:
        """A filled disc; `squash` scales its height."""
        size = (self._length(radius), self._length(radius * squash))
        cv2.ellipse(
            self.pixels, self._point(centre), size, 0, 0, 360, _scalar(colour), -1,
            cv2.LINE_AA, _SUBPIXEL_BITS,
        )  # fmt: skip

    def arc(self, centre: Point, radii: Point, turn: float, sweep: float, width: float,
            colour: Colour) -> None:  # fmt: skip
        """An open stretch of an ellipse, `sweep` degrees long, turned by `turn` degrees."""
        size = (self._length(radii[0]), self._length(radii[1]))
        cv2.ellipse(
            self.pixels, self._point(centre), size, turn, 0, sweep, _scalar(colour),
            self._width(width), cv2.LINE_AA, _SUBPIXEL_BITS,
        )  # fmt: skip

    def polygon(self, points: Sequence[Point] | Values, colour: Colour = 255.0) -> None:
        """A filled polygon."""
        cv2.fillPoly(
            self.pixels, [self._points(points)], _scalar(colour), cv2.LINE_AA, _SUBPIXEL_BITS
        )

    def line(self, points: Sequence[Point] | Values, width: float, colour: Colour = 255.0) -> None:
        """An open polyline."""
        cv2.polylines(
            self.pixels, [self._points(points)], False, _scalar(colour), self._width(width),
            cv2.LINE_AA, _SUBPIXEL_BITS,
        )  # fmt: skip

    def limb(self, joints: Sequence[tuple[float, float, float]], colour: Colour = 255.0) -> None:
        """A chain of discs (x, y, radius) joined by tapered sleeves."""
        for x, y, radius in joints:
            self.circle((x, y), radius, colour)
        for (x0, y0, r0), (x1, y1, r1) in itertools.pairwise(joints):
            length = float(np.hypot(x1 - x0, y1 - y0))
            if length == 0:
                continue
            nx, ny = (y0 - y1) / length, (x1 - x0) / length
            self.polygon(
                [
                    (x0 + nx * r0, y0 + ny * r0),
                    (x1 + nx * r1, y1 + ny * r1),
                    (x1 - nx * r1, y1 - ny * r1),
                    (x0 - nx * r0, y0 - ny * r0),
                ],
                colour,
            )

    def _points(self, points: Sequence[Point] | Values) -> NDArray[np.int32]:
        # OpenCV puts whole numbers at pixel centres; a fraction of the side starts at a corner.
        scaled = (np.asarray(points, np.float64) * self.side - 0.5) * (1 << _SUBPIXEL_BITS)
        return np.rint(scaled).astype(np.int32)

    def _point(self, point: Point) -> tuple[int, int]:
        x, y = self._points([point])[0]
        return int(x), int(y)

    def _length(self, length: float) -> int:
        return max(1, round(length * self.side * (1 << _SUBPIXEL_BITS)))

    def _width(self, width: float) -> int:
        return max(1, round(width * self.side))


def _scalar(colour: Colour) -> tuple[float, ...]:
    return tuple(float(c) for c in np.clip(np.atleast_1d(np.asarray(colour)), 0, 255))
