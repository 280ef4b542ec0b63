"""Counts words of the user's word lists in the caption."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.measure.captions.captions import CaptionStage
from pipeline.table.columns import Column
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError

if TYPE_CHECKING:
    from pipeline.words.wordlists import WordLists

KEY = "captions.vocabulary"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


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
        _read(self._lists)

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
def _loaded(lists: tuple[tuple[str, str], ...], digests: tuple[str, ...]) -> "WordLists":
    """Read once in a process; `digests` because files change."""
    return _read(dict(lists))


def _read(lists: Mapping[str, str]) -> "WordLists":
    # A job without lists need not wait for what folds words.
    from pipeline.words.wordlists import WordLists

    return WordLists(lists, KEY)


def names_of(paths: str | Sequence[str] | Mapping[str, str], key: str) -> dict[str, str]:
    """The lists by their names: given, or from the names of their files; one path has none, "".

    InputError if there is none, or if two would have the same name.
    """
    if isinstance(paths, str):
        return {"": paths}
    if not paths:
        raise InputError(f"{key} names no list; name one, or remove the key")
    named = (
        paths.items() if isinstance(paths, Mapping) else ((_name_of(path), path) for path in paths)
    )
    found: dict[str, str] = {}
    for name, path in named:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{key}: `{name[:80]}` is no name for a list: small letters a to z, digits and _"
            )
        if name == "hits":
            raise InputError(
                f"{key}: `hits` is the name of all lists together; name {path} otherwise"
            )
        if name in found:
            raise InputError(
                f"{key}: {found[name]} and {path} would both be called `{name}`; "
                "write a mapping of names to paths"
            )
        found[name] = path
    return found


def _name_of(path: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", Path(path).stem.lower()).strip("_") or "list"
    name = name[:36]
    return name if name[0].isalpha() else f"list_{name}"
