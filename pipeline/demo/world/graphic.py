"""Harmless substitutes for graphic pictures, so that a demo has something to filter."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.demo.world.canvas import Canvas, Pixels, flat, noise, to_pixels
from pipeline.demo.world.draw import canvas_side


def draw_graphic(rng: np.random.Generator, size: int = 64) -> Pixels:
    """Red paint thrown on a grey wall, and a warning sign: RGB uint8 of shape (size, size, 3)."""
    side = canvas_side(size)
    grey = rng.uniform(120, 185)
    canvas = Canvas(to_pixels(flat((grey, grey, grey), side) + noise(rng, 6, side, 5)[..., None]))
    red = np.array([172, 14, 18]) + rng.normal(0, 9, 3)
    dark = red * 0.62
    x, y = rng.uniform(0.36, 0.64), rng.uniform(0.28, 0.42)
    for drip in rng.uniform(-0.2, 0.2, 6):
        end = y + rng.uniform(0.3, 0.56)
        width = rng.uniform(0.014, 0.026)
        canvas.limb([(x + drip, y, width), (x + drip, end, width * 0.8)], dark)
        canvas.circle((x + drip, end), width * 1.25, dark, squash=1.5)
    _splash(canvas, rng, (x, y), red)
    for angle, reach in zip(rng.uniform(0, 2 * np.pi, 26), rng.uniform(0.24, 0.5, 26), strict=True):
        radius = rng.uniform(0.008, 0.032)
        canvas.circle((x + np.cos(angle) * reach, y + np.sin(angle) * reach), radius, red)
    _warning_sign(canvas, (rng.choice([0.18, 0.82]), rng.uniform(0.76, 0.84)), 0.17)
    small = cv2.resize(canvas.pixels, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _splash(
    canvas: Canvas, rng: np.random.Generator, centre: tuple[float, float], colour: np.ndarray
) -> None:
    spikes = 44
    angles = np.linspace(0, 2 * np.pi, spikes, endpoint=False)
    long = rng.uniform(0.2, 0.33, spikes)
    reach = np.where(np.arange(spikes) % 2 == 0, long, rng.uniform(0.15, 0.2, spikes))
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    canvas.polygon((points + centre).astype(np.float32), colour)
    for (dx, dy), length in zip(points, reach, strict=True):
        if length > 0.24:
            canvas.circle((centre[0] + dx, centre[1] + dy), 0.02, colour)


def _warning_sign(canvas: Canvas, centre: tuple[float, float], radius: float) -> None:
    x, y = centre
    for scale, colour in ((1.0, (20, 18, 16)), (0.74, (250, 206, 40))):
        r = radius * scale
        corners = [(x, y - r), (x + r * 0.92, y + r * 0.66), (x - r * 0.92, y + r * 0.66)]
        canvas.polygon(corners, colour)
    canvas.limb([(x, y - radius * 0.34, 0.02), (x, y + radius * 0.12, 0.014)], (20, 18, 16))
    canvas.circle((x, y + radius * 0.34), 0.02, (20, 18, 16))
