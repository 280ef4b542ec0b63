"""Zero-shot heads: prompts of a class against prompts of everything else (Radford et al., 2021)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from pipeline.models.heads.base import (
    HeadConfig,
    HeadKind,
    Judge,
    Scores,
    Vectors,
    VectorSpace,
    logistic,
)

Cosines = Callable[[Vectors], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Cosines with the classes of `positive` and of `negative`, float32 (rows, classes) each."""


class ZeroshotConfig(HeadConfig):
    """Prompts of a class against others; the score is the class's share of their softmax, 0–1."""

    positive: tuple[str, ...] = Field(min_length=1, description="Prompts of the class.")
    negative: tuple[str, ...] = Field(min_length=1, description="Prompts of everything else.")
    templates: tuple[str, ...] = Field(
        (),
        description="Sentences with one `{}`, for which each prompt is put in, such as "
        "`a photo of {}.`; a prompt's vector is then the mean over all of them, of length 1, as in "
        "CLIP's paper (3.1.4). By default the prompts are taken as they are.",
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="The softmax's temperature: cosines are divided by it. Null: the one that the "
        "CLIP model was trained with (0.01 for most), at which scores are mostly near 0 or 1 and "
        "are no probabilities; `python -m pipeline.inspect.calibrate` finds the one that fits rows "
        "that you labelled.",
    )
    bias: float = Field(
        0.0,
        description="Added to the logit of the class; found together with `temperature`.",
    )

    @field_validator("templates")
    @classmethod
    def _has_one_place(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for template in value:
            if template.count("{}") != 1:
                raise ValueError(
                    f"`{template}` has {template.count('{}')} places `{{}}`; write exactly one, "
                    "where the prompt goes"
                )
        return value


class ZeroshotHead(HeadKind):
    """The softmax share of the positive prompts, 0–1."""

    name = "zeroshot"
    Config = ZeroshotConfig

    def check(self, dim: int | None) -> None:
        """Nothing to check: prompts work with any CLIP model."""

    def digest(self) -> None:
        return None

    def settings(self) -> dict[str, Any]:
        config: ZeroshotConfig = self.config
        prompts = {"positive": list(config.positive), "negative": list(config.negative)}
        return super().settings() | prompts

    def load(self, space: VectorSpace) -> Judge:
        cosines = self.load_cosines(space)
        scale, bias = self.scale(space), self.config.bias

        def judge(vectors: Vectors) -> Scores:
            return logistic(class_logits(*cosines(vectors), scale) + np.float32(bias))

        return judge

    def scale(self, space: VectorSpace) -> float:
        """The factor of cosines before the softmax: 1 / temperature."""
        temperature: float | None = self.config.temperature
        return space.logit_scale if temperature is None else 1 / temperature

    def load_cosines(self, space: VectorSpace) -> Cosines:
        """What computes the cosines that the score is made of; prompts are encoded here, once."""
        config: ZeroshotConfig = self.config
        prompts = class_vectors(space, [*config.positive, *config.negative], config.templates)
        positives = len(config.positive)

        def cosines(vectors: Vectors) -> tuple[Any, Any]:
            found = vectors @ prompts.T
            return found[:, :positives], found[:, positives:]

        return cosines


def class_vectors(space: VectorSpace, classes: list[str], templates: tuple[str, ...]) -> Vectors:
    """One vector of length 1 a class: of its text, or the mean over its templates' vectors."""
    if not templates:
        return space.encode_texts(classes).astype(np.float32)
    texts = [template.replace("{}", one) for one in classes for template in templates]
    every = space.encode_texts(texts).astype(np.float32)
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    means = every.reshape(len(classes), len(templates), -1).mean(axis=1)
    vectors: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    return vectors


def class_logits(
    positive: npt.NDArray[Any], negative: npt.NDArray[Any], scale: float
) -> npt.NDArray[Any]:
    """The logit of the positive classes' share of a softmax over `scale` times cosines (rows,)."""
    return _log_sum(scale * positive) - _log_sum(scale * negative)


def _log_sum(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The logarithm of the sum of exponentials over each row."""
    if x.shape[1] == 1:
        return x[:, 0]
    top = x.max(axis=1)
    found: npt.NDArray[Any] = top + np.log(np.exp(x - top[:, None]).sum(axis=1))
    return found
