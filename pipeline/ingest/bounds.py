"""How large a list's lines, cells, rows and files may be; any other size is bounded by these.

A row beyond a bound becomes a row with a reason, and the rows after it are read. A file of which
that cannot be said, because each of its rows or the file as a whole is beyond one, is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.words.errors import InputError

LONGEST = 16 << 20
"""Bytes of a line, and of a row in a JSON document."""
LONGEST_CELL = 1 << 20
"""Characters of a text that is kept in another column than URL and caption."""
MOST_CAPTIONS = 200
"""Captions of one row, each of which becomes a row."""
MOST_COLUMNS = 5_000
"""Columns of a list, with the fields of its structs and the names of all its rows."""
DEEPEST = 500
"""Lists and objects within each other in a row of JSON."""
DEEPEST_TYPE = 50
"""Lists and structs within each other in a column; deeper ones are text. Arrow's files have 64."""
AT_ONCE = 32 << 20
"""Bytes of rows that are converted at once; as Python's objects they take up to 20 times that."""
CELLS_AT_ONCE = 4_000_000
ROWS_AT_ONCE = 100_000
UNPACKED = 1 << 30
"""Bytes to which a packed file may unpack, whatever its size, and a row group of Parquet."""
RATIO = 200
"""How many times its size a packed file may unpack to beyond that; text packs about tenfold."""
SHOWN = 1_000
"""Bytes of a line beyond all bounds that are kept, to find it by."""


@dataclass(frozen=True)
class LongLine:
    """A line of more than `most` bytes: its number, from 1, and how it begins."""

    number: int
    start: bytes
    most: int

    def __str__(self) -> str:
        start = self.start[:SHOWN].decode(errors="replace")
        return f"line {self.number:,} has more than {self.most:,} bytes: {start}"


def lines_of(handle: Any, most: int) -> Iterator[bytes | LongLine]:
    """The lines of an open file with their line ends; none of more than `most` bytes is held."""
    number = 0
    readline = handle.readline
    while line := readline(most + 2):
        number += 1
        if len(line) > most and len(line.rstrip(b"\r\n")) > most:
            start = line[:SHOWN]
            while line and not line.endswith(b"\n"):
                line = readline(most)
            yield LongLine(number, start, most)
        else:
            yield line


def check_columns(url: str, names: Iterable[str]) -> None:
    """InputError for a file with more columns than a list may have."""
    count = sum(1 for _ in names)
    if count > MOST_COLUMNS:
        raise too_wide(url, f"{count:,}")


def too_wide(url: str, count: str) -> InputError:
    return InputError(
        f"input: {url} has {count} columns; a list has at most {MOST_COLUMNS:,}: leave out the rest"
    )


def is_deep(value: Any) -> bool:
    """Whether more than `DEEPEST` lists and objects are within each other."""
    inner, depth = [value], 0
    while inner := [one for one in inner if isinstance(one, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            return True
        inner = [
            one for outer in inner for one in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return False


def is_plain_bomb(size: int, unpacked: int) -> bool:
    """Whether so few bytes cannot honestly stand for so many."""
    return unpacked > max(UNPACKED, RATIO * size)


def unpacks_too_far(url: str, what: str, size: int) -> InputError:
    return InputError(
        f"input: {url}: {what} unpacks to more than {max(UNPACKED, RATIO * size):,} bytes, of "
        f"{size:,}; a list that packs so well is no list, or unpack it first"
    )
