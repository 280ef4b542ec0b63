"""Zero-shot heads: prompts of a class against prompts of everything else (Radford et al., 2021)."""

from typing import Any

import numpy as np
from pydantic import Field

from pipeline.models.heads.base import HeadConfig, HeadKind, Judge, Scores, Vectors, VectorSpace


class ZeroshotConfig(HeadConfig):
    """Prompts of a class against others; the score is the class's share of their softmax, 0–1."""

    positive: tuple[str, ...] = Field(min_length=1, description="Prompts of the class.")
    negative: tuple[str, ...] = Field(min_length=1, description="Prompts of everything else.")


class ZeroshotHead(HeadKind):
    """The softmax share of the positive prompts, 0–1."""

    name = "zeroshot"
    Config = ZeroshotConfig

    def check(self, dim: int | None) -> None:
        """Nothing to check: prompts work with any CLIP model."""

    def digest(self) -> None:
        return None

    def settings(self) -> dict[str, Any]:
        config: ZeroshotConfig = self.config
        prompts = {"positive": list(config.positive), "negative": list(config.negative)}
        return super().settings() | prompts

    def load(self, space: VectorSpace) -> Judge:
        config: ZeroshotConfig = self.config
        prompts = space.encode_texts([*config.positive, *config.negative]).astype(np.float32)
        positives, scale = len(config.positive), np.float32(space.logit_scale)

        def judge(vectors: Vectors) -> Scores:
            logits = scale * vectors @ prompts.T
            share = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores: Scores = share[:, :positives].sum(axis=1) / share.sum(axis=1)
            return scores

        return judge
