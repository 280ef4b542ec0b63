"""A user's word lists: read with clear errors, and their words counted in a text.

The words are only ever counted: no message or part holds them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.words.errors import InputError
from pipeline.words.folding import words

Phrase = tuple[str, ...]
_BOMS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x00\x00\xfe\xff", "UTF-32"))


def read_lines(path: str, key: str) -> list[str]:
    """The list's lines without comments; InputError that begins with `key` if it is no text."""
    where = f"{key}: {path}"
    try:
        data = Path(path).read_bytes()
    except IsADirectoryError:
        raise InputError(f"{where} is a folder; name a file of one word a line") from None
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}; name a file of one word a line") from None
    for mark, name in _BOMS:
        if data.startswith(mark):
            raise InputError(f"{where} is in {name}; save it as UTF-8")
    if (place := data.find(b"\0")) >= 0:
        raise InputError(
            f"{where}, line {_line(data, place)}: a NUL byte; this is UTF-16 without its mark or "
            "no text; save the list as UTF-8"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise InputError(
            f"{where}, line {_line(data, start)}: the byte 0x{data[start]:02x} is not UTF-8; save "
            "the list as UTF-8"
        ) from None
    return [line for line in text.splitlines() if not line.strip().startswith("#")]


def _line(data: bytes, place: int) -> int:
    return data[:place].count(b"\n") + 1


class WordLists:
    """One or several word lists, by name; whole words and phrases, folded as `folding` says."""

    def __init__(self, paths: Mapping[str, str], key: str) -> None:
        self._lists = {name: _Index(read_phrases(path, key)) for name, path in paths.items()}
        phrases = set().union(*(one.phrases for one in self._lists.values()))
        # Several lists together find what one list of all their words would.
        self._all = _Index(phrases) if len(self._lists) > 1 else next(iter(self._lists.values()))
        self._known = frozenset(word for phrase in phrases for word in phrase)

    def count(self, text: str) -> tuple[int, dict[str, int]]:
        """Occurrences that do not overlap, the longest first: in all, and of each list alone."""
        found = words(text, self._known)
        if self._all.starting.keys().isdisjoint(found):
            return 0, dict.fromkeys(self._lists, 0)
        total = self._all.count(found)
        if len(self._lists) == 1:
            return total, dict.fromkeys(self._lists, total)
        return total, {name: one.count(found) for name, one in self._lists.items()}


def read_phrases(path: str, key: str) -> set[Phrase]:
    """The phrases of a list, folded; InputError if it holds none."""
    phrases = {tuple(words(line)) for line in read_lines(path, key)} - {()}
    if not phrases:
        raise InputError(f"{key}: {path} holds no words; write one a line, or remove the key")
    return phrases


class _Index:
    """Phrases by their first word, because lists can have 10⁵ words and a caption about a dozen."""

    def __init__(self, phrases: set[Phrase]) -> None:
        self.phrases = phrases
        self.starting: dict[str, list[int]] = {}
        lengths: dict[str, set[int]] = {}
        for phrase in phrases:
            lengths.setdefault(phrase[0], set()).add(len(phrase))
        self.starting = {word: sorted(found, reverse=True) for word, found in lengths.items()}

    def count(self, found: Sequence[str]) -> int:
        place, hits = 0, 0
        while place < len(found):
            length = 0
            for size in self.starting.get(found[place], ()):
                if tuple(found[place : place + size]) in self.phrases:
                    length = size
                    break
            hits += length > 0
            place += length or 1
        return hits
