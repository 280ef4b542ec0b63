"""Blurs faces in exported pictures, so that they cannot be recognised or restored.

Of each face only 4×4 mean colours are left, drawn smoothly: mosaics and Gaussian blurs that keep
more were undone by trained networks (McPherson, Shokri and Shmatikov, 2016, arXiv:1609.00408).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.job import Job
from pipeline.judge.export_rules import BOXES
from pipeline.words.errors import PartError

VERSION = 1
"""Raised when the same boxes give other pictures."""
BLURRED = "faces_blurred"
"""The exported column: how many faces were blurred in the row's picture."""
CELLS = 4
"""Mean colours that are left of a face, across and down."""
MARGIN = 1.5
"""The ellipse's axes over the box's sides. It covers the whole box from √2 on."""


@dataclass(frozen=True)
class FaceBlur:
    """Which boxes are blurred, and the JPEG quality of a picture that was changed."""

    source: str
    score: float
    quality: int

    @classmethod
    def of(cls, job: Job) -> "FaceBlur | None":
        """The job's, None if it blurs no faces."""
        source = job.export.blur_faces
        if source is None:
            return None
        return cls(source, job.export.blur_faces_score, job.download.encode_quality)

    def recipe(self) -> list[Any]:
        """What the pictures depend on, as JSON values."""
        return [VERSION, self.source, self.score, self.quality]

    def facts(self) -> dict[str, Any]:
        """For the manifest: which boxes were blurred."""
        return {"boxes": BOXES[self.source], "score": self.score}

    def boxes(self, table: pa.Table) -> list[list[dict[str, Any]]]:
        """Of each row the boxes that are blurred. PartError for a row whose faces were not looked
        for: no such row may be exported (`judge/export_rules`)."""
        name, rows = BOXES[self.source], []
        for row in table.select(["uid", name]).to_pylist():
            if row[name] is None:
                raise PartError(f"export: the faces of row {row['uid']} were not looked for")
            rows.append(
                [
                    box
                    for box in row[name]
                    if box["score"] >= self.score and box.get("label", "FACE").startswith("FACE")
                ]
            )
        return rows

    def apply(self, jpeg: bytes, boxes: Iterable[Mapping[str, Any]]) -> bytes:
        """The picture with the boxes blurred; the same bytes if there are none."""
        import simplejpeg

        boxes = list(boxes)
        if not boxes:
            return jpeg
        pixels = blur(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"), boxes)
        encoded: bytes = simplejpeg.encode_jpeg(
            pixels, quality=self.quality, colorspace="RGB", colorsubsampling="420"
        )
        return encoded


def blur(
    pixels: npt.NDArray[np.uint8], boxes: Iterable[Mapping[str, Any]]
) -> npt.NDArray[np.uint8]:
    """A copy of RGB pixels (height, width, 3) in which an ellipse around each box is smooth."""
    import cv2

    height, width = pixels.shape[:2]
    result = np.ascontiguousarray(pixels).copy()
    for box in boxes:
        across, down = box["width"] * width * MARGIN / 2, box["height"] * height * MARGIN / 2
        x, y = (box["x"] + box["width"] / 2) * width, (box["y"] + box["height"] / 2) * height
        left, right = max(0, int(x - across)), min(width, int(np.ceil(x + across)))
        top, bottom = max(0, int(y - down)), min(height, int(np.ceil(y + down)))
        if right <= left or bottom <= top:
            continue
        face = result[top:bottom, left:right]
        size = (face.shape[1], face.shape[0])
        means = cv2.resize(face, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(means, size, interpolation=cv2.INTER_LINEAR)
        rows, columns = np.ogrid[top:bottom, left:right]
        inside = ((columns + 0.5 - x) / max(across, 1)) ** 2
        inside = inside + ((rows + 0.5 - y) / max(down, 1)) ** 2 <= 1
        face[inside] = smooth[inside]
    return result
