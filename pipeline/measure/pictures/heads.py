"""Heads: models on the CLIP vectors, so that many scores need one pass over the pixels."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.job import Job
from pipeline.measure.pictures.embed import embed_model
from pipeline.measure.stage import Output, TableStage
from pipeline.models.clip import Clip
from pipeline.models.clip_compiled import clip_of
from pipeline.models.clip_source import vector_width
from pipeline.models.heads.base import HeadKind, Judge
from pipeline.models.heads.registry import heads_of
from pipeline.table.columns import Column
from pipeline.table.shard import ShardData
from pipeline.words.heartbeat import beat

_ARRAYS = {"image": "img.npy", "text": "txt.npy"}
_ROWS_AT_ONCE = 8192  # an MLP's hidden layer of them is some tens of MB
_KEPT = 1000
_judges: OrderedDict[str, Judge] = OrderedDict()
_loading = threading.Lock()


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

    def notice(self) -> str | None:
        model = embed_model(self.job.embed)
        lines = [line for head in self._heads if (line := head.notice(model)) is not None]
        return "\n".join(lines) or None

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
        dim = vector_width(str(self.job.embed.model), self.job.embed.pretrained)
        for head in self._heads:
            head.check(dim)

    def run(self, shard: ShardData, rows: npt.NDArray[np.bool_]) -> Output:
        table = shard.table(*self.reads)
        known = rows & table["clip_score"].is_valid().to_numpy()
        places = np.flatnonzero(known)
        found = {head.column: np.zeros(len(known), np.float32) for head in self._heads}
        if len(places):  # else the arrays may have no width
            clip = clip_of(self.job.embed)
            for of in dict.fromkeys(head.config.of for head in self._heads):
                heads = [
                    (head, judge_of(head, clip)) for head in self._heads if head.config.of == of
                ]
                scores = scores_of(heads, shard.array("embed", _ARRAYS[of]), places)
                for name, values in scores.items():
                    found[name][places] = values
        columns = {name: pa.array(values, mask=~known) for name, values in found.items()}
        return Output(pa.table({"uid": table["uid"], **columns}))


def scores_of(
    heads: Sequence[tuple[HeadKind, Judge]],
    stored: npt.NDArray[np.float16],
    places: npt.NDArray[np.intp],
) -> dict[str, npt.NDArray[np.float32]]:
    """By column, the scores of the rows at `places` of the stored vectors, shape (places,)."""
    scores = {head.column: np.zeros(len(places), np.float32) for head, _ in heads}
    for start in range(0, len(places), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        vectors = stored[places[some]].astype(np.float32)
        for head, judge in heads:
            scores[head.column][some] = head.score(judge, vectors)
        beat()
    return scores


def judge_of(head: HeadKind, clip: Clip) -> Judge:
    """The head's judge of this model's vectors, loaded once per process and kept.

    Prompts are encoded and weights are read once, however many shards there are.
    """
    key = json.dumps(
        [type(head).__module__, head.settings(), head.digest(), clip.digest, clip.precision]
    )
    with _loading:
        if key not in _judges:
            _judges[key] = head.load(clip)
            while len(_judges) > _KEPT:
                _judges.popitem(last=False)
        return _judges[key]
