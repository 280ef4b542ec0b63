"""Scores drawn pictures by the image measurements that the job's safety rules read."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.config.job import Job
from pipeline.models.clip import Clip
from pipeline.models.clip_compiled import clip_of
from pipeline.models.heads.base import HeadKind, Judge
from pipeline.models.heads.registry import heads_of
from pipeline.models.nsfw import load_nsfw

Pictures = npt.NDArray[np.uint8]
"""RGB, shape (pictures, height, width, 3)."""
Scores = npt.NDArray[np.float32]


def load_judges(job: Job, names: Sequence[str]) -> dict[str, Callable[[Pictures], Scores]]:
    """By column name: `punsafe` and heads of any kind; each gives scores, shape (pictures,).

    InputError for a head that the job's CLIP model cannot serve.
    """
    judges: dict[str, Callable[[Pictures], Scores]] = {}
    if "punsafe" in names:
        judges["punsafe"] = lambda pictures: load_nsfw().score(list(pictures))
    heads = [head for head in heads_of(job) if head.column in names]
    if heads:
        clip = clip_of(job.embed)
        for head in heads:
            head.check(clip.dim)
            judges[head.column] = partial(_score, clip, head, head.load(clip))
    return judges


def _score(clip: Clip, head: HeadKind, judge: Judge, pictures: Pictures) -> Scores:
    pixels = np.stack([clip.preprocess(picture) for picture in pictures])
    return head.score(judge, clip.encode_images(pixels).astype(np.float32))
