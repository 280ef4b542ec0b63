"""The weights of tox-block 0.1.2 (MIT, Pascal Bliem 2020), from which `winnow-toxicity` starts.

Its network: 20,000 words, GloVe vectors of 50, a bidirectional LSTM of 50 units, the maximum over
the words, 50 dense units, six sigmoids; fitted on Jigsaw's 223,549 Wikipedia comments (CC0). It is
read without its TensorFlow, and its pickled tokenizer without running any code of it.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.words.errors import InputError
from pipeline.words.extras import need_extra

VOCABULARY = 20_000
WINDOW = 100
HEADS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")

Array = npt.NDArray[np.float32]


class _TokenizerOnly(pickle.Unpickler):
    """Unpickles Keras' Tokenizer as a bare object: no class of another package, no function."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("collections", "OrderedDict"), ("collections", "defaultdict")}:
            return super().find_class(module, name)
        if (module, name) == ("builtins", "int"):
            return int
        if name in ("TokenSequencer", "Tokenizer"):
            return type(name, (), {})
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in tox-block's encoder")


class Origin:
    """tox-block's word list and weights, and its scores computed in numpy.

    `weights` holds Keras' arrays by their layer: `forward_lstm` and `backward_lstm` (kernel (50,
    200), recurrent kernel (50, 200), bias (200,); gates input, forget, cell, output), `dense` and
    `dense_1` (kernel, bias), `embedding` (20000, 50); row 0 of the last is padding.
    """

    def __init__(self, wheel: Path) -> None:
        """InputError if the file is not tox-block's wheel, or h5py is not installed."""
        need_extra("--origin", "fit-toxicity", "h5py")
        import h5py

        if not zipfile.is_zipfile(wheel):
            raise InputError(
                f"--origin: {wheel} is no wheel; `pip download --no-deps tox-block==0.1.2` gets it"
            )
        with zipfile.ZipFile(wheel) as files:
            with files.open("tox_block/trained_models/encoder_0.1.2.pkl") as encoder:
                index = _TokenizerOnly(encoder).load().tokenizer.word_index
            with files.open("tox_block/trained_models/lstm_model_0.1.2.h5") as stored:
                file = h5py.File(stored)["model_weights"]
                self.weights = {
                    "embedding": [np.asarray(file["embedding/embedding/embeddings:0"])],
                    **{name: _layer(file[f"bidirectional/bidirectional/{name}"])
                       for name in ("forward_lstm", "backward_lstm")},
                    **{name: _layer(file[f"{name}/{name}"]) for name in ("dense", "dense_1")},
                }  # fmt: skip
        self.index = {word: place for word, place in index.items() if place < VOCABULARY}

    def score(self, texts: list[list[str]], batch: int = 512) -> Array:
        """tox-block's six probabilities (before its rescaling), float32, shape (texts, 6).

        `texts` holds each text's words; the last 100 known ones count, padded in front, as there.
        """
        found = np.zeros((len(texts), len(HEADS)), np.float32)
        for start in range(0, len(texts), batch):
            part = texts[start : start + batch]
            places = np.zeros((len(part), WINDOW), np.intp)
            for row, words in enumerate(part):
                known = [self.index[word] for word in words if word in self.index][-WINDOW:]
                places[row, WINDOW - len(known) :] = known
            vectors = self.weights["embedding"][0][places]
            pooled = [_pooled(vectors, self.weights["forward_lstm"]),
                      _pooled(vectors[:, ::-1], self.weights["backward_lstm"])]  # fmt: skip
            (kernel, bias), (last, last_bias) = self.weights["dense"], self.weights["dense_1"]
            hidden = np.maximum(np.concatenate(pooled, 1) @ kernel + bias, 0)
            found[start : start + batch] = 1 / (1 + np.exp(-(hidden @ last + last_bias)))
        return found


def _layer(group: Any) -> list[Array]:
    names = ("kernel:0", "recurrent_kernel:0", "bias:0")
    return [np.asarray(group[name]) for name in names if name in group]


def _pooled(vectors: Array, weights: list[Array]) -> Array:
    kernel, recurrent, bias = weights
    units = recurrent.shape[0]
    hidden = np.zeros((len(vectors), units), np.float32)
    cell, most = hidden, hidden - 1
    for step in range(vectors.shape[1]):
        gates = vectors[:, step] @ kernel + hidden @ recurrent + bias
        # Keras 2's hard sigmoid.
        enter, keep, out = (
            np.clip(0.2 * gates[:, units * i : units * (i + 1)] + 0.5, 0, 1) for i in (0, 1, 3)
        )
        cell = keep * cell + enter * np.tanh(gates[:, 2 * units : 3 * units])
        hidden = out * np.tanh(cell)
        most = np.maximum(most, hidden)
    result: Array = most
    return result
