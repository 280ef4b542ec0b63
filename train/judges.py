"""Judges of drawn pictures: the job's own image measurements that its safety rules read."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.config.job import Job
from pipeline.models.clip import load_clip
from pipeline.models.heads import Judge as VectorJudge
from pipeline.models.heads import make_judge
from pipeline.models.nsfw import load_nsfw

Pictures = npt.NDArray[np.uint8]
"""RGB, shape (pictures, height, width, 3)."""


def load_judges(
    job: Job, names: Sequence[str]
) -> dict[str, Callable[[Pictures], npt.NDArray[np.float32]]]:
    """By column name: `punsafe` and heads; each gives scores, float32, shape (pictures,)."""
    judges: dict[str, Callable[[Pictures], npt.NDArray[np.float32]]] = {}
    if "punsafe" in names:
        judges["punsafe"] = lambda pictures: load_nsfw().score(list(pictures))
    heads = [head for head in job.images.heads if head.name in names]
    if heads:
        config = job.embed
        clip = load_clip(str(config.model), config.pretrained, config.device, config.precision)
        for head in heads:
            judge = make_judge(head, clip.encode_texts, clip.logit_scale, clip.dim)
            judges[head.name] = _on_pictures(judge, clip.preprocess, clip.encode_images)
    return judges


def _on_pictures(
    judge: VectorJudge,
    preprocess: Callable[[Pictures], npt.NDArray[np.float32]],
    encode: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float16]],
) -> Callable[[Pictures], npt.NDArray[np.float32]]:
    def score(pictures: Pictures) -> npt.NDArray[np.float32]:
        pixels = np.stack([preprocess(picture) for picture in pictures])
        return judge(encode(pixels).astype(np.float32))

    return score
