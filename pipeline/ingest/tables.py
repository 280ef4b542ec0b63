"""Reads Parquet into batches of rows whose size is bounded, whatever the file unpacks to.

A dictionary page of a few bytes can stand for any number of long cells, a list of one row for
millions of values. So columns with large dictionaries are decoded only after their sizes are known,
and a file whose footer gives more than its bytes can hold is refused before it is read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from pipeline.ingest import bounds
from pipeline.ingest.bounds import LONGEST, MOST_COLUMNS
from pipeline.ingest.source import Source
from pipeline.words.errors import InputError

_FOOTER = 64 << 20
"""Bytes of a footer; as Arrow's objects they take about ten times that."""
_VALUES = 1 << 24
"""Values in the lists of a row group, and rows of a file, that need no bytes to believe in."""
_VALUES_A_BYTE = 4
_DECODED = 128 << 20
"""Bytes that a batch may take if each of its cells were the longest of the column's dictionary."""
_SMALL = 1 << 16
"""Bytes of a column chunk whose dictionary is not looked at."""
_START = 400_004
"""Bytes that are kept of a cell beyond `LONGEST`: more characters than a caption may have."""


def read_footer(source: Source, handle: Any) -> pq.FileMetaData:
    """InputError for a file that is encrypted, or has more columns than a list may have."""
    end = handle.seek(0, 2)
    handle.seek(max(0, end - 8))
    tail = handle.read(8)
    if tail[4:] == b"PARE":
        raise InputError(f"input: {source.url} is encrypted; decrypt it first")
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] == b"PAR1" and _FOOTER < length <= end:
        raise InputError(
            f"input: {source.url}: its footer has {length:,} bytes, of at most {_FOOTER:,}; write "
            "it with larger row groups"
        )
    handle.seek(0)
    footer = pq.read_metadata(handle)
    if footer.num_columns > MOST_COLUMNS:
        raise bounds.too_wide(source.url, f"{footer.num_columns:,}")
    return footer


def check_table(source: Source) -> None:
    """InputError for a file that cannot have the rows and values which its footer gives."""
    with source.open() as handle:
        footer = read_footer(source, handle)
    size = source.size
    if footer.num_rows > max(_VALUES, bounds.RATIO * size):
        raise InputError(
            f"input: {source.url} claims {footer.num_rows:,} rows in {size:,} bytes; it cannot be "
            "whole, or its rows are all the same"
        )
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        columns = [group.column(i) for i in range(footer.num_columns)]
        packed = min(sum(column.total_compressed_size for column in columns), size)
        if bounds.is_plain_bomb(packed, sum(column.total_uncompressed_size for column in columns)):
            raise bounds.unpacks_too_far(source.url, f"row group {number}", packed)
        for column in columns:
            most = max(_VALUES, _VALUES_A_BYTE * min(column.total_compressed_size, size))
            if column.num_values - group.num_rows > most:
                raise InputError(
                    f"input: {source.url}: row group {number} claims {column.num_values:,} values "
                    f"of `{column.path_in_schema}` in {column.total_compressed_size:,} bytes; "
                    "leave the column out"
                )


def read_columns(
    source: Source, handle: Any, columns: Sequence[str] | None, rows: int
) -> Iterator[tuple[pa.RecordBatch, dict[str, list[int]]]]:
    """Batches of at most `rows` rows without dictionaries, text as binary, and of each column the
    rows whose cell is cut or null, since it is longer than `bounds.LONGEST`.

    InputError where the rows take more memory than the file's size allows.
    """
    footer = read_footer(source, handle)
    at_once, large = _how(source, footer, handle, columns, rows)
    handle.seek(0)
    file = pq.ParquetFile(handle, metadata=footer, read_dictionary=large)
    batches = file.iter_batches(batch_size=at_once, columns=columns)
    decoded = 0
    for batch in batches if large or at_once == rows else _joined(batches, rows):
        names = batch.schema.names
        found = [_cut(as_bytes(column)) for column in batch.columns]
        whole = pa.RecordBatch.from_arrays([column for column, _ in found], names)
        for first, piece in _pieces(whole):
            cut = {
                name: [row - first for row in own if first <= row < first + piece.num_rows]
                for name, (_, own) in zip(names, found, strict=True)
                if own
            }
            arrays = list(piece.columns)
            for i, column in enumerate(arrays):
                if piece.num_rows == 1 and decoded_size(column) > bounds.AT_ONCE:
                    arrays[i], cut[names[i]] = pa.nulls(1, column.type), [0]
            arrays = [_plain(column) for column in arrays]
            piece = pa.RecordBatch.from_arrays(arrays, names)
            decoded += sum(map(decoded_size, arrays))
            if bounds.is_plain_bomb(source.size, decoded):
                raise bounds.unpacks_too_far(source.url, "it", source.size)
            yield piece, cut


