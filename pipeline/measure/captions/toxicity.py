"""The caption's toxicity, by the model that the job names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.config.captions import ToxicityConfig
from pipeline.config.job import Job, Rule
from pipeline.measure.captions.captions import CaptionStage
from pipeline.measure.stage import Output
from pipeline.models.toxicity import (
    check_toxicity,
    load_toxicity,
    toxicity_arithmetic,
    toxicity_classes,
    toxicity_digest,
)
from pipeline.table.columns import Column
from pipeline.table.shard import Rows, ShardData

LINE = 0.8
"""The default rule's threshold, for all models."""

HATE = (
    "No model of toxicity that comes with winnow tells hate from speaking against it: of "
    "HateCheck's cases winnow-toxicity flags 53.6 % of the hateful ones and 57.6 % of the others."
)
"""As measured in docs/quality.md."""

_TEXTS = {
    "toxicity": "Probability of being toxic, 0–1, by `captions.toxicity.model`.",
    "severe_toxicity": "The same of being very hateful or aggressive.",
    "obscene": "The same of obscene words.",
    "threat": "The same of a threat.",
    "insult": "The same of an insult.",
    "identity_attack": "The same of an attack on a group of people.",
    "sexual_explicit": "The same of sexual words; Detoxify's `unbiased` and `multilingual` alone.",
}
"""What each class means, after Jigsaw's definitions."""


class ToxicityStage(CaptionStage):
    """A column for each class of the model; the first is `toxicity`."""

    name = "toxicity"
    rank = 4
    step = "Caption rules"

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "ToxicityStage | None":
        return cls(job) if job.captions.toxicity is not None else None

    def default_rules(self) -> tuple[Rule, ...]:
        """`toxicity` above 0.8.

        Chosen for `winnow-toxicity` on examples that it was not fitted on: 0.04 % of COCO's
        captions lie above it, and 89 % of Civil Comments' toxic posts (docs/decisions/toxicity.md).
        profanity-check and Detoxify had this threshold before. Of Detoxify every class has a rule:
        what it calls a threat at 0.998 may have a `toxicity` of 0.05.
        """
        classes = toxicity_classes(self._config) if not self._config.is_packaged else ("toxicity",)
        return tuple(
            Rule(reason="toxic_caption", when=f"{name} > {LINE}")
            for name in sorted(classes, key=lambda name: name != "toxicity")
        )

    @property
    def _config(self) -> ToxicityConfig:
        assert self.job.captions.toxicity is not None
        return self.job.captions.toxicity

    @property
    def writes(self) -> tuple[Column, ...]:
        return tuple(
            Column(name, pa.float32(), _TEXTS[name]) for name in toxicity_classes(self._config)
        )

    @property
    def packages(self) -> tuple[str, ...]:
        if self._config.model == "winnow-toxicity":
            return ()
        # transformers runs Detoxify's checkpoints; the package detoxify only converts them.
        return ("alt-profanity-check",) if self._config.is_packaged else ("transformers",)

    @property
    def only_if(self) -> str | None:
        return self._config.only_if

    def settings(self) -> dict[str, Any]:
        """The model, which `models` names too, and its classes if they are several.

        profanity-check was the default once, and had only one class: its parts remain.
        """
        recipe = self._config.recipe()
        recipe.pop("checkpoint", None)  # `models` covers its content; its path does not matter
        if self._config.is_packaged:
            recipe.pop("precision", None)
            recipe.pop("max_difference", None)
        else:
            recipe["precision"] = self._config.precision
        if self._config.model == "profanity-check":
            recipe.pop("model")
        else:
            recipe |= {"classes": list(toxicity_classes(self._config))}
        return recipe

    def models(self) -> dict[str, str]:
        return {f"toxicity: {self._config.model}": toxicity_digest(self._config)}

    def limits(self) -> tuple[str, ...]:
        model = self._config.model
        judge = f"The captions' toxicity is judged by {model}."
        if self._config.is_packaged:
            return judge, HATE
        return judge, f"Whether {model} tells hate from speaking against it is not measured here."

    def check(self) -> None:
        check_toxicity(self._config)

    @property
    def _place(self) -> str:
        return f"{self.job.output}/{self.job.name}"

    def run(self, shard: ShardData, rows: Rows) -> Output:
        output = super().run(shard, rows)
        arithmetic = toxicity_arithmetic(self._config, self._place)
        facts = {"arithmetic": arithmetic} if arithmetic else {}
        return replace(output, summary=output.summary | facts)

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        scores = load_toxicity(self._config, self._place)(captions)
        return {name: scores[name].tolist() for name in toxicity_classes(self._config)}
