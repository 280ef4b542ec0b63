"""The base class of measurements on the caption alone, and the caption's lengths."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job, Rule
from pipeline.measure.stage import Output, TableStage
from pipeline.table.columns import Column
from pipeline.table.shard import Rows, ShardData

MEASURED = 2_000
"""Most characters of a caption that are measured."""


class CaptionStage(TableStage):
    """A measurement of the caption; null for rows without one. Each has its own fingerprint."""

    whole_text = False
    """Whether `measure` gets captions longer than MEASURED characters whole."""

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption",)

    @abstractmethod
    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        """The stage's columns, one value a caption."""

    def run(self, shard: ShardData, rows: Rows) -> Output:
        table = shard.table(*self.reads)
        captions = table["caption"]
        known = np.flatnonzero(rows & pc.is_valid(captions).to_numpy(zero_copy_only=False))
        if not self.whole_text:
            captions = pc.utf8_slice_codeunits(captions, 0, MEASURED)
        measured = self.measure(captions.take(pa.array(known)).to_pylist()) if len(known) else {}
        place = np.full(table.num_rows, -1)
        place[known] = np.arange(len(known))
        columns = {}
        for column in self.writes:
            values = pa.array(measured.get(column.name, []), column.type)
            columns[column.name] = values.take(pa.array(place, mask=place < 0))
        return Output(pa.table({"uid": table["uid"], **columns}))


class CaptionsStage(CaptionStage):
    """The caption's lengths."""

    name = "captions"
    rank = 0
    step = "Caption rules"
    version = 3
    whole_text = True

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "CaptionsStage | None":
        return cls(job)

    def default_rules(self) -> tuple[Rule, ...]:
        """Lengths after DataComp's basic filter (Gadre et al., 2023), loosened for titles.

        Four characters can be four words of Chinese.
        """
        short = "caption_words < 2 or (caption_words < 3 and caption_chars < 5)"
        return (
            Rule(reason="caption_short", when=short),
            Rule(reason="caption_long", when="caption_chars > 1000"),
        )

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column("caption_chars", pa.int32(), "Characters of the caption."),
            Column(
                "caption_words",
                pa.int32(),
                "Words of the caption, separated by white space. In Chinese and Japanese each "
                "ideograph and each hiragana counts (Unicode's word boundaries, UAX 29), in Thai, "
                "Lao, Khmer and Burmese each four letters and signs.",
            ),
        )

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        from pipeline.words.word_count import count_words

        return {
            "caption_chars": [len(caption) for caption in captions],
            "caption_words": [count_words(caption) for caption in captions],
        }
