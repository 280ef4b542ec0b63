"""Boxes of exposed and covered parts of bodies, by the optional package nudenet."""

from typing import Any

import pyarrow as pa

from pipeline.config.sections import MeasureConfig
from pipeline.measure.stage import Measured, PictureStage
from pipeline.models.boxes import BOX
from pipeline.models.nudenet import (
    CLASSES,
    EXPOSED,
    LEAST,
    NudeNet,
    check_nudenet,
    load_nudenet,
    nudenet_digest,
)
from pipeline.table.columns import Column

LABELLED = pa.struct([*BOX, pa.field("label", pa.string())])


class NudeNetConfig(MeasureConfig):
    """Exposed and covered parts of bodies, and faces, by NudeNet.

    Needs `pip install 'winnow-curation[nudenet]'`. The package and its weights are AGPL-3.0 (its
    metadata says MIT, its licence file AGPL-3.0), and so no part of what winnow installs by
    default. Rule: `nudenet_exposed > 0.5`.
    """


class NudeNetSession:
    """The detector."""

    def __init__(self, detector: NudeNet) -> None:
        self._detector, self.prepare = detector, detector.prepare

    def measure(self, items: list[Any], rows: pa.Table) -> Measured:
        found = []
        for boxes in self._detector.find(items):
            pairs = zip(boxes.rows(), boxes.classes.tolist(), strict=True)
            found.append([box | {"label": CLASSES[number]} for box, number in pairs])
        exposed = [
            max((box["score"] for box in boxes if box["label"] in EXPOSED), default=0.0)
            for boxes in found
        ]
        return Measured({"nudenet_boxes": found, "nudenet_exposed": exposed})


class NudeNetStage(PictureStage):
    """`nudenet_boxes`, and the highest score of an exposed part."""

    name = "nudenet"
    rank = 23
    step = "Picture content rules"
    Config = NudeNetConfig
    packages = ("onnxruntime",)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("status",)

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column(
                "nudenet_boxes",
                pa.list_(LABELLED),
                "What NudeNet found, best first: a box as in `face_boxes`, and `label`, NudeNet's "
                f"class (`FACE_FEMALE`, `BELLY_EXPOSED`, …); scores of {LEAST} or more.",
            ),
            Column(
                "nudenet_exposed",
                pa.float32(),
                "Highest score among the boxes of exposed genitals, anus, buttocks or female "
                "breasts; 0 without one.",
            ),
        )

    @property
    def batch(self) -> int:
        return 16

    def models(self) -> dict[str, str]:
        return {"nudenet: 320n": nudenet_digest()}

    def check(self) -> None:
        check_nudenet()

    def session(self) -> NudeNetSession:
        return NudeNetSession(load_nudenet())
