"""The places that the subjects are drawn in: one background each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.demo.world.canvas import Canvas, Colour, Pixels, Values, axes, blend, to_pixels

Background = Callable[[np.random.Generator, int], Pixels]


def hill(rng: np.random.Generator, side: int) -> Pixels:
    """A green hill under a blue sky."""
    jitter = rng.normal(0, 7, 3)
    sky = _with_clouds(rng, blend((120, 185, 245), (215, 238, 255), side) + jitter, 2)
    x, y = axes(side)
    top = rng.uniform(0.2, 0.8)
    brow = rng.uniform(0.5, 0.62) + 0.06 + (x - top) ** 2 * rng.uniform(0.35, 0.6)
    fall = (y - brow)[..., None] * 160
    grass = np.array([112, 186, 78], np.float32) + jitter - fall * np.array([0.35, 0.5, 0.25])
    return _over(sky, grass, y - brow)


def sea(rng: np.random.Generator, side: int) -> Pixels:
    """Waves up to the horizon."""
    jitter = rng.normal(0, 7, 3)
    sky = _with_clouds(rng, blend((150, 210, 250), (225, 244, 255), side) + jitter, 1)
    x, y = axes(side)
    waves = np.sin(y * 88 + np.sin(x * 17.6 + rng.uniform(0, 6)) * 2.2)[..., None] * 18
    water = np.array([24, 98, 168], np.float32) + jitter + waves
    return _over(sky, water, y - rng.uniform(0.5, 0.62))


def desert(rng: np.random.Generator, side: int) -> Pixels:
    """Two dunes and a pale sun."""
    jitter = rng.normal(0, 7, 3)
    canvas = Canvas(to_pixels(blend((255, 206, 140), (255, 238, 205), side) + jitter))
    canvas.circle((rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.25)), 0.085, (255, 250, 215))
    x, y = axes(side)
    horizon, phase = rng.uniform(0.5, 0.62), rng.uniform(0, 6)
    pixels = canvas.pixels
    for k, sand in enumerate([(226, 170, 98), (206, 146, 76)]):
        brow = horizon + k * 0.125 + np.sin(x * 6.4 + phase + k * 2) * 0.05
        pixels = _over(pixels, np.asarray(sand, np.float32) + jitter, y - brow)
    return pixels


def night(rng: np.random.Generator, side: int) -> Pixels:
    """Stars and a crescent moon."""
    top, bottom = np.array([8, 10, 40], np.float32), np.array([44, 44, 96], np.float32)
    jitter = rng.normal(0, 3.5, 3)
    sky = blend(top, bottom, side) + jitter
    canvas = Canvas(to_pixels(sky))
    for (x, y), size in zip(rng.uniform(0, 1, (40, 2)), rng.uniform(1, 2, 40), strict=True):
        canvas.circle((x, y), size / 160, (235, 235, 215))
    x, y = rng.uniform(0.12, 0.88), rng.uniform(0.12, 0.25)
    canvas.circle((x, y), 0.095, (246, 240, 200))
    canvas.circle((x + 0.044, y - 0.025), 0.082, top * (1 - y) + bottom * y + jitter)
    return _over(canvas.pixels, np.array([22, 26, 48], np.float32), axes(side)[1] - 0.84)


def forest(rng: np.random.Generator, side: int) -> Pixels:
    """A row of firs."""
    jitter = rng.normal(0, 7, 3)
    canvas = Canvas(to_pixels(blend((170, 205, 170), (120, 160, 110), side) + jitter))
    for k in range(9):
        x = (k + rng.uniform(-0.3, 0.3)) / 8
        top = rng.uniform(0.05, 0.3)
        canvas.polygon([(x - 0.02, 0.6), (x + 0.02, 0.6), (x + 0.02, 0.82), (x - 0.02, 0.82)],
                       (84, 56, 34))  # fmt: skip
        green = (22 + rng.uniform(0, 14), 72 + rng.uniform(0, 30), 40)
        for tier in range(3):
            y, half = top + tier * 0.175, 0.075 + 0.031 * tier
            shade = tuple(c * (1 + 0.12 * tier) for c in green)
            canvas.polygon([(x, y), (x - half, y + 0.26), (x + half, y + 0.26)], shade)
    floor = np.array([70, 86, 40], np.float32) + jitter
    return _over(canvas.pixels, floor, axes(side)[1] - 0.78)


def snow(rng: np.random.Generator, side: int) -> Pixels:
    """A white field under a grey sky, flakes falling."""
    jitter = rng.normal(0, 3.5, 3)
    sky = to_pixels(blend((166, 182, 204), (212, 222, 236), side) + jitter)
    x, y = axes(side)
    brow = rng.uniform(0.5, 0.62) + np.sin(x * 8 + rng.uniform(0, 6)) * 0.044
    canvas = Canvas(_over(sky, np.array([240, 245, 252], np.float32) + jitter * 0.6, y - brow))
    for (fx, fy), size in zip(rng.uniform(0, 1, (60, 2)), rng.uniform(1, 2.4, 60), strict=True):
        canvas.circle((fx, fy), size / 160, (255, 255, 255))
    return canvas.pixels


def _with_clouds(rng: np.random.Generator, sky: Values, count: int) -> Pixels:
    canvas = Canvas(to_pixels(sky))
    white: Colour = (250, 252, 255)
    for _ in range(count):
        x, y = rng.uniform(0, 1), rng.uniform(0.03, 0.35)
        for puff in range(4):
            radius = rng.uniform(0.0375, 0.0625)
            canvas.circle(
                (x + puff * 0.05 - 0.075, y + rng.uniform(-0.02, 0.02)), radius, white, 0.85
            )
    return canvas.pixels


def _over(behind: Pixels, front: Values, depth: Values) -> Pixels:
    """`front` where `depth` (a distance below its edge) is positive, softened over a pixel."""
    side = behind.shape[0]
    weight = np.clip(depth * side + 0.5, 0, 1)[..., None]
    return to_pixels(behind * (1 - weight) + np.clip(front, 0, 255) * weight)


BACKGROUNDS: dict[str, Background] = {
    "hill": hill,
    "sea": sea,
    "desert": desert,
    "night": night,
    "forest": forest,
    "snow": snow,
}
PLACES: tuple[str, ...] = tuple(BACKGROUNDS)
