"""Faces in pictures: boxes with scores, and what follows from them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.sections import MeasureConfig
from pipeline.measure.stage import Measured, PictureStage
from pipeline.models.boxes import BOX, covered
from pipeline.models.detector import Input
from pipeline.models.faces import (
    LEAST,
    THRESHOLD,
    Faces,
    check_faces,
    faces_digest,
    load_faces,
    sharpness,
)
from pipeline.table.columns import Column


class FacesConfig(MeasureConfig):
    """Faces by CenterFace, whose weights are part of winnow (MIT): 13 pictures a second a core.

    It sees the stored picture, so small faces are found only if `download.image_size` leaves them
    about 12 pixels or more: docs/quality.md says how many are found. Rules: `faces > 0`,
    `face_share > 0.3`; blur at export: `export.blur_faces`.
    """


class FacesSession:
    """The detector."""

    def __init__(self, detector: Faces) -> None:
        self._detector, self.prepare = detector, detector.prepare

    def measure(self, items: list[Any], rows: pa.Table) -> Measured:
        columns: dict[str, list[Any]] = {
            name: [] for name in ("face_boxes", "faces", "face_share", "face_sharpness")
        }
        for picture, boxes in zip(items, self._detector.find(items), strict=True):
            sure = boxes.edges[boxes.scores >= THRESHOLD]
            columns["face_boxes"].append(boxes.rows())
            columns["faces"].append(len(sure))
            columns["face_share"].append(covered(sure))
            columns["face_sharpness"].append(_sharpness(picture, sure))
        return Measured(dict(columns))


def _sharpness(picture: Input, edges: npt.NDArray[np.float32]) -> float | None:
    """Of the largest face; None without one."""
    if not len(edges):
        return None
    sizes = (edges[:, 2:] - edges[:, :2]) * picture.share
    return sharpness(picture, edges[int(np.argmax(sizes.prod(axis=1)))])


class FacesStage(PictureStage):
    """`face_boxes`, and what follows from them."""

    name = "faces"
    rank = 22
    step = "Picture content rules"
    Config = FacesConfig
    packages = ("onnxruntime",)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("status",)

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column(
                "face_boxes",
                pa.list_(BOX),
                f"Possible faces, best first: `x`, `y` (left and upper edge), `width`, `height` as "
                f"shares of the picture's, and `score`; all boxes with a score of {LEAST} or more. "
                "For another threshold: `len(list_filter(face_boxes, lambda b: b.score > 0.6))`.",
            ),
            Column("faces", pa.int32(), f"Boxes with a score of {THRESHOLD} or more."),
            Column(
                "face_share",
                pa.float32(),
                "Share of the picture's area that these boxes cover together, 0–1.",
            ),
            Column(
                "face_sharpness",
                pa.float32(),
                "Fine detail of the largest face brought to 64×64 pixels: variance of the "
                "Laplacian over that of the grey values. Low: out of focus, smeared, or of few "
                "pixels. Null without a face.",
            ),
        )

    @property
    def batch(self) -> int:
        return 8

    def models(self) -> dict[str, str]:
        return {"faces: centerface": faces_digest()}

    def check(self) -> None:
        check_faces()

    def session(self) -> FacesSession:
        return FacesSession(load_faces())
