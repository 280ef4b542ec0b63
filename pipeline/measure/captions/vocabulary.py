"""Counts words of the user's word lists in the caption."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.measure.captions.captions import CaptionStage
from pipeline.table.columns import Column
from pipeline.table.part import file_digest
from pipeline.words.wordlists import WordLists, names_of

KEY = "captions.vocabulary"


class VocabularyStage(CaptionStage):
    """`vocabulary_hits`, of `captions.vocabulary`, and a column for each of several lists."""

    name = "vocabulary"
    rank = 2
    step = "Caption rules"
    version = 2

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "VocabularyStage | None":
        return cls(job) if job.captions.vocabulary is not None else None

    def default_rules(self) -> tuple[Rule, ...]:
        """Any listed word."""
        return (Rule(reason="vocabulary", when="vocabulary_hits > 0"),)

    @property
    def _lists(self) -> dict[str, str]:
        """Paths by name."""
        assert self.job.captions.vocabulary is not None
        return names_of(self.job.captions.vocabulary, KEY)

    @property
    def writes(self) -> tuple[Column, ...]:
        total = Column("vocabulary_hits", pa.int32(), f"Words of `{KEY}` found.")
        each = (
            Column(f"vocabulary_{name}", pa.int32(), f"Words of the list `{name}` found.")
            for name in self._lists
            if name
        )
        return (total, *each)

    def settings(self) -> dict[str, Any]:
        digests = {name: file_digest(Path(path)) for name, path in self._lists.items()}
        return {"vocabulary": digests.get("", digests)}

    def check(self) -> None:
        WordLists(self._lists, KEY)

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        lists = self._lists
        digests = tuple(file_digest(Path(path)) for path in lists.values())
        loaded = _loaded(tuple(lists.items()), digests)
        counts = [loaded.count(caption) for caption in captions]
        columns: dict[str, Sequence[Any]] = {"vocabulary_hits": [total for total, _ in counts]}
        for name in filter(None, lists):
            columns[f"vocabulary_{name}"] = [each[name] for _, each in counts]
        return columns


@lru_cache(maxsize=2)
def _loaded(lists: tuple[tuple[str, str], ...], digests: tuple[str, ...]) -> WordLists:
    """Read once in a process; `digests` because files change."""
    return WordLists(dict(lists), KEY)
