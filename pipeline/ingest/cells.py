"""A list's cells in the types of the sample table, and those that do not fit; these become null."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from pipeline.ingest.bounds import LONGEST_CELL
from pipeline.ingest.types import EXACT, is_nested

_DAY = 86_400
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The seconds since 1970 in which the years 1 to 9999 begin and end."""
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError,
          OverflowError, TypeError, RecursionError)  # fmt: skip
_UNREADABLE = (ValueError, OverflowError, ArithmeticError, KeyError)
"""Errors of a cell that Python has no value for; KeyError: an unknown time zone."""
Marks = npt.NDArray[np.bool_]


def to_cells(
    column: Sequence[Any], kind: pa.DataType, as_text: Callable[[Any], str | None]
) -> tuple[pa.Array, Marks]:
    """A column in the type of the sample table, and which cells do not fit it or are longer than
    `bounds.LONGEST_CELL`; these are null."""
    if kinds.is_string(kind):
        texts = [as_text(value) for value in readable(column)]
        bad = _none(len(texts))
        for i, text in enumerate(texts):
            if text is not None and len(text) > LONGEST_CELL:
                texts[i], bad[i] = None, True
        return pa.array(texts, kind), bad
    if is_nested(kind):
        return _nested(column, kind)
    if isinstance(column, pa.Array):
        try:
            return _in_range(column.cast(kind))
        except pa.ArrowInvalid:
            pairs = [_cast(cell, kind) for cell in column]
    else:
        convert = _converter(kind)
        pairs = [_converted(value, convert) for value in column]
    return pa.array([cell for cell, _ in pairs], kind), np.array([bad for _, bad in pairs], bool)


def _nested(column: Sequence[Any], kind: pa.DataType) -> tuple[pa.Array, Marks]:
    """Lists and structs, all of whose members Python can hold; none is long."""
    array, bad = _nested_of_any_size(column, kind)
    if array.nbytes <= LONGEST_CELL:
        return array, bad
    long = np.array([array.slice(i, 1).nbytes > LONGEST_CELL for i in range(len(array))], bool)
    if not long.any():
        return array, bad
    return array.take(pa.array(np.arange(len(array)), mask=long)), bad | long


def _nested_of_any_size(column: Sequence[Any], kind: pa.DataType) -> tuple[pa.Array, Marks]:

    def convert(cells: Any) -> pa.Array:
        if not isinstance(cells, pa.Array) and not all(_fits(cell, kind) for cell in cells):
            raise ValueError
        array = cells.cast(kind) if isinstance(cells, pa.Array) else pa.array(cells, kind)
        array.validate(full=True)  # text that is not UTF-8
        array.to_pylist()
        return array

    try:
        return convert(column), _none(len(column))
    except _UNFIT:
        pass
    cells, bad = [], _none(len(column))
    for i in range(len(column)):
        try:
            one = column.take(pa.array([i])) if isinstance(column, pa.Array) else [column[i]]
            cells.append(convert(one))
        except _UNFIT:
            bad[i] = True
            cells.append(pa.nulls(1, kind))
    return pa.concat_arrays(cells), bad


def _fits(value: Any, kind: pa.DataType) -> bool:
    """Whether a JSON value is of the type; pyarrow would take a text for a list of letters."""
    if value is None:
        return True
    if kinds.is_list(kind):
        return isinstance(value, list) and all(_fits(one, kind.value_type) for one in value)
    if kinds.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return (
            isinstance(value, dict)
            and value.keys() <= fields.keys()
            and all(_fits(one, fields[key]) for key, one in value.items())
        )
    if kinds.is_string(kind) or kinds.is_boolean(kind):
        return isinstance(value, str if kinds.is_string(kind) else bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (kinds.is_floating(kind) and isinstance(value, float))


def _in_range(array: pa.Array) -> tuple[pa.Array, Marks]:
    """The array without times that Python cannot hold, such as a date after the year 9999."""
    bounds = _bounds(array.type)
    if bounds is None:
        return array, _none(len(array))
    ticks = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
    is_within = pc.and_(pc.greater_equal(ticks, bounds[0]), pc.less_equal(ticks, bounds[1]))
    bad = ~pc.fill_null(is_within, True).to_numpy(zero_copy_only=False)
    if not bad.any():
        return array, bad
    return pc.if_else(pa.array(~bad), array, pa.nulls(len(array), array.type)), bad


def _bounds(kind: pa.DataType) -> tuple[int, int] | None:
    """The least and the greatest value of a type of times, in its unit; None: any is held."""
    if kinds.is_date32(kind):
        return _FIRST // _DAY, _LAST // _DAY
    if kinds.is_date64(kind):
        return _FIRST * 1000, _LAST * 1000
    if not (kinds.is_timestamp(kind) or kinds.is_duration(kind) or kinds.is_time(kind)):
        return None
    second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    if kinds.is_time(kind):
        return 0, _DAY * second - 1
    if second == 10**9:
        return None
    most = (_LAST + 1) * second - 1
    # A zone moves the hour, so the first and the last day are left out.
    return (_FIRST + _DAY) * second, most - _DAY * second


def _none(rows: int) -> Marks:
    return np.zeros(rows, bool)


def readable(column: Sequence[Any]) -> list[Any]:
    """The cells as Python values; as Arrow writes them where Python has no such value, e.g. a date
    after the year 9999."""
    if not isinstance(column, pa.Array):
        return list(column)
    array: pa.Array = column
    try:
        return list(array.to_pylist())
    except _UNREADABLE:
        return [_text_of(cell) for cell in array]


def _text_of(cell: pa.Scalar) -> Any:
    for read in (cell.as_py, lambda: cell.cast(pa.string()).as_py()):
        with contextlib.suppress(*_UNREADABLE, pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return read()
    return None


def _cast(cell: pa.Scalar, kind: pa.DataType) -> tuple[Any, bool]:
    if kinds.is_floating(cell.type) and cell.is_valid and math.isnan(cell.as_py()):
        return None, False  # pandas' null
    try:
        return cell.cast(kind).as_py(), False
    except (pa.ArrowInvalid, ValueError, OverflowError):
        return None, True


def _converter(kind: pa.DataType) -> Callable[[Any], Any]:
    if kinds.is_floating(kind):
        return _number
    return _whole if kinds.is_integer(kind) or kinds.is_decimal(kind) else _boolean


def _converted(value: Any, convert: Callable[[Any], Any]) -> tuple[Any, bool]:
    if value is None:
        return None, False
    try:
        return convert(value), False
    except (TypeError, ValueError, OverflowError):
        return None, True


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) > EXACT):
        raise ValueError(value)
    return number


def _whole(value: Any) -> int | None:
    if isinstance(value, str | bytes):
        text = value.decode() if isinstance(value, bytes) else value
        value = int(text) if text.strip().removeprefix("-").isdigit() else float(text)
    if isinstance(value, float) and math.isnan(value):
        return None
    number = int(value)
    if isinstance(value, bool) or number != value or not -(2**63) <= number < 2**64:
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value
