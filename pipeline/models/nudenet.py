"""NudeNet's boxes of body parts and faces; the package nudenet (AGPL-3.0) carries the weights.

Only its weights file is read, by ONNX Runtime: a YOLOv8 network for squares of 320 pixels.
"""

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.models.boxes import Boxes, Floats, best_boxes
from pipeline.models.detector import Detector, Input
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError
from pipeline.words.extras import need_extra
from pipeline.words.threads import worker_threads

CLASSES = (
    "FEMALE_GENITALIA_COVERED", "FACE_FEMALE", "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED", "MALE_BREAST_EXPOSED", "ANUS_EXPOSED", "FEET_EXPOSED",
    "BELLY_COVERED", "FEET_COVERED", "ARMPITS_COVERED", "ARMPITS_EXPOSED", "FACE_MALE",
    "BELLY_EXPOSED", "MALE_GENITALIA_EXPOSED", "ANUS_COVERED", "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)  # fmt: skip
"""In the order of the network's outputs."""
EXPOSED = (
    "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED", "FEMALE_GENITALIA_EXPOSED", "ANUS_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)  # fmt: skip
"""Classes that count as nudity; not those of chests of men, feet, bellies and armpits."""
SIDE = 320
LEAST = 0.2
"""Least score of a box that is stored."""
_OVERLAP = 0.45


def _weights() -> Path:
    spec = find_spec("nudenet")  # without importing it
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places or [""])), "320n.onnx")


def check_nudenet() -> None:
    """InputError if the extra is not installed or its weights are missing."""
    need_extra("measure.nudenet", "nudenet", "nudenet")
    if not _weights().is_file():
        raise InputError(f"measure.nudenet: {_weights()} is missing; reinstall nudenet")


@functools.lru_cache(maxsize=1)
def nudenet_digest() -> str:
    check_nudenet()
    return file_digest(_weights())


class NudeNet(Detector):
    """NudeNet 320n."""

    side = SIDE

    def find(self, pictures: Sequence[Input]) -> list[Boxes]:
        """All boxes with a score of at least `LEAST`, for each picture; `classes` are numbers of
        `CLASSES`."""
        found = self._network.run(None, {self._input: self._pixels(pictures) / 255})[0]
        return [_boxes(one, picture.share) for one, picture in zip(found, pictures, strict=True)]


def _boxes(found: Floats, share: Floats) -> Boxes:
    """From (4 + classes, places): centre and size in pixels of the square, and scores."""
    scores, classes = found[4:].max(axis=0), found[4:].argmax(axis=0)
    good = scores >= LEAST
    centre, half = found[:2, good].T, found[2:4, good].T / 2
    edges = np.concatenate([centre - half, centre + half], axis=1) / SIDE / np.tile(share, 2)
    return best_boxes(edges.astype(np.float32), scores[good], classes[good], _OVERLAP)


@functools.lru_cache(maxsize=2)
def load_nudenet(threads: int | None = None) -> NudeNet:
    """The detector, cached per process."""
    return NudeNet(_weights(), threads or worker_threads())
