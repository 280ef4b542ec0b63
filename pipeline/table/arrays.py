"""Arrow arrays to numpy and back, through their buffers.

When pyarrow first converts a value of Python or numpy (in `pa.array`, `pa.scalar`, `to_numpy`, or
an argument of a function of `pyarrow.compute`), it imports pandas, which takes half a second. The
judgement takes little longer, and does without.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Flags = npt.NDArray[np.bool_]


def to_flags(column: pa.Array | pa.ChunkedArray) -> Flags:
    """An Arrow boolean column, null as false; bool, shape (rows,)."""
    array = whole(column)
    return _bits(array, 1) & is_valid(array)


def is_valid(column: pa.Array | pa.ChunkedArray) -> Flags:
    """Which cells are not null; bool, shape (rows,)."""
    return _bits(whole(column), 0)


def to_numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of numbers as an array of its type, shape (rows,); null cells hold any value."""
    array = whole(column)
    values = np.frombuffer(array.buffers()[1] or b"", array.type.to_pandas_dtype())
    return values[array.offset : array.offset + len(array)]


def from_flags(values: Flags) -> pa.BooleanArray:
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _packed(values)])


def from_numbers(values: npt.NDArray[Any], valid: Flags | None = None) -> pa.Array:
    """An Arrow array of the numpy array's type; null where not `valid`."""
    known = None if valid is None else _packed(valid)
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [known, data])


def from_texts(values: Sequence[str]) -> pa.StringArray:
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))
    )


def repeat(value: str, rows: int) -> pa.StringArray:
    """A column with the same text in each row."""
    return from_texts([value]).take(from_numbers(np.zeros(rows, np.int32)))


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array; `combine_chunks` of a column without chunks imports pandas too."""
    if isinstance(column, pa.Array):
        return column
    return column.combine_chunks() if column.num_chunks else pa.nulls(0, column.type)


def _packed(values: Flags) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _bits(array: pa.Array, buffer: int) -> Flags:
    """A buffer with one bit per cell; a missing one has only ones."""
    found = array.buffers()[buffer]
    if found is None:
        return np.ones(len(array), bool)
    end = array.offset + len(array)
    bits = np.unpackbits(np.frombuffer(found, np.uint8), count=end, bitorder="little")
    return bits[array.offset :].astype(bool)
