"""What detectors of boxes share: a network in ONNX Runtime that sees each picture in a square."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pipeline.models.boxes import Boxes, Floats, letterbox


@dataclass(frozen=True)
class Input:
    """A prepared picture: uint8 (side, side, 3), and the share of the square that it takes."""

    square: npt.NDArray[np.uint8]
    share: Floats


class Detector(ABC):
    """A network; `prepare` may run on other threads than `find`."""

    side: ClassVar[int]
    """Side of the square that it sees, pixels."""

    def __init__(self, weights: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._network = onnxruntime.InferenceSession(
            str(weights), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._network.get_inputs()[0].name

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> Input:
        """From decoded RGB (height, width, 3) of any size."""
        return Input(*letterbox(rgb, self.side))

    @abstractmethod
    def find(self, pictures: Sequence[Input]) -> list[Boxes]:
        """The boxes of each picture."""

    @staticmethod
    def _pixels(pictures: Sequence[Input]) -> Floats:
        """A batch, float32 (pictures, 3, side, side), 0–255."""
        return np.stack([one.square for one in pictures]).transpose(0, 3, 1, 2).astype(np.float32)
