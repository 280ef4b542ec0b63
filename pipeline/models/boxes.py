"""Boxes found in pictures: how they are stored, and which of them say the same."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float32]

BOX = pa.struct(
    [(name, pa.float32()) for name in ("x", "y", "width", "height", "score")],
)
"""A box: left and upper edge and size, as shares of the picture's width and height, and a score."""


@dataclass(frozen=True)
class Boxes:
    """A picture's boxes, best first.

    `edges` float32 (boxes, 4): left, top, right, bottom, as shares of width and height, 0–1;
    `scores` float32 (boxes,), 0–1; `classes` int64 (boxes,), 0 if there is one class.
    """

    edges: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]

    def rows(self) -> list[dict[str, Any]]:
        """As values of the type `BOX`."""
        left, top, right, bottom = self.edges.T
        columns = (left, top, right - left, bottom - top, self.scores)
        values = np.stack(columns, axis=1).tolist()
        return [dict(zip(BOX.names, value, strict=True)) for value in values]


def best_boxes(
    edges: Floats, scores: Floats, classes: npt.NDArray[np.int64], overlap: float, most: int = 256
) -> Boxes:
    """The boxes without those that overlap a better one of their class by more than `overlap`
    (intersection over union), at most `most`; edges are cut at the picture's."""
    import cv2

    cut = np.clip(edges, 0, 1).astype(np.float32)
    order = np.flatnonzero(((cut[:, 2:] - cut[:, :2]) > 0).all(axis=1))
    cut, scores, classes = cut[order], scores[order], classes[order]
    corners = np.concatenate([cut[:, :2], cut[:, 2:] - cut[:, :2]], axis=1)
    found = cv2.dnn.NMSBoxesBatched(
        corners.tolist(), scores.tolist(), classes.tolist(), 0.0, overlap
    )
    kept = np.asarray(found, np.int64).reshape(-1)
    kept = kept[np.argsort(-scores[kept], kind="stable")][:most]
    return Boxes(cut[kept], scores[kept], classes[kept])


def letterbox(rgb: npt.NDArray[np.uint8], side: int) -> tuple[npt.NDArray[np.uint8], Floats]:
    """The picture, its longer side brought to `side`, at the upper left of a black square, and
    which share of the square it takes, (across, down)."""
    import cv2

    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((side, side, 3), np.uint8)
    square[:down, :across] = cv2.resize(rgb, (across, down), interpolation=way)
    return square, np.array([across / side, down / side], np.float32)


def covered(edges: Floats, cells: int = 256) -> float:
    """Share of the picture that boxes cover together, counted on a grid of `cells`²."""
    grid = np.zeros((cells, cells), bool)
    for left, top, right, bottom in np.rint(edges * cells).astype(int):
        grid[top:bottom, left:right] = True
    return float(grid.mean())
