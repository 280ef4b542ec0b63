"""Detoxify's models (Hanu, 2020), from a converted checkpoint.

Detoxify's published checkpoints are full pickles; they are converted once
(`python -m pipeline.models.convert_detoxify`) and only safetensors are loaded here.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.captions import ToxicityConfig
from pipeline.models.compiled import Arrays, Compiled, Convertible
from pipeline.models.drawn import drawn_texts
from pipeline.models.precision import LEAST_PARAMETERS, Agreement, Choice, found_for
from pipeline.table.part import digest_of, file_digest
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

_TOKENS = 4096
"""Tokens of a batch at most, padding included."""
_DRAWN = 64
"""Texts that int8 is fitted to."""
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


class Detoxify:
    """A converted checkpoint; get one from `load_detoxify`."""

    def __init__(self, checkpoint: str, precision: str, most: float, place: str) -> None:
        from pipeline.models.torchvision_shim import ensure_torchvision

        ensure_torchvision()
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self._model = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, local_files_only=True, use_safetensors=True
        ).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
        self._longest = min(self._tokenizer.model_max_length, _positions(self._model.config))
        self._labels = _labels(checkpoint)
        self._digest = detoxify_digest(checkpoint)
        self._asked, self._most, self._place = precision, most, place
        self._compiled: Compiled | None = None
        self.choice: Choice | None = None
        """In what it runs; None before it has."""

    def score(
        self, captions: Sequence[str], batch_size: int = 64
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Probabilities by column, float32, shape (captions,)."""
        different = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
        texts = list(different)
        scores = np.zeros((len(texts), len(self._labels)), np.float32)
        tokens = self._tokens(texts) if texts else []
        # Batches of like length, else padding would double the work; of short ones more at once.
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
        start = 0
        while start < len(order):
            beat()
            longest = len(tokens[order[min(start + batch_size, len(order)) - 1]])
            rows = order[start : start + max(1, min(batch_size, _TOKENS // longest))]
            scores[rows] = self._run([tokens[row] for row in rows])
            start += len(rows)
        own = scores[[different[caption] for caption in captions]]
        return {name: own[:, i] for i, name in enumerate(self._labels) if name is not None}

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        """Cut as Detoxify does: at the positions that the network has."""
        found = self._tokenizer(texts, truncation=True, max_length=self._longest)
        tokens: list[list[int]] = found["input_ids"]
        return tokens

    def _run(self, tokens: list[list[int]]) -> npt.NDArray[np.float32]:
        longest = max(map(len, tokens))
        ids = np.full((len(tokens), longest), self._tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)], mask[row, : len(own)] = own, 1
        if self.choice is None:
            self._compiled, self.choice = self._choose((ids, mask))
        if self._compiled is not None:
            return self._compiled(ids, mask)
        import torch

        with torch.inference_mode():
            found = _probabilities(self._model)(torch.from_numpy(ids), torch.from_numpy(mask))
        scores: npt.NDArray[np.float32] = found.numpy()
        return scores

    def _choose(self, first: Arrays) -> tuple[Compiled | None, Choice]:
        if self._model.num_parameters() < LEAST_PARAMETERS and self._asked != "int8":
            return None, Choice("PyTorch", "fp32")
        network = Convertible(digest_of({"detoxify": self._digest}), self._trace, self._samples)
        return found_for(
            self._asked, network, first, Agreement("difference", self._most), self._place,
            what="Detoxify's network", key="captions.toxicity.precision",
        )  # fmt: skip

    def _trace(self) -> tuple[Any, tuple[Any, ...], Any]:
        import torch

        axes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
        example = torch.ones(2, 8, dtype=torch.int64)
        # Not all ones: then the mask would be left out of what is traced.
        mask = torch.ones_like(example)
        mask[1, 5:] = 0
        return _probabilities(self._model), (example, mask), (axes, axes)

    def _samples(self) -> Iterator[Arrays]:
        for text in drawn_texts(_DRAWN):
            (tokens,) = self._tokens([text])
            ids = np.array([tokens], np.int64)
            yield [ids, np.ones_like(ids)]


def _probabilities(model: Any) -> Any:
    """A module from tokens and their mask (rows, tokens) to probabilities (rows, classes)."""
    import torch

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            return torch.sigmoid(self.model(input_ids=ids, attention_mask=mask).logits)

    return Probabilities().eval()


@functools.lru_cache(maxsize=2)
def load_detoxify(checkpoint: str, precision: str, max_difference: float, place: str) -> Detoxify:
    """The network in the arithmetic that a job asks for, cached per process; `place` is that of
    the job's run."""
    return Detoxify(checkpoint, precision, max_difference, place)


def _positions(config: Any) -> int:
    """Tokens that the network has positions for; a tokenizer without a config has no limit."""
    positions = int(config.max_position_embeddings)
    # RoBERTa counts positions from behind the padding's index.
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions
