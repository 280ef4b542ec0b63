"""The caption's language."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job
from pipeline.measure.captions.captions import CaptionStage
from pipeline.models.language import identify_languages
from pipeline.models.packaged import packaged_digest
from pipeline.table.columns import Column


class LanguageStage(CaptionStage):
    """`language` and its score."""

    name = "language"
    rank = 3
    step = "Caption rules"
    packages = ("py3langid",)

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "LanguageStage | None":
        return cls(job) if job.captions.language else None

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column("language", pa.string(), "ISO 639-1 code (py3langid)."),
            Column("language_score", pa.float32(), "Its probability, 0–1."),
        )

    def models(self) -> dict[str, str]:
        return {"language: py3langid": packaged_digest("py3langid")}

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        languages, scores = identify_languages(captions)
        return {"language": languages, "language_score": scores.tolist()}
