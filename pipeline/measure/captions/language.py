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
    """`language`, how probable it is, and whether both identifiers say so."""

    name = "language"
    rank = 3
    step = "Caption rules"
    version = 2
    packages = ("py3langid", "cld3-py")

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "LanguageStage | None":
        return cls(job) if job.captions.language else None

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column(
                "language",
                pa.string(),
                "ISO 639-1 code, by py3langid, CLD3 and the script together; null where no "
                "language is more probable than all others, as in a name or a number.",
            ),
            Column("language_score", pa.float32(), "Its probability, 0.5–1."),
            Column(
                "language_agreed",
                pa.bool_(),
                "Whether py3langid and CLD3, each asked alone, give this language.",
            ),
        )

    def models(self) -> dict[str, str]:
        return {"language: py3langid": packaged_digest("py3langid")}

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        found = identify_languages(captions)
        return {
            "language": found.languages,
            "language_score": found.scores,
            "language_agreed": found.agreed,
        }
