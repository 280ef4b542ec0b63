"""The caption's toxicity, by the model that the job names."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.config.sections import ToxicityConfig
from pipeline.measure.captions.captions import CaptionStage
from pipeline.models.toxicity import check_toxicity, load_toxicity, toxicity_digest
from pipeline.table.columns import Column


class ToxicityStage(CaptionStage):
    """`toxicity`."""

    name = "toxicity"
    rank = 4
    step = "Caption rules"

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "ToxicityStage | None":
        return cls(job) if job.captions.toxicity is not None else None

    def default_rules(self) -> tuple[Rule, ...]:
        """Cautious: harmless captions of few words score high."""
        return (Rule(reason="toxic_caption", when="toxicity > 0.8"),)

    @property
    def _config(self) -> ToxicityConfig:
        assert self.job.captions.toxicity is not None
        return self.job.captions.toxicity

    @property
    def writes(self) -> tuple[Column, ...]:
        text = "Probability of being toxic, 0–1, by `captions.toxicity.model`."
        return (Column("toxicity", pa.float32(), text),)

    @property
    def packages(self) -> tuple[str, ...]:
        # transformers runs Detoxify's checkpoints; the package detoxify only converts them.
        return ("alt-profanity-check",) if self._config.is_packaged else ("transformers",)

    def settings(self) -> dict[str, Any]:
        recipe = self._config.recipe()
        recipe.pop("checkpoint", None)  # `models` covers its content; its path does not matter
        return recipe

    def models(self) -> dict[str, str]:
        return {f"toxicity: {self._config.model}": toxicity_digest(self._config)}

    def check(self) -> None:
        check_toxicity(self._config)

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        return {"toxicity": load_toxicity(self._config)(captions).tolist()}
