"""Caption toxicity: which classes a model gives, whether it is here, and its scores."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.captions import ToxicityConfig
from pipeline.models import toxicity_network
from pipeline.models.packaged import packaged_digest
from pipeline.models.precision import facts_of
from pipeline.models.toxicity_detoxify import (
    Detoxify,
    check_detoxify,
    detoxify_classes,
    detoxify_digest,
    load_detoxify,
)
from pipeline.table.part import digest_of, file_digest
from pipeline.words.errors import InputError

Scorer = Callable[[Sequence[str]], dict[str, npt.NDArray[np.float32]]]
"""Captions to the probability of each class, float32, shape (captions,)."""


def toxicity_classes(config: ToxicityConfig) -> tuple[str, ...]:
    """The model's classes; `toxicity` is among them."""
    if config.model == "winnow-toxicity":
        return toxicity_network.CLASSES
    if config.model == "profanity-check":
        return ("toxicity",)
    return detoxify_classes(config.checkpoint)


def check_toxicity(config: ToxicityConfig) -> None:
    """InputError before any work if the named model is not available on this machine."""
    if config.model == "profanity-check":
        if find_spec("profanity_check") is None:
            raise InputError(
                "captions.toxicity: `model: profanity-check` needs the package "
                "alt-profanity-check; pip install alt-profanity-check"
            )
    elif not config.is_packaged:
        check_detoxify(config)


def toxicity_digest(config: ToxicityConfig) -> str:
    """sha256, hex, over the model's content: the packaged weights, or the checkpoint's files."""
    if config.model == "winnow-toxicity":
        folder = toxicity_network.FOLDER
        return digest_of({name: file_digest(folder / name) for name in toxicity_network.FILES})
    if config.model == "profanity-check" or config.checkpoint is None:
        return packaged_digest("profanity_check")
    return detoxify_digest(config.checkpoint)


def load_toxicity(config: ToxicityConfig, place: str = "") -> Scorer:
    """The scorer of the job whose run is at `place`; its model is cached per process."""
    if config.model == "winnow-toxicity":
        return _network
    if config.model == "profanity-check" or config.checkpoint is None:
        return _profanity_check
    return partial(_detoxify(config, place).score, batch_size=config.batch_size)


def toxicity_arithmetic(config: ToxicityConfig, place: str) -> dict[str, Any]:
    """In what Detoxify's network has run in this process; empty for other models."""
    if config.is_packaged or config.checkpoint is None:
        return {}
    choice = _detoxify(config, place).choice
    return {} if choice is None else {"Detoxify": facts_of(choice)}


def _detoxify(config: ToxicityConfig, place: str) -> Detoxify:
    assert config.checkpoint is not None
    return load_detoxify(config.checkpoint, config.precision, config.max_difference, place)


def _network(captions: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    scores = toxicity_network.load_network().score(captions)
    return {name: scores[:, i] for i, name in enumerate(toxicity_network.CLASSES)}


def _profanity_check(captions: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    from profanity_check import predict_prob

    found = predict_prob(list(captions)) if captions else []
    return {"toxicity": np.asarray(found, np.float32)}
