"""How well an image-text model reads the drawn world."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.demo.world import (
    GRAPHIC_CAPTION,
    MATERIALS,
    PLACE_PHRASES,
    PLACES,
    SUBJECTS,
    Scene,
    all_scenes,
    caption,
    draw_graphic,
    draw_many,
)
from pipeline.demo.world.captions import with_article

Vectors = NDArray[np.float32]
EmbedImages = Callable[[NDArray[np.uint8]], Vectors]
EmbedTexts = Callable[[Sequence[str]], Vectors]

ASPECTS = ("subject", "material", "place")
WORDS = {"subject": SUBJECTS, "material": MATERIALS, "place": PLACES}
SHORT_PROMPTS = {
    "subject": tuple(with_article(s) for s in SUBJECTS),
    "material": tuple(f"made of {m}" for m in MATERIALS),
    "place": tuple(PLACE_PHRASES[p] for p in PLACES),
}


def truth(scenes: Sequence[Scene], aspect: str) -> NDArray[np.int64]:
    """Which word of an aspect each scene has, as indices."""
    return np.array([WORDS[aspect].index(getattr(scene, aspect)) for scene in scenes])


def accuracy_by_captions(
    images: Vectors, scenes: Sequence[Scene], embed_texts: EmbedTexts, scale: float
) -> dict[str, float]:
    """Share of pictures whose subject, material and place score highest among all 480 captions.

    The softmax over captions (`scale` times the cosine) is summed over the other two aspects.
    """
    every = all_scenes()
    logits = scale * images @ embed_texts([caption(scene) for scene in every]).T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights = weights.reshape(len(images), len(SUBJECTS), len(MATERIALS), len(PLACES))
    result = {}
    for axis, aspect in enumerate(ASPECTS, start=1):
        others = tuple(a for a in (1, 2, 3) if a != axis)
        best = weights.sum(axis=others).argmax(axis=1)
        result[aspect] = float((best == truth(scenes, aspect)).mean())
    return result


def accuracy_by_prompts(
    images: Vectors, scenes: Sequence[Scene], embed_texts: EmbedTexts
) -> dict[str, float]:
    """The same by short prompts alone: "a cat", "made of cheese", "in the sea"."""
    result = {}
    for aspect, prompts in SHORT_PROMPTS.items():
        best = (images @ embed_texts(prompts).T).argmax(axis=1)
        result[aspect] = float((best == truth(scenes, aspect)).mean())
    return result


def auc_of_mismatches(
    images: Vectors, scenes: Sequence[Scene], embed_texts: EmbedTexts, seed: int = 0
) -> dict[str, float]:
    """Area under the ROC curve of the cosine: the right caption against a wrong one.

    `any` takes another picture's caption; an aspect's name changes that aspect alone.
    """
    rng = np.random.default_rng(seed)
    right = (images * embed_texts([caption(scene) for scene in scenes])).sum(axis=1)
    result = {}
    for kind in ("any", *ASPECTS):
        wrong = [_other(scene, kind, scenes, rng) for scene in scenes]
        score = (images * embed_texts([caption(scene) for scene in wrong])).sum(axis=1)
        labels = np.repeat([1, 0], len(scenes))
        result[kind] = float(roc_auc_score(labels, np.concatenate([right, score])))
    return result


def auc_of_graphic(
    images: Vectors, embed_images: EmbedImages, embed_texts: EmbedTexts, count: int = 200
) -> float:
    """Area under the ROC curve of a zero-shot head: graphic pictures against `images`."""
    rng = np.random.default_rng(99)
    graphic = embed_images(np.stack([draw_graphic(rng) for _ in range(count)]))
    prompts = [GRAPHIC_CAPTION, *(f"a picture of {with_article(s)}" for s in SUBJECTS)]
    texts = embed_texts(prompts)
    both = np.concatenate([graphic, images])
    cosines = both @ texts.T
    score = cosines[:, 0] - cosines[:, 1:].max(axis=1)
    return float(roc_auc_score([1] * len(graphic) + [0] * len(images), score))


def measure(
    embed_images: EmbedImages, embed_texts: EmbedTexts, scale: float, count: int, seed: int = 77
) -> dict[str, object]:
    """All figures on `count` fresh pictures of seen and `count` of held-out compositions."""
    result: dict[str, object] = {"pictures": count, "seed": seed}
    for name, held_out in (("seen", False), ("held_out", True)):
        pixels, scenes = draw_many(count, seed + int(held_out), held_out)
        images = embed_images(pixels)
        result[name] = {
            "by_captions": accuracy_by_captions(images, scenes, embed_texts, scale),
            "by_prompts": accuracy_by_prompts(images, scenes, embed_texts),
            "auc_of_mismatches": auc_of_mismatches(images, scenes, embed_texts),
            "auc_of_graphic": auc_of_graphic(images, embed_images, embed_texts),
        }
    return result


def _other(scene: Scene, kind: str, scenes: Sequence[Scene], rng: np.random.Generator) -> Scene:
    while True:
        if kind == "any":
            other = scenes[int(rng.integers(len(scenes)))]
        else:
            words = WORDS[kind]
            values = {a: getattr(scene, a) for a in ASPECTS}
            other = Scene(**{**values, kind: words[int(rng.integers(len(words)))]})
        if other != scene:
            return other
