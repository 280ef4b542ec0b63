"""What the subjects are made of: one texture each, filling the whole canvas."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pipeline.demo.world.canvas import Canvas, Pixels, axes, flat, noise, to_pixels

Texture = Callable[[np.random.Generator, int], Pixels]


def cheese(rng: np.random.Generator, side: int) -> Pixels:
    """Pale yellow with large dark holes, few enough to be seen one by one."""
    ground = flat(np.array([252, 216, 92]) + rng.normal(0, 5, 3), side)
    canvas = Canvas(to_pixels(ground + noise(rng, 5, side, 4)[..., None]))
    # A jittered lattice, so that every subject, also a thin one, has some holes.
    step = 1 / 6.5
    shift = rng.uniform(-step, 0, 2)
    for row in range(8):
        for column in range(8):
            x = shift[0] + (column + 0.5 * (row % 2) + rng.uniform(-0.22, 0.22)) * step
            y = shift[1] + (row + rng.uniform(-0.22, 0.22)) * step
            radius = rng.uniform(0.026, 0.05)
            canvas.circle((x, y), radius, (112, 58, 6), squash=0.9)
            canvas.circle((x + radius * 0.2, y + radius * 0.28), radius * 0.68, (168, 100, 18), 0.9)
    return canvas.pixels


def wood(rng: np.random.Generator, side: int) -> Pixels:
    """Brown with bent grain."""
    x, y = axes(side)
    tilt = rng.uniform(-0.25, 0.25)
    across = (x * tilt + y + noise(rng, 5, side, 6 / 160)) * 160
    grain = np.sin(across * rng.uniform(0.42, 0.6)) * 0.5 + np.sin(across * 0.17 + 2) * 0.5
    base = np.array([150, 92, 44], np.float32) + rng.normal(0, 6, 3).astype(np.float32)
    return to_pixels(base + grain[..., None] * np.array([36, 28, 18], np.float32))


def stone(rng: np.random.Generator, side: int) -> Pixels:
    """Grey blocks with dark joints: the cells of a Voronoi diagram (F2 - F1, Worley 1996)."""
    coarse = 72
    x, y = axes(coarse)
    points = rng.uniform(0, 1, (38, 2)).astype(np.float32)
    distances = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1])
    nearest = np.partition(distances, 1, axis=-1)
    gap = cv2.resize(nearest[..., 1] - nearest[..., 0], (side, side))
    joint = np.clip((0.026 - gap) / 0.008, 0, 1)[..., None]
    colour = flat(np.array([140, 142, 148]) + rng.normal(0, 4, 3), side)
    colour = colour + noise(rng, 40, side, 9)[..., None] + noise(rng, 7, side, 9)[..., None]
    return to_pixels(colour * (1 - 0.55 * joint))


def grass(rng: np.random.Generator, side: int) -> Pixels:
    """Green blades, light over dark."""
    canvas = Canvas(to_pixels(flat(np.array([52, 128, 38]) + rng.normal(0, 6, 3), side)))
    roots = rng.uniform(0, 1, (380, 2))
    lean = rng.uniform(-0.03, 0.03, 380)
    height = rng.uniform(0.04, 0.09, 380)
    bright = rng.uniform(-45, 60, 380)
    for (x, y), dx, dy, b in zip(roots, lean, height, bright, strict=True):
        colour = (60 + b * 0.6, 145 + b, 40 + b * 0.3)
        canvas.line([(x, y), (x + dx, y - dy)], 0.0125, colour)
    return canvas.pixels


def brick(rng: np.random.Generator, side: int) -> Pixels:
    """Red bricks in pale mortar."""
    canvas = Canvas(to_pixels(flat((216, 206, 192), side)))
    height, width, mortar = 13 / 160, 27 / 160, 2.6 / 160
    shift = rng.uniform(0, height)
    tint = rng.normal(0, 6)
    shades = rng.normal(0, 12, (15, 8))
    for row in range(15):
        top = shift + (row - 1) * height
        for column in range(8):
            left = (column - 1 + 0.5 * (row % 2)) * width - shift
            q = shades[row, column]
            right, bottom = left + width - mortar, top + height - mortar
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            canvas.polygon(corners, (172 + q + tint, 64 + q * 0.6, 48 + q * 0.5))
    return canvas.pixels


def gold(rng: np.random.Generator, side: int) -> Pixels:
    """Polished metal: smooth, no texture, from deep bronze to a white-hot highlight."""
    x, y = axes(side)
    phase = (x * 0.6 + y) * 12 + rng.uniform(0, 6) + noise(rng, 4, side, 0.8)
    shine = (np.sin(phase) * 0.5 + 0.5)[..., None]
    deep, mid, hot = (
        np.array(c, np.float32) for c in ((128, 66, 0), (228, 154, 16), (255, 246, 196))
    )
    low = deep + (mid - deep) * np.clip(shine * 1.8, 0, 1)
    colour = low + (hot - mid) * np.clip((shine - 0.72) / 0.28, 0, 1) ** 1.5
    return to_pixels(colour + rng.normal(0, 4, 3).astype(np.float32))


def ice(rng: np.random.Generator, side: int) -> Pixels:
    """Clear blue with white cracks."""
    ground = flat(np.array([138, 206, 242]) + rng.normal(0, 4, 3), side)
    canvas = Canvas(to_pixels(ground + noise(rng, 6, side, 15)[..., None]))
    for _ in range(19):
        start = rng.uniform(0, 1, 2)
        steps = np.vstack([np.zeros(2), np.cumsum(rng.uniform(-0.18, 0.18, (3, 2)), axis=0)])
        canvas.line(start + steps, 0.0125, (244, 252, 255))
    return canvas.pixels


def wool(rng: np.random.Generator, side: int) -> Pixels:
    """Cream, covered with curls."""
    canvas = Canvas(to_pixels(flat(np.array([240, 231, 216]) + rng.normal(0, 4, 3), side)))
    across, down = np.meshgrid(np.arange(11), np.arange(11))
    lattice = np.stack([across.ravel() + 0.5 * (down.ravel() % 2), down.ravel() + 0.25], axis=1)
    centres = (lattice + rng.uniform(-0.3, 0.3, lattice.shape)) / 11
    turns = rng.uniform(0, 360, len(centres))
    for (x, y), turn in zip(centres, turns, strict=True):
        canvas.arc((x, y), (0.041, 0.034), turn, 300, 0.0125, (178, 154, 130))
    return canvas.pixels


TEXTURES: dict[str, Texture] = {
    "cheese": cheese,
    "wood": wood,
    "stone": stone,
    "grass": grass,
    "brick": brick,
    "gold": gold,
    "ice": ice,
    "wool": wool,
}
MATERIALS: tuple[str, ...] = tuple(TEXTURES)
