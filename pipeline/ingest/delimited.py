"""Reading CSV and TSV by blocks of whole rows; each line is read as a row or as a broken line.

In TSV a tab always separates cells and a line end always ends a row; quotes are text. For CSV,
`pipeline.ingest.quoting` decides which quotes enclose cells. Arrow parses the blocks; the rows are
counted independently of Arrow, to find lost ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from pipeline.ingest.quoting import Block, find_rows, line_ends
from pipeline.ingest.source import BOM, Source
from pipeline.words.errors import InputError, PartError

BLOCK = 32 << 20
"""Bytes read at once."""
LONGEST = 32 << 20
"""Most bytes of a line or of a quoted cell."""
_HEAD = 1 << 16
_SUBSTITUTE = "\u0100"
"""Replaces a quote that is text where Arrow would take it for an opening one; not in Latin-1."""


@dataclass(frozen=True)
class Rows:
    """A block's cells by column, as the file's bytes (null: empty cell), and the broken lines,
    which have too few or too many cells."""

    columns: list[Sequence[Any]]
    broken: list[bytes]


def read_header(source: Source) -> list[bytes]:
    """The cells of the first line that is not blank, a header or not; empty if there is none."""
    for data, text, _ in _blocks(source, 0, _HEAD):
        data = _latin1(data, text) + b"\n"  # Arrow needs a second line to count columns
        table, _ = _parse(source, data, _parse(source, data, 0)[0].num_columns)
        return [_bytes_of(column[0].as_py()) or b"" for column in table.columns]
    return []


def read_rows(source: Source, columns: int, size: int = BLOCK) -> Iterator[Rows]:
    """The rows, which have this many columns, in blocks; without the header line, if there is one.

    Raises InputError for a line of more than `LONGEST` bytes.
    """
    header = int(source.names is None)
    for data, text, expected in _blocks(source, columns, size):
        plain = not text and _is_utf8(data)
        table, broken = _parse(source, data if plain else _latin1(data, text), columns)
        if table.num_rows + len(broken) != expected:
            raise PartError(
                f"ingest: {source.url}: of {expected} rows {table.num_rows + len(broken)} were read"
            )
        cells = [column.to_pylist() for column in table.slice(header).columns]
        if not plain:
            cells = [list(map(_bytes_of, column)) for column in cells]
            broken = [_bytes_of(line) or b"" for line in broken]
        yield Rows(cells, broken)
        header = 0


def _blocks(source: Source, columns: int, size: int) -> Iterator[tuple[bytes, list[int], int]]:
    """Blocks of whole rows, the positions of quotes that are text, and the number of rows."""
    mark, whole = source.separator.encode(), False
    with source.open() as handle:
        rest = handle.read(len(BOM)).removeprefix(BOM)
        while not whole:
            chunk = handle.read(size)
            data, whole = rest + chunk, not chunk
            if not data:
                return
            block = Block(line_ends(data), [])
            if source.format == "csv":
                block = find_rows(data, mark, columns, LONGEST, whole=whole)
            ends = block.ends
            stop = len(data) if whole else int(ends[-1]) + 1 if len(ends) else 0
            rest = data[stop:]
            if len(rest) > LONGEST + size:
                raise InputError(
                    f"input: {source.url} has a line of more than {LONGEST:,} bytes; is it "
                    f"{source.format.upper()}?"
                )
            rows = int((np.diff(ends, prepend=-1) > 1).sum())
            rows += whole and (len(ends) == 0 or int(ends[-1]) < len(data) - 1)
            if rows:
                yield data[:stop], [place for place in block.text if place < stop], rows


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
