"""What the pictures of another set are compared by: what the job's stages find of its own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.job import Job


@dataclass(frozen=True)
class _Model:
    prepare: Callable[[npt.NDArray[np.uint8]], Any]
    encode: Callable[[list[Any]], npt.NDArray[Any]]

    def vectors(self, items: list[Any]) -> npt.NDArray[np.float32]:
        """As they would be stored, and read again."""
        return np.asarray(self.encode(items), np.float16).astype(np.float32)


@dataclass(frozen=True)
class Seen:
    """Of one picture; `phash` is None if the picture is too flat for one."""

    phash: bytes | None
    thumb: bytes
    small: bytes
    item: Any


class Look:
    """Looks at a set's pictures as the job's stages look at its own. All of one job are equal."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Look) and self._key == other._key

    @property
    def _key(self) -> tuple[Any, ...]:
        job = self._job
        own = (job.dedup.verify, job.dedup.descriptor, job.dedup.descriptor_size)
        return (job.embed.model, job.embed.pretrained, *own, job.download)

    def see(self, data: bytes) -> Seen | None:
        """None for bytes that are no picture."""
        import cv2

        from pipeline.fetch.picture.make import make_picture
        from pipeline.fetch.picture.recipe import Recipe
        from pipeline.measure.dedup.alignment import small

        recipe = replace(Recipe.of(self._job.download), respect_metadata=False)  # nothing is kept
        made = make_picture(data, recipe)
        if not made.jpeg:
            return None
        bgr = cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), cv2.IMREAD_COLOR)
        rgb = np.ascontiguousarray(np.asarray(bgr, np.uint8)[:, :, ::-1])
        is_sure = (made.phash_quality or 0) >= self._job.dedup.phash_quality
        item = self._model.prepare(rgb) if self._model is not None else None
        return Seen(made.phash if is_sure else None, made.thumb, small(rgb), item)

    @cached_property
    def _model(self) -> Any:
        """What makes the vectors of the job's own pictures; None if nothing does."""
        from pipeline.measure.dedup.descriptors import network_of

        config = self._job.embed
        if (network := network_of(self._job)) is not None:
            return _Model(network.prepare, network.layer_of)
        if config.model:
            from pipeline.models.clip_compiled import clip_of

            clip = clip_of(config)
            return _Model(clip.preprocess, lambda items: clip.encode_images(np.stack(items)))
        return None

    def vectors(self, items: list[Any]) -> npt.NDArray[np.float32] | None:
        """Those of pictures, float32, shape (items, dim)."""
        return None if self._model is None else self._model.vectors(items)
