"""CLIP vectors of picture and caption, and their cosine (Radford et al., 2021)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.config.sections import EmbedConfig
from pipeline.measure.stage import Measured, PictureStage
from pipeline.models.clip import Clip, check_clip, clip_digest
from pipeline.models.clip_compiled import CompiledClip, embedder
from pipeline.models.precision import facts_of
from pipeline.table.columns import Column
from pipeline.words.errors import InputError


def embed_model(config: EmbedConfig) -> str:
    """How reports name the model."""
    return f"{config.model}" + (f" / {config.pretrained}" if config.pretrained else "")


class EmbedSession:
    """The two towers."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> Any:
        return self._clip.preprocess(rgb)

    def measure(self, items: list[Any], rows: pa.Table) -> Measured:
        images = self._clip.encode_images(np.stack(items))
        texts = self._clip.encode_texts([caption or "" for caption in rows["caption"].to_pylist()])
        # From the float16 vectors, so that the score can be recomputed from the stored ones.
        scores = np.einsum("nd,nd->n", images.astype(np.float32), texts.astype(np.float32))
        return Measured({"clip_score": scores}, {"img": images, "txt": texts})

    def facts(self) -> dict[str, Any]:
        """In what arithmetic each tower ran."""
        if not isinstance(self._clip, CompiledClip):
            only = {"engine": "PyTorch", "precision": self._clip.precision}
            return {"arithmetic": {"both towers": only}}
        choices = self._clip.choices.items()
        return {"arithmetic": {f"{tower} tower": facts_of(one) for tower, one in choices}}


class EmbedStage(PictureStage):
    """`clip_score`, and float16 vectors `img.npy` and `txt.npy` of shape (rows, dim)."""

    name = "embed"
    rank = 20
    step = "Caption fits picture"
    packages = ("open_clip_torch",)

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "EmbedStage | None":
        return cls(job) if job.embed.model else None

    def default_rules(self) -> tuple[Rule, ...]:
        """The threshold of LAION-400M (Schuhmann et al., 2021) less a margin."""
        return (Rule(reason="low_clip_score", when="clip_score < 0.2", if_null="drop"),)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption", "status")

    @property
    def writes(self) -> tuple[Column, ...]:
        text = "Cosine of the CLIP vectors of picture and caption, −1 to 1."
        return (Column("clip_score", pa.float32(), text),)

    @property
    def arrays(self) -> tuple[str, ...]:
        return ("img", "txt")

    @property
    def only_if(self) -> str | None:
        return self.job.embed.only_if

    @property
    def batch(self) -> int:
        return self.job.embed.batch_size

    def settings(self) -> dict[str, Any]:
        config = self.job.embed
        found: dict[str, Any] = {"precision": config.precision}
        if config.precision == "auto" and config.min_cosine != EmbedConfig().min_cosine:
            found["min_cosine"] = config.min_cosine
        return found

    def models(self) -> dict[str, str]:
        config = self.job.embed
        return {f"clip: {embed_model(config)}": clip_digest(str(config.model), config.pretrained)}

    def check(self) -> None:
        config = self.job.embed
        if config.device == "cpu" and config.precision == "fp16":
            raise InputError(
                "embed.precision: fp16 is for GPUs; give `auto`, `bf16` or `int8` on a CPU"
            )
        if config.device != "cpu" and config.precision == "int8":
            raise InputError(
                "embed.precision: int8 is for CPUs; give `fp16` or `bf16` on another device"
            )
        check_clip(str(config.model), config.pretrained)

    def session(self) -> EmbedSession:
        place = f"{self.job.output}/{self.job.name}"
        return EmbedSession(embedder(self.job.embed, place))
