"""The packaged model of caption toxicity, `winnow-toxicity`: two LSTMs over the words, in numpy.

`train.toxicity.fit` makes its weights, from those of the package tox-block 0.1.2 (MIT); docs/
decisions/toxicity.md says from which data. It knows English alone, and no word outside its list.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.words.heartbeat import beat

FOLDER = Path(__file__).parent / "data" / "winnow-toxicity"
FILES = ("model.safetensors", "words.txt")

CLASSES = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")

WINDOW = 100
"""Words that are read at once, as many as tox-block reads. Longer captions are read in windows."""

BATCH = 256
"""Rows of every product of matrices, with few windows too: most of the time a caption then has the
same score in whatever company; a difference is below 1e-6."""

_SEPARATORS = str.maketrans(
    dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r', " ") | {"’": "'"}
)

Array = npt.NDArray[np.float32]


def words_of(text: str) -> list[str]:
    """The text's words in lower case, separated as Keras' Tokenizer does after NFKC."""
    return unicodedata.normalize("NFKC", text).lower().translate(_SEPARATORS).split()


@dataclass(frozen=True)
class Direction:
    """One LSTM, gates in the order input, forget, cell, output (Hochreiter, Schmidhuber 1997)."""

    inputs: Array
    """(embedding, 4 units)"""
    recurrent: Array
    """(units, 4 units)"""
    bias: Array
    """(4 units,)"""

    def pooled(self, vectors: Array, lengths: npt.NDArray[np.intp]) -> Array:
        """Each output's maximum over a row's words: (rows, longest, embedding) to (rows, units)."""
        rows, units = len(vectors), self.recurrent.shape[0]
        hidden, cell = np.zeros((rows, units), np.float32), np.zeros((rows, units), np.float32)
        most = np.full((rows, units), -1, np.float32)  # outputs lie between -1 and 1
        for step in range(vectors.shape[1]):
            gates = vectors[:, step] @ self.inputs + hidden @ self.recurrent + self.bias
            enter, keep, out = (_sigmoid(gates[:, units * i : units * (i + 1)]) for i in (0, 1, 3))
            cell = keep * cell + enter * np.tanh(gates[:, 2 * units : 3 * units])
            hidden = out * np.tanh(cell)
            # Past a row's end its state may be anything: it is not looked at again.
            np.maximum(most, hidden, out=most, where=(step < lengths)[:, None])
        return most


class ToxicityNetwork:
    """Word vectors, two LSTMs, the maximum over the words, two dense layers, six sigmoids."""

    def __init__(self, folder: Path = FOLDER) -> None:
        from safetensors.numpy import load_file

        tensors = {k: v.astype(np.float32) for k, v in load_file(folder / FILES[0]).items()}
        words = (folder / FILES[1]).read_text(encoding="utf-8").split("\n")[:-1]
        self.index = {word: i for i, word in enumerate(words)}
        self._vectors = tensors["vectors"]
        self._forward, self._backward = (
            Direction(*(tensors[f"{name}.{part}"] for part in ("inputs", "recurrent", "bias")))
            for name in ("forward", "backward")
        )
        self._dense = [
            (tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in ("hidden", "classes")
        ]

    def known(self, text: str) -> list[int]:
        """Places in the word list of the text's words that are in it."""
        return [self.index[word] for word in words_of(text) if word in self.index]

    def score(self, captions: Sequence[str]) -> Array:
        """Probabilities of CLASSES, float32, shape (captions, 6); 0 where no word is known.

        Uses one thread. The same captions give the same scores; with others beside it, a caption's
        may differ by less than 1e-6.

        A caption of more than WINDOW known words has the greatest scores of its windows.
        """
        from threadpoolctl import threadpool_limits

        scores = np.zeros((len(captions), len(CLASSES)), np.float32)
        windows = [
            (row, ids[start : start + WINDOW])
            for row, ids in enumerate(map(self.known, captions))
            for start in range(0, len(ids), WINDOW)
        ]
        windows.sort(key=lambda window: len(window[1]))  # a batch is as long as its longest
        # More threads make products of this size slower.
        with threadpool_limits(1, "blas"):
            for start in range(0, len(windows), BATCH):
                beat()
                part = windows[start : start + BATCH]
                found = self._batch([ids for _, ids in part])
                np.maximum.at(scores, [row for row, _ in part], found[: len(part)])
        return scores

    def _batch(self, windows: Sequence[Sequence[int]]) -> Array:
        lengths = np.zeros(BATCH, np.intp)
        lengths[: len(windows)] = [len(ids) for ids in windows]
        places = np.zeros((2, BATCH, max(map(len, windows))), np.intp)
        for row, ids in enumerate(windows):
            places[0, row, : len(ids)] = ids
            places[1, row, : len(ids)] = ids[::-1]
        pooled = [
            direction.pooled(self._vectors[place], lengths)
            for direction, place in zip((self._forward, self._backward), places, strict=True)
        ]
        (weight, bias), (last_weight, last_bias) = self._dense
        hidden = np.maximum(np.concatenate(pooled, axis=1) @ weight + bias, 0)
        return _sigmoid(hidden @ last_weight + last_bias)


@functools.lru_cache(maxsize=1)
def load_network() -> ToxicityNetwork:
    """The packaged network, cached per process."""
    return ToxicityNetwork()


def _sigmoid(values: Array) -> Array:
    # By tanh, which does not overflow.
    result: Array = np.float32(0.5) * np.tanh(np.float32(0.5) * values) + np.float32(0.5)
    return result
