"""Caption toxicity: alt-profanity-check (weights in the package) or Detoxify.

Detoxify's published checkpoints are full pickles; they are converted once
(`python -m pipeline.models.convert_detoxify`) and only safetensors are loaded here.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.sections import ToxicityConfig
from pipeline.models.packaged import packaged_digest
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError
from pipeline.words.extras import need_extra
from pipeline.words.heartbeat import beat

Scorer = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Captions to probabilities of being toxic, float32, shape (captions,)."""

_FILES = ("model.safetensors", "config.json")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "vocab.json")

_MAKE = "`python -m pipeline.models.convert_detoxify --out FOLDER` makes it from the published one"


def check_toxicity(config: ToxicityConfig) -> None:
    """InputError before any work if the named model is not available on this machine."""
    if config.model == "profanity-check":
        return
    if config.checkpoint is None:
        raise InputError(
            f"captions.toxicity: Detoxify's `{config.model}` needs `checkpoint`; {_MAKE}; offline, "
            "`model: profanity-check` carries its own weights"
        )
    need_extra("captions.toxicity", "detoxify", "transformers")
    folder = Path(config.checkpoint)
    for name in _FILES:
        if not (folder / name).is_file():
            raise InputError(f"captions.toxicity.checkpoint: {folder / name} is missing; {_MAKE}")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise InputError(f"captions.toxicity.checkpoint: {folder} has no tokenizer; {_MAKE}")


def toxicity_digest(config: ToxicityConfig) -> str:
    """sha256, hex, over the model's content: the package's weights, or the checkpoint's files."""
    if config.model == "profanity-check" or config.checkpoint is None:
        return packaged_digest("profanity_check")
    digests = [file_digest(Path(config.checkpoint) / name) for name in _FILES]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def load_toxicity(config: ToxicityConfig) -> Scorer:
    """The scorer, cached per process."""
    if config.model == "profanity-check" or config.checkpoint is None:
        return _profanity_check()
    return _detoxify(config.checkpoint, config.batch_size)


@functools.lru_cache(maxsize=1)
def _profanity_check() -> Scorer:
    from profanity_check import predict_prob

    def score(captions: Sequence[str]) -> npt.NDArray[np.float32]:
        if not captions:
            return np.zeros(0, np.float32)
        return np.asarray(predict_prob(list(captions)), np.float32)

    return score


@functools.lru_cache(maxsize=2)
def _detoxify(checkpoint: str, batch_size: int) -> Scorer:
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, local_files_only=True, use_safetensors=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    longest = min(tokenizer.model_max_length, _positions(model.config))

    def score(captions: Sequence[str]) -> npt.NDArray[np.float32]:
        scores = np.zeros(len(captions), np.float32)
        # Batches of like length: padding would double the work.
        order = np.argsort([len(caption) for caption in captions], kind="stable")
        for start in range(0, len(order), batch_size):
            beat()
            rows = order[start : start + batch_size]
            tokens = tokenizer(
                [captions[i] for i in rows],
                return_tensors="pt", padding=True, truncation=True, max_length=longest,
            )  # fmt: skip
            with torch.inference_mode():
                scores[rows] = torch.sigmoid(model(**tokens).logits)[:, 0].numpy()
        return scores

    return score


def _positions(config: Any) -> int:
    """Tokens that the network has positions for; a tokenizer without a config has no limit."""
    positions = int(config.max_position_embeddings)
    # RoBERTa counts positions from behind the padding's index.
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions
