"""Heads: models on the CLIP picture vectors, so that many scores need one pass over the pixels."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.job import Job
from pipeline.measure.stage import Output, TableStage
from pipeline.models.clip import load_clip
from pipeline.models.clip_source import find_source
from pipeline.models.heads.registry import heads_of
from pipeline.table.columns import Column
from pipeline.table.shard import ShardData


class HeadsStage(TableStage):
    """One column per head; null where there is no vector."""

    name = "heads"
    rank = 30
    step = "Picture content rules"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._heads = heads_of(job)

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "HeadsStage | None":
        return cls(job) if job.images.heads else None

    @property
    def reads(self) -> tuple[str, ...]:
        return ("clip_score",)

    @property
    def after(self) -> tuple[str, ...]:
        return ("embed",)

    @property
    def writes(self) -> tuple[Column, ...]:
        return tuple(
            Column(head.column, pa.float32(), f"Score of the {head.name} head `{head.column}`.")
            for head in self._heads
        )

    @property
    def only_if(self) -> str | None:
        return self.job.images.only_if

    def settings(self) -> dict[str, Any]:
        return {head.column: head.settings() for head in self._heads}

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(sorted({name for head in self._heads for name in head.packages}))

    def models(self) -> dict[str, str]:
        digests = {f"head: {head.column}": head.digest() for head in self._heads}
        return {name: digest for name, digest in digests.items() if digest is not None}

    def check(self) -> None:
        dim = self._width()
        for head in self._heads:
            head.check(dim)

    def _width(self) -> int | None:
        """Of the vectors, by the CLIP model's config; None where only the hub has it."""
        source = find_source(str(self.job.embed.model), self.job.embed.pretrained)
        config = next((path for path in source.files if path.suffix == ".json"), None)
        if config is None:
            return None
        values = json.loads(config.read_text(encoding="utf-8"))
        width = values.get("model_cfg", values).get("embed_dim")
        return int(width) if width is not None else None

    def run(self, shard: ShardData, rows: npt.NDArray[np.bool_]) -> Output:
        table = shard.table(*self.reads)
        vectors = shard.array("embed", "img.npy").astype(np.float32)
        known = rows & table["clip_score"].is_valid().to_numpy()
        config = self.job.embed
        clip = load_clip(str(config.model), config.pretrained, config.device, config.precision)
        columns = {}
        for head in self._heads:
            judge = head.load(clip)
            scores = np.zeros(len(known), np.float32)
            if known.any():  # else the array may have no width
                scores[known] = head.score(judge, vectors[known])
            columns[head.column] = pa.array(scores, mask=~known)
        return Output(pa.table({"uid": table["uid"], **columns}))
