"""Detoxify's models (Hanu, 2020), from a converted checkpoint.

Detoxify's published checkpoints are full pickles; they are converted once
(`python -m pipeline.models.convert_detoxify`) and only safetensors are loaded here.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.captions import ToxicityConfig
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError
from pipeline.words.extras import need_extra
from pipeline.words.heartbeat import beat

COLUMNS = {
    "toxic": "toxicity", "toxicity": "toxicity",
    "severe_toxic": "severe_toxicity", "severe_toxicity": "severe_toxicity",
    "obscene": "obscene", "threat": "threat", "insult": "insult",
    "identity_hate": "identity_attack", "identity_attack": "identity_attack",
    "sexual_explicit": "sexual_explicit",
}  # fmt: skip
"""Classes that are columns, under Detoxify's own common names. Outputs of other names, such as the
groups that a text mentions, are no columns."""

_PUBLISHED = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
_FILES = ("model.safetensors", "config.json")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "vocab.json")
_MAKE = "`python -m pipeline.models.convert_detoxify --out FOLDER` makes it from the published one"


def check_detoxify(config: ToxicityConfig) -> None:
    """InputError before any work if the checkpoint or a package is not available here."""
    if config.checkpoint is None:
        raise InputError(
            f"captions.toxicity: Detoxify's `{config.model}` needs `checkpoint`; {_MAKE}; offline, "
            "`model: winnow-toxicity` carries its own weights"
        )
    need_extra("captions.toxicity", "detoxify", "transformers")
    folder = Path(config.checkpoint)
    for name in _FILES:
        if not (folder / name).is_file():
            raise InputError(f"captions.toxicity.checkpoint: {folder / name} is missing; {_MAKE}")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise InputError(f"captions.toxicity.checkpoint: {folder} has no tokenizer; {_MAKE}")
    if "toxicity" not in _labels(config.checkpoint):
        raise InputError(
            f"captions.toxicity.checkpoint: {folder / 'config.json'} names no class `toxicity`; "
            f"{_MAKE}"
        )


def detoxify_digest(checkpoint: str) -> str:
    """sha256, hex, over the checkpoint's weights and config."""
    digests = [file_digest(Path(checkpoint) / name) for name in _FILES]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def detoxify_classes(checkpoint: str | None) -> tuple[str, ...]:
    """A checkpoint's columns, in its order; those of all published ones if it cannot be read."""
    labels = _labels(checkpoint) if checkpoint is not None else ()
    return tuple(name for name in labels if name is not None) or _PUBLISHED


def _labels(checkpoint: str) -> tuple[str | None, ...]:
    """Each output's column, None for those that are no column; empty if it cannot be read."""
    try:
        named = json.loads((Path(checkpoint) / "config.json").read_text("utf-8"))["id2label"]
        return tuple(COLUMNS.get(named[str(i)]) for i in range(len(named)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


@functools.lru_cache(maxsize=2)
def load_detoxify(
    checkpoint: str, batch_size: int
) -> Callable[[Sequence[str]], dict[str, npt.NDArray[np.float32]]]:
    """Scores captions: probabilities by column, float32, shape (captions,). Cached per process."""
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, local_files_only=True, use_safetensors=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    longest = min(tokenizer.model_max_length, _positions(model.config))
    labels = _labels(checkpoint)

    def score(captions: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        scores = np.zeros((len(captions), len(labels)), np.float32)
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
                scores[rows] = torch.sigmoid(model(**tokens).logits).numpy()
        return {name: scores[:, i] for i, name in enumerate(labels) if name is not None}

    return score


def _positions(config: Any) -> int:
    """Tokens that the network has positions for; a tokenizer without a config has no limit."""
    positions = int(config.max_position_embeddings)
    # RoBERTa counts positions from behind the padding's index.
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions
