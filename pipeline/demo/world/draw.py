"""From a scene to its picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.demo.world.canvas import Canvas, Field, Pixels, Point, Values, to_pixels
from pipeline.demo.world.materials import TEXTURES
from pipeline.demo.world.places import BACKGROUNDS
from pipeline.demo.world.scene import Scene
from pipeline.demo.world.subjects import SHAPES, Joint, Subject

TINTS: dict[str, tuple[int, int, int]] = {
    "glass": (196, 226, 240),
    "dark": (38, 28, 26),
    "white": (250, 246, 236),
    "light": (255, 246, 176),
}
_SMALLEST_CANVAS = 160
_RELIEF_SIDE = 160


@dataclass(frozen=True)
class Pose:
    """The position of the subject's unit square on the canvas."""

    centre: Point
    scale: float
    turn: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Pose:
        scale, turn = rng.uniform(0.70, 0.88), rng.normal(0, 0.05)
        return cls((0.5 + rng.uniform(-0.06, 0.06), 0.52 + rng.uniform(-0.05, 0.05)), scale, turn)

    def point(self, x: float, y: float) -> Point:
        dx, dy = (x - 0.5) * self.scale, (y - 0.5) * self.scale
        c, s = math.cos(self.turn), math.sin(self.turn)
        return self.centre[0] + dx * c - dy * s, self.centre[1] + dx * s + dy * c

    def points(self, points: Sequence[Point]) -> list[Point]:
        return [self.point(x, y) for x, y in points]

    def joints(self, joints: Sequence[Joint]) -> list[Joint]:
        return [(*self.point(x, y), r * self.scale) for x, y, r in joints]


def draw(scene: Scene, rng: np.random.Generator, size: int = 64) -> Pixels:
    """The scene as RGB uint8 of shape (size, size, 3).

    The same state of `rng` gives the same picture at any size, only finer. KeyError for a scene
    that names what the world does not have.
    """
    side = canvas_side(size)
    behind = BACKGROUNDS[scene.place](rng, side)
    shape, pose = SHAPES[scene.subject], Pose.random(rng)
    texture = TEXTURES[scene.material](rng, side)
    cover = silhouette(shape, pose, side)
    body = _lit(texture, cover) * _shade(shape, pose, side)
    solid = cover[..., None]
    picture = behind * (1 - _shadow(cover)[..., None]) * (1 - solid) + body * solid
    canvas = Canvas(to_pixels(picture))
    _paint_details(canvas, shape, pose)
    small = cv2.resize(canvas.pixels, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def canvas_side(size: int) -> int:
    """The side to draw at, before the picture is averaged down to `size` pixels."""
    return max(_SMALLEST_CANVAS, round(size * 1.75))


def silhouette(shape: Subject, pose: Pose, side: int) -> Field:
    """How much of each pixel the subject covers, 0 to 1, float32 of shape (side, side)."""
    mask = Canvas.mask(side)
    for limb in shape.limbs:
        mask.limb(pose.joints(limb))
    for polygon in shape.polygons:
        mask.polygon(pose.points(polygon))
    for x, y, radius in pose.joints(shape.wheels):
        mask.circle((x, y), radius)
    return np.asarray(mask.pixels / np.float32(255), np.float32)


def _lit(texture: Pixels, cover: Field) -> Values:
    """The material rounded off: light from the upper left, and a dark rim."""
    side = cover.shape[0]
    # The relief is smooth, so one small canvas serves every size.
    small = cv2.resize(cover, (_RELIEF_SIDE, _RELIEF_SIDE), interpolation=cv2.INTER_AREA)
    height = cv2.GaussianBlur(small, (0, 0), 5)
    slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) * 0.6 + cv2.Sobel(height, cv2.CV_32F, 0, 1)
    light = 1 + np.clip(slope * 1.6, -0.42, 0.35)
    if side != _RELIEF_SIDE:
        light = cv2.resize(light, (side, side), interpolation=cv2.INTER_LINEAR)
    inside = cv2.GaussianBlur(cover, (0, 0), side / 100)
    rim = np.clip((0.86 - inside) * 12, 0, 1)
    return texture * (light * (1 - 0.45 * rim))[..., None]


def _shade(shape: Subject, pose: Pose, side: int) -> Field:
    """Factors below 1 where one part overlaps another (an ear, a wing), lowest at its outline."""
    factor = np.ones((side, side, 1), np.float32)
    for limb in shape.shaded:
        outer, inner = Canvas.mask(side), Canvas.mask(side)
        joints = pose.joints(limb)
        outer.limb(joints)
        inner.limb([(x, y, r - 0.02) for x, y, r in joints if r > 0.025])
        factor -= (outer.pixels[..., None] / 255) * 0.5
        factor += (inner.pixels[..., None] / 255) * 0.28
    return factor


def _shadow(cover: Field) -> Field:
    """A soft shadow towards the lower right, 0 to 0.35."""
    side = cover.shape[0]
    small = cv2.resize(cover, (_RELIEF_SIDE // 2, _RELIEF_SIDE // 2), interpolation=cv2.INTER_AREA)
    move = np.array([[1, 0, 2.5], [0, 1, 2.5]], np.float32)
    moved = cv2.warpAffine(small, move, small.shape[::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), 2) * 0.35
    return np.asarray(cv2.resize(soft, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def _paint_details(canvas: Canvas, shape: Subject, pose: Pose) -> None:
    for tint, polygon in shape.tinted:
        canvas.polygon(pose.points(polygon), TINTS[tint])
    for x, y in pose.points(shape.eyes):
        canvas.circle((x, y), 0.0235, TINTS["white"])
        canvas.circle((x, y), 0.0155, (15, 12, 12))
    for x, y, radius in pose.joints(shape.wheels):
        canvas.circle((x, y), radius, (28, 28, 32))
        canvas.circle((x, y), radius * 0.45, (170, 170, 175))
