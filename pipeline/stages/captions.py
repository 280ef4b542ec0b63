"""Measurements on the caption alone: lengths, listed words, personal data, language, toxicity."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.models.language import identify_languages, language_digest
from pipeline.models.toxicity import check_toxicity, load_toxicity, toxicity_digest
from pipeline.stage import Output, ShardData, TableStage
from pipeline.table import Column, file_digest

MEASURED = 2_000
"""Characters of a caption that are read; what follows cannot make a clean start clean."""
EMAIL = re.compile(
    r"[\w.+-]{1,64}\s?(?:@|\(at\)|\[at\])\s?[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}"
    r"(?:\.|\s?(?:\(dot\)|\[dot\])\s?)[a-z]{2,24}\b",
    re.IGNORECASE,
)
PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d{1,4}\)?(?:[ .\-/]?\(?\d{2,4}\)?){2,5}(?![\w/-])")
_DIGITS = re.compile(r"\d")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_DATE = re.compile(r"^(?:\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4})$")


def count_emails(text: str) -> int:
    return sum(1 for _ in EMAIL.finditer(text)) if "@" in text or "at" in text.lower() else 0


def count_phones(text: str) -> int:
    """Numbers of 7 to 15 digits (E.164) in groups, with a plus or a separator; no dates."""
    found = 0
    for match in PHONE.finditer(text):
        number = match.group().strip()
        digits = len(_DIGITS.findall(number))
        grouped = number.startswith(("+", "00", "(")) or len(re.split(r"[ .\-/]", number)) > 2
        found += 7 <= digits <= 15 and grouped and not _DATE.match(number)
    return found


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
        # By first token: lists run to 10⁵ words, and a caption has a dozen.
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


class CaptionsStage(TableStage):
    """Columns of the caption; rows without one are null throughout."""

    name = "captions"

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption", "input_error")

    @property
    def writes(self) -> tuple[Column, ...]:
        config = self.job.captions
        columns = [
            Column("caption_chars", pa.int32(), "Characters of the caption."),
            Column("caption_words", pa.int32(), "Words of the caption, parted by white space."),
            Column("pii_email", pa.int32(), "E-mail addresses found."),
            Column("pii_phone", pa.int32(), "Phone numbers found."),
        ]
        if config.vocabulary is not None:
            text = "Words of `captions.vocabulary` found."
            columns.append(Column("vocabulary_hits", pa.int32(), text))
        if config.language:
            columns.append(Column("language", pa.string(), "ISO 639-1 code (py3langid)."))
            columns.append(Column("language_score", pa.float32(), "Its probability, 0–1."))
        if config.toxicity is not None:
            text = "Probability of being toxic, 0–1, by `captions.toxicity.model`."
            columns.append(Column("toxicity", pa.float32(), text))
        return tuple(columns)

    def settings(self) -> dict[str, Any]:
        settings = self.job.captions.recipe()
        if self.job.captions.vocabulary is not None:
            settings["vocabulary"] = file_digest(Path(self.job.captions.vocabulary))
        if self.job.captions.toxicity is not None:
            settings["toxicity"].pop("checkpoint")  # `models` covers its content, wherever it lies
        return settings

    def models(self) -> dict[str, str]:
        models = {}
        if self.job.captions.language:
            models["language: py3langid"] = language_digest()
        if (config := self.job.captions.toxicity) is not None:
            models[f"toxicity: {config.model}"] = toxicity_digest(config)
        return models

    def check(self) -> None:
        config = self.job.captions
        if config.vocabulary is not None:
            Vocabulary(config.vocabulary)
        if config.toxicity is not None:
            check_toxicity(config.toxicity)

    def run(self, shard: ShardData, rows: npt.NDArray[np.bool_]) -> Output:
        table = shard.table(*self.reads)
        full = table["caption"].to_pylist()
        texts = [None if c is None else c[:MEASURED] for c in full]
        known = [i for i, text in enumerate(texts) if text is not None]
        some = [text for text in texts if text is not None]
        config = self.job.captions

        def spread(values: Sequence[Any]) -> list[Any]:
            column: list[Any] = [None] * len(texts)
            for i, value in zip(known, values, strict=True):
                column[i] = value
            return column

        columns: dict[str, list[Any]] = {
            "caption_chars": spread([len(c) for c in full if c is not None]),
            "caption_words": spread([len(c.split()) for c in full if c is not None]),
            "pii_email": spread([count_emails(text) for text in some]),
            "pii_phone": spread([count_phones(text) for text in some]),
        }
        if config.vocabulary is not None:
            vocabulary = Vocabulary(config.vocabulary)
            columns["vocabulary_hits"] = spread([vocabulary.hits(text) for text in some])
        if config.language:
            languages, scores = identify_languages(some)
            columns["language"] = spread(languages)
            columns["language_score"] = spread(scores.tolist())
        if config.toxicity is not None:
            columns["toxicity"] = spread(load_toxicity(config.toxicity)(some).tolist())
        return Output(pa.table({"uid": table["uid"], **columns}))
