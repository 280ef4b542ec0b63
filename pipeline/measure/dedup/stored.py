"""Vectors of many pictures, in memory or in a file, of which only a part is held at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_IN_MEMORY = 256 * 2**20
"""Bytes from which on an array lies in a file."""
_HELD = 256 * 2**20
"""Bytes of a file that are mapped until the pages are given back; they stay in the cache."""
_AROUND = 2**16
"""Bytes that Linux maps around one that is read, where they are cached (`fault_around_bytes`)."""


def new_array(shape: tuple[int, int], scratch: Path | None, name: str) -> npt.NDArray[np.float16]:
    """An array of zeros: a large one in a file of the folder `scratch`, if there is one."""
    if scratch is None or shape[0] * shape[1] * 2 < _IN_MEMORY:
        return np.zeros(shape, np.float16)
    return np.memmap(scratch / f"{name}.f16", np.float16, "w+", shape=shape)


@dataclass
class Vectors:
    """Rows of `array`, float16 of any length, as float32 of length 1."""

    array: npt.NDArray[np.float16]
    _read: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.array.shape[0], self.array.shape[1]

    def take(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Those of the rows, shape (rows, dim)."""
        each = max(_AROUND, self.array.itemsize * self.array.shape[1])
        return self._normalised(self.array[rows], len(rows) * each)

    def slice(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Those of a range of rows."""
        part = self.array[start:stop]
        return self._normalised(part, part.nbytes)

    def _normalised(self, rows: npt.NDArray[np.float16], mapped: int) -> npt.NDArray[np.float32]:
        found = normalised(rows)
        self._read += mapped
        if self._read > _HELD:
            release(self.array)
            self._read = 0
        return found


def release(array: npt.NDArray[Any]) -> None:
    """Give back the pages of an array that lies in a file; what it holds is unchanged."""
    import mmap

    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.flush()
        mapped.madvise(mmap.MADV_DONTNEED)


def normalised(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Rows (n, dim) as float32 of length 1: float16 is off by up to 1e-3, too much for thresholds
    near 1."""
    wide = vectors.astype(np.float32)
    wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)
    return wide
