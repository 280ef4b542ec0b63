"""Counts words of the user's word list in the caption."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.measure.captions.captions import CaptionStage
from pipeline.table.columns import Column
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError

_TOKEN = re.compile(r"\w+|[^\w\s]")


class Vocabulary:
    """A user's word list: whole words or phrases, without regard to case.

    The words are only ever counted: no message or part holds them.
    """

    def __init__(self, path: str) -> None:
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"captions.vocabulary: cannot read {path}: {error}") from error
        phrases = {_tokens(line) for line in lines if not line.strip().startswith("#")} - {()}
        if not phrases:
            raise InputError(
                f"captions.vocabulary: {path} holds no words; write one a line, or remove the key"
            )
        # Indexed by first token, because lists can have 10⁵ words and a caption about a dozen.
        self._starting: dict[str, list[tuple[str, ...]]] = {}
        for phrase in sorted(phrases, key=len, reverse=True):
            self._starting.setdefault(phrase[0], []).append(phrase)

    def hits(self, text: str) -> int:
        """Occurrences that do not overlap, the longest first."""
        tokens, place, found = _tokens(text), 0, 0
        while place < len(tokens):
            phrases = self._starting.get(tokens[place], ())
            length = next((len(p) for p in phrases if tokens[place : place + len(p)] == p), 0)
            found += length > 0
            place += length or 1
        return found


def _tokens(text: str) -> tuple[str, ...]:
    """Whole words and single signs, without regard to case."""
    return tuple(_TOKEN.findall(text.casefold()))


class VocabularyStage(CaptionStage):
    """`vocabulary_hits`, of `captions.vocabulary`."""

    name = "vocabulary"
    rank = 2
    step = "Caption rules"

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "VocabularyStage | None":
        return cls(job) if job.captions.vocabulary is not None else None

    def default_rules(self) -> tuple[Rule, ...]:
        """Any listed word."""
        return (Rule(reason="vocabulary", when="vocabulary_hits > 0"),)

    @property
    def _path(self) -> str:
        assert self.job.captions.vocabulary is not None
        return self.job.captions.vocabulary

    @property
    def writes(self) -> tuple[Column, ...]:
        text = "Words of `captions.vocabulary` found."
        return (Column("vocabulary_hits", pa.int32(), text),)

    def settings(self) -> dict[str, Any]:
        return {"vocabulary": file_digest(Path(self._path))}

    def check(self) -> None:
        Vocabulary(self._path)

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        vocabulary = Vocabulary(self._path)
        return {"vocabulary_hits": [vocabulary.hits(caption) for caption in captions]}
