"""A network of the user's that was made to find copies, such as SSCD (Pizzi et al., 2022), as
TorchScript: a file that brings its own code, which torch runs without Python's."""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.table.part import file_digest
from pipeline.words.errors import InputError

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
"""Of ImageNet's pictures, 0–1, as SSCD and most networks of this kind want them."""


class Descriptor:
    """Pictures to vectors; `prepare` may run on other threads than the rest."""

    def __init__(self, path: Path, size: int) -> None:
        import torch

        self._size = size
        with warnings.catch_warnings():
            # torch wants new models to be of torch.export; those that are there are not.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._network = torch.jit.load(str(path), map_location="cpu").eval()

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """RGB (height, width, 3) to (3, size, size), as the network takes it."""
        import cv2

        size = (self._size, self._size)
        shrinks = max(rgb.shape[:2]) > self._size
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = np.asarray(cv2.resize(rgb, size, interpolation=method), np.float32) / 255
        found = (scaled - _MEAN) / _DEVIATION
        return np.ascontiguousarray(found.transpose(2, 0, 1), np.float32)

    def layer_of(self, pictures: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Vectors, float32, shape (pictures, dim)."""
        import torch

        with torch.inference_mode():
            found: Any = self._network(torch.from_numpy(np.stack(pictures)))
        return np.asarray(found.float().numpy(), np.float32)


@functools.lru_cache(maxsize=2)
def load_descriptor(path: str, size: int) -> Descriptor:
    """The network, cached per process."""
    return Descriptor(Path(path), size)


@functools.lru_cache(maxsize=4)
def descriptor_digest(path: str) -> str:
    """Of the file's content."""
    return file_digest(Path(path))


def check_descriptor(path: str, size: int) -> int:
    """The width of its vectors, tried on one picture. InputError for a file that is no TorchScript,
    and for a network that does not give one vector for a picture."""
    place = "dedup.descriptor"
    if not Path(path).is_file():
        raise InputError(f"{place}: {path} does not exist")
    try:
        network = load_descriptor(path, size)
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0].split(". ")[0]
        raise InputError(f"{place}: {Path(path).name} is no TorchScript ({first})") from None
    grey = np.full((size, size, 3), 128, np.uint8)
    try:
        found = network.layer_of([network.prepare(grey)] * 2)
    except Exception as error:  # the network's own code may raise anything
        first = str(error).strip().splitlines()[-1]
        raise InputError(
            f"{place}: {Path(path).name} cannot look at a picture of {size}×{size} ({first}); set "
            "dedup.descriptor_size to what it was made for"
        ) from None
    if found.ndim != 2 or len(found) != 2:
        raise InputError(
            f"{place}: {Path(path).name} gives an array of shape {found.shape} for two pictures; "
            "a descriptor gives (2, numbers)"
        )
    return int(found.shape[1])
