"""Reading CSV and TSV by blocks of whole rows; each line is read as a row or as a broken line.

In TSV a tab always separates cells and a line end always ends a row; quotes are text. For CSV,
`pipeline.ingest.quoting` decides which quotes enclose cells. Arrow parses the blocks; the rows are
counted independently of Arrow, to find lost ones.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from pipeline.ingest import bounds
from pipeline.ingest.bounds import LONGEST, SHOWN, LongLine
from pipeline.ingest.quoting import Places, find_rows, line_ends
from pipeline.ingest.source import BOM, Source
from pipeline.words.errors import InputError, PartError

BLOCK = 8 << 20
"""Bytes read at once."""
_HEAD = 1 << 16
_SUBSTITUTE = "\u0100"
"""Replaces a quote that is text where Arrow would take it for an opening one; not in Latin-1."""
_LINE_END = re.compile(rb"\r\n?|\n")


@dataclass(frozen=True)
class Rows:
    """A block's cells by column, as the file's bytes (null: empty cell), and the broken lines,
    which have too few or too many cells or are too long."""

    columns: list[Sequence[Any]]
    broken: list[bytes]


@dataclass(frozen=True)
class _Block:
    """Whole rows."""

    data: bytes
    text: list[int]
    """The positions of quotes that are text."""
    rows: int


def read_header(source: Source) -> list[bytes]:
    """The cells of the first line that is not blank, a header or not; empty if there is none.

    Of a line with too many cells one more than there may be. InputError if all lines are too long.
    """
    long = None
    for block in _blocks(source, 0, _HEAD, at_once=1):
        if isinstance(block, LongLine):
            long = long or block
            continue
        mark = source.separator.encode()
        if block.data.count(mark) >= bounds.MOST_COLUMNS:
            return block.data.split(mark, bounds.MOST_COLUMNS + 1)[: bounds.MOST_COLUMNS + 1]
        data = _latin1(block.data, block.text) + b"\n"  # Arrow needs two lines to count columns
        table, _ = _parse(source, data, _parse(source, data, 0)[0].num_columns)
        return [_bytes_of(column[0].as_py()) or b"" for column in table.columns]
    if long is not None:
        raise InputError(
            f"input: {source.url} has no line but those of more than {LONGEST:,} bytes; is "
            f"it {source.format.upper()}?"
        )
    return []


def read_rows(source: Source, columns: int, size: int | None = None) -> Iterator[Rows]:
    """The rows, which have this many columns, in blocks; without the header line, if there is one.

    A line of more than `LONGEST` bytes is broken, and only its start is read.
    """
    header = int(source.names is None)
    at_once = min(bounds.ROWS_AT_ONCE, max(1, bounds.CELLS_AT_ONCE // max(columns, 1)))
    for block in _blocks(source, columns, size or BLOCK, at_once):
        if isinstance(block, LongLine):
            yield Rows([[] for _ in range(columns)], [str(block).encode()])
            continue
        plain = not block.text and _is_utf8(block.data)
        data = block.data if plain else _latin1(block.data, block.text)
        table, broken = _parse(source, data, columns)
        if table.num_rows + len(broken) != block.rows:
            raise PartError(
                f"ingest: {source.url}: of {block.rows} rows {table.num_rows + len(broken)} were "
                "read"
            )
        cells = [column.to_pylist() for column in table.slice(header).columns]
        if not plain:
            cells = [list(map(_bytes_of, column)) for column in cells]
            broken = [_bytes_of(line) or b"" for line in broken]
        yield Rows(cells, broken)
        header = 0


def _blocks(source: Source, columns: int, size: int, at_once: int) -> Iterator[_Block | LongLine]:
    """The file in blocks of at most so many rows, and the lines that are too long.

    A line that is too long ends what is before it as the file's end would: a quoted cell that goes
    on in it is longer than any.
    """
    mark, whole = source.separator.encode(), False
    feeds = returns = 0
    with source.open() as handle:
        rest = handle.read(len(BOM)).removeprefix(BOM)
        while not whole:
            chunk = handle.read(max(size, len(rest)))
            data, whole, rest = rest + chunk, not chunk, b""
            while data:
                lines = line_ends(data)
                long = _first_long(lines, len(data))
                part = data if long is None else data[:long]
                ends, text, stop = lines[: np.searchsorted(lines, len(part))], [], len(part)
                last = whole or long is not None
                if source.format == "csv":
                    found = find_rows(part, mark, columns, LONGEST, ends, whole=last)
                    ends, text = found.ends, found.text
                if not last:
                    stop = int(ends[-1]) + 1 if len(ends) else 0
                yield from _cut(part, ends, text, stop, at_once)
                feeds += data.count(b"\n", 0, stop)
                returns += data.count(b"\r", 0, stop)
                if long is None:
                    rest = data[stop:]
                    break
                yield LongLine(max(feeds, returns) + 1, data[long : long + SHOWN], LONGEST)
                end, data = _after_line(handle, data[long:], size)
                feeds, returns = feeds + end.count(b"\n"), returns + end.count(b"\r")


def _first_long(lines: Places, size: int) -> int | None:
    """Where the first line begins that is too long; the last may go on."""
    starts = np.concatenate([[0], lines + 1])
    long = np.flatnonzero(np.append(lines, size) - starts > LONGEST)
    return int(starts[long[0]]) if len(long) else None


def _after_line(handle: Any, data: bytes, size: int) -> tuple[bytes, bytes]:
    """What ends the line with which `data` begins and is read to its end, and what is after it."""
    while data:
        if end := _LINE_END.search(data):
            return end[0], data[end.end() :]
        data = handle.read(size)
    return b"", b""


def _cut(data: bytes, ends: Places, text: list[int], stop: int, at_once: int) -> Iterator[_Block]:
    """The rows up to `stop` in blocks of at most so many; `ends` are the bytes that end them."""
    start = 0
    for first in range(0, len(ends) + 1, at_once):
        own = ends[first : first + at_once]
        after = stop if len(own) < at_once else int(own[-1]) + 1
        rows = int((np.diff(own, prepend=start - 1) > 1).sum())
        rows += len(own) < at_once and (int(own[-1]) + 1 if len(own) else start) < stop
        if rows:
            places = [place - start for place in text if start <= place < after] if text else []
            yield _Block(data[start:after], places, rows)
        start = after


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _latin1(data: bytes, text: Sequence[int]) -> bytes:
    """The bytes decoded as Latin-1, which accepts any byte, and encoded as UTF-8; quotes that are
    text are replaced."""
    latin = data.decode("latin-1")
    pieces = [latin[a + 1 : b] for a, b in pairwise([-1, *text, len(latin)])]
    return _SUBSTITUTE.join(pieces).encode()


def _parse(source: Source, data: bytes, columns: int) -> tuple[pa.Table, list[bytes]]:
    """A block's table of binary columns, nulls for empty cells, and its broken lines.

    The block is UTF-8, because Arrow's handler of broken lines fails on other bytes; 0 `columns`
    means as many as the first row has.
    """
    broken: list[bytes] = []

    def note(row: Any) -> str:
        broken.append(row.text.encode())
        return "skip"

    names = [f"f{i}" for i in range(columns)]
    table = pc.read_csv(
        pa.BufferReader(data),
        read_options=pc.ReadOptions(
            block_size=len(data) + 1, use_threads=False, column_names=names or None,
            autogenerate_column_names=not names,
        ),
        parse_options=pc.ParseOptions(
            delimiter=source.separator, newlines_in_values=source.format == "csv",
            quote_char='"' if source.format == "csv" else False, invalid_row_handler=note,
        ),
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), null_values=[""],
            strings_can_be_null=True, quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    return table, broken


def _bytes_of(cell: bytes | None) -> bytes | None:
    """The bytes in the file, from a cell that `_latin1` wrote."""
    if cell is None or cell.isascii():
        return cell
    return cell.decode().replace(_SUBSTITUTE, '"').encode("latin-1")
