"""Training data of `winnow-tiny`: drawn pictures, some degraded, with long and short captions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.demo.world import (
    GRAPHIC_CAPTION,
    MATERIALS,
    N_TEMPLATES,
    PLACE_PHRASES,
    PLACES,
    SUBJECTS,
    Scene,
    caption,
    draw_graphic,
    draw_many,
)
from pipeline.demo.world.captions import with_article

GRAPHIC_SHARE = 0.04
GRAPHIC_CAPTIONS = (GRAPHIC_CAPTION, "a graphic picture", "graphic", "a warning picture")
ANY = -1
"""Label of an aspect that a caption does not mention."""
Labels = tuple[int, int, int]


def training_set(
    count: int, size: int, seed: int, processes: int = 2
) -> tuple[NDArray[np.uint8], list[Scene | None]]:
    """Pictures (count, size, size, 3), some degraded, without held-out compositions.

    A graphic picture has None for its scene.
    """
    plain = round(count * (1 - GRAPHIC_SHARE))
    pixels, scenes = draw_many(plain, seed, False, size, processes)
    rng = np.random.default_rng(seed)
    graphic = [draw_graphic(rng, size) for _ in range(count - plain)]
    pixels = np.concatenate([pixels, np.stack(graphic)])
    for i in np.flatnonzero(rng.random(len(pixels)) < 0.35):
        pixels[i] = wear(pixels[i], rng)
    return pixels, [*scenes, *([None] * len(graphic))]


def wear(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Degrade pictures as on the web: reduce and enlarge them, and compress them as JPEG."""
    if rng.random() < 0.5:
        side = int(rng.integers(36, 60))
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        again = cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        picture = np.asarray(again, np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
    packed = cv2.imencode(".jpg", picture, quality)[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def labels(scene: Scene | None) -> Labels:
    """Indices of subject, material and place; a graphic picture has none of them."""
    if scene is None:
        return len(SUBJECTS), len(MATERIALS), len(PLACES)
    return (
        SUBJECTS.index(scene.subject),
        MATERIALS.index(scene.material),
        PLACES.index(scene.place),
    )


def random_caption(scene: Scene | None, rng: np.random.Generator) -> tuple[str, Labels]:
    """A caption and its labels: mostly of the whole scene, sometimes of one or two aspects."""
    subject, material, place = labels(scene)
    if scene is None:
        return str(rng.choice(GRAPHIC_CAPTIONS)), (subject, ANY, ANY)
    a_subject, phrase = with_article(scene.subject), PLACE_PHRASES[scene.place]
    kind = rng.random()
    if kind < 0.70:
        return caption(scene, int(rng.integers(N_TEMPLATES))), (subject, material, place)
    if kind < 0.79:
        text = rng.choice([a_subject, scene.subject, f"a picture of {a_subject}"])
        return str(text), (subject, ANY, ANY)
    if kind < 0.86:
        text = rng.choice([scene.material, f"made of {scene.material}"])
        return str(text), (ANY, material, ANY)
    if kind < 0.93:
        return str(rng.choice([phrase, f"a picture {phrase}"])), (ANY, ANY, place)
    if kind < 0.97:
        return f"{a_subject} made of {scene.material}", (subject, material, ANY)
    return f"{a_subject} {phrase}", (subject, ANY, place)