def _joined(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Small batches together, so that the work for each batch is done for many rows."""
    held: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        held.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
        if count >= rows or size >= bounds.AT_ONCE:
            whole = pa.concat_batches(held)
            yield whole.slice(0, rows)  # readers count on a first batch of so many rows
            held, count, size = [whole.slice(rows)], max(0, count - rows), 0
    if count:
        yield pa.concat_batches(held)


def _how(
    source: Source, footer: pq.FileMetaData, handle: Any, columns: Sequence[str] | None, rows: int
) -> tuple[int, list[str]]:
    """The rows to decode at once, and the columns to be read as dictionaries."""
    longest, large = 1, []
    for i in range(footer.num_columns):
        kind = footer.schema.column(i)
        if columns is not None and not {kind.path, kind.path.split(".")[0]} & {*columns}:
            continue
        if kind.physical_type == "FIXED_LEN_BYTE_ARRAY":
            longest = max(longest, kind.length)
        if kind.physical_type != "BYTE_ARRAY":
            continue
        groups = range(footer.num_row_groups)
        length = max((longest_word(footer, k, i, handle) for k in groups), default=0)
        values = max((footer.row_group(k).column(i).num_values for k in groups), default=0)
        in_lists = kind.max_repetition_level > 0 and length * values > _DECODED
        if length > bounds.LONGEST_CELL or in_lists:
            large.append(kind.path)
        else:
            longest = max(longest, length)
    if longest > LONGEST:
        raise InputError(
            f"input: {source.url} has a column of cells of {longest:,} bytes, of at most "
            f"{LONGEST:,}; leave it out"
        )
    return max(1, min(rows, _DECODED // longest)), large


def longest_word(footer: pq.FileMetaData, group: int, column: int, handle: Any) -> int:
    """Bytes of the longest cell in a column chunk's dictionary; 0 without one."""
    chunk = footer.row_group(group).column(column)
    if not chunk.has_dictionary_page:
        return 0
    if chunk.total_uncompressed_size <= _SMALL:
        return int(chunk.total_uncompressed_size) // 16
    path = [footer.schema.column(column).path]
    handle.seek(0)
    file = pq.ParquetFile(handle, metadata=footer, read_dictionary=path)
    batch = next(file.iter_batches(batch_size=1, row_groups=[group], columns=path), None)
    words = None if batch is None else _dictionary_in(batch.column(0))
    return 0 if words is None else int(pc.max(_lengths(words)).as_py() or 0)


def _dictionary_in(array: pa.Array) -> pa.Array | None:
    """The first dictionary in an array of any type."""
    kind = array.type
    if kinds.is_dictionary(kind):
        return array.dictionary
    if kinds.is_struct(kind):
        inner = [array.field(i) for i in range(kind.num_fields)]
    elif kinds.is_map(kind):
        inner = [array.keys, array.items]
    elif kinds.is_list(kind) or kinds.is_large_list(kind):
        inner = [array.values]
    else:
        return None
    return next((found for one in inner if (found := _dictionary_in(one)) is not None), None)


def decoded_size(array: pa.Array) -> int:
    """Bytes of an array without its dictionaries."""
    kind = array.type
    if kinds.is_dictionary(kind):
        lengths = pc.fill_null(_lengths(array.dictionary), 0).cast(pa.int64())
        return int(pc.sum(lengths.take(array.indices)).as_py() or 0) + 4 * len(array)
    if kinds.is_struct(kind):
        return sum(map(decoded_size, array.flatten()))
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_map(kind):
        members = array.keys if kinds.is_map(kind) else array.flatten()
        items = decoded_size(array.items) if kinds.is_map(kind) else 0
        return decoded_size(members) + items + 4 * len(array)
    return int(array.nbytes)


def _lengths(array: pa.Array) -> pa.Array:
    if kinds.is_string(array.type) or kinds.is_large_string(array.type):
        array = array.cast(_bytes_type(array.type))
    return pc.binary_length(array)


def _pieces(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batch in parts of at most `AT_ONCE` bytes, or of one row, and their first rows."""
    waiting = [(0, batch)]
    while waiting:
        first, part = waiting.pop()
        if part.num_rows <= 1 or sum(map(decoded_size, part.columns)) <= bounds.AT_ONCE:
            yield first, part
        else:
            half = part.num_rows // 2
            waiting += [(first + half, part.slice(half)), (first, part.slice(0, half))]


def _cut(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """A column of bytes with the starts of its long cells, and their rows."""
    kind = column.type
    if kinds.is_dictionary(kind):
        words, long = _cut(column.dictionary)
        if not long:
            return column, []
        indices = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(np.isin(indices, long)).tolist()
        return pa.DictionaryArray.from_arrays(column.indices, words), rows
    if not (kinds.is_binary(kind) or kinds.is_large_binary(kind)) or column.nbytes <= LONGEST:
        return column, []
    lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    long = np.flatnonzero(lengths > LONGEST).tolist()
    parts, after = [], 0
    for row in long:
        start = column[row].as_buffer().slice(0, _START).to_pybytes()
        while start and start[-1] & 0xC0 == 0x80:  # not within a character
            start = start[:-1]
        parts += [column.slice(after, row - after), pa.array([start[:-1]], kind)]
        after = row + 1
    return (pa.concat_arrays([*parts, column.slice(after)]) if long else column), long


def as_bytes(column: pa.Array) -> pa.Array:
    """Text as bytes: Parquet does not check UTF-8, and a bad cell must affect only its row."""
    kind = column.type
    if kinds.is_dictionary(kind):
        words = as_bytes(column.dictionary)
        return (
            column
            if words is column.dictionary
            else pa.DictionaryArray.from_arrays(column.indices, words)
        )
    to = _bytes_type(kind)
    return column if to is None else column.cast(to)


def _bytes_type(kind: pa.DataType) -> pa.DataType | None:
    if kinds.is_string(kind) or kinds.is_string_view(kind):
        return pa.binary()
    return pa.large_binary() if kinds.is_large_string(kind) else None


def _plain(column: pa.Array) -> pa.Array:
    if kinds.is_dictionary(column.type):
        return column.dictionary_decode()
    if kinds.is_nested(column.type) and _dictionary_in(column) is not None:
        # A cast decodes also what stands before and after a slice.
        return column.take(pa.array(range(len(column))))
    return column
