"""The types of a list's columns in the sample table, and the cells that do not fit them."""

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

NUMBERS = ("similarity", "punsafe", "pwatermark", "aesthetic", "width", "height", "WIDTH", "HEIGHT")
"""Columns of public lists that hold numbers; in CSV and TSV all other columns are read as text."""
EXACT = 2**53
"""The largest whole number up to which a double holds each."""
_DAY = 86_400
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The seconds since 1970 in which the years 1 to 9999 begin and end."""
Marks = npt.NDArray[np.bool_]


def kept_type(kind: pa.DataType) -> pa.DataType:
    """A Parquet column's type in the sample table: numbers, times and booleans stay, the rest is
    text. A decimal of over 38 digits, which DuckDB cannot hold, is text too."""
    if kinds.is_null(kind) or kinds.is_decimal128(kind):
        return kind
    if kinds.is_float16(kind):
        return pa.float32()
    if kinds.is_timestamp(kind) and kind.tz is not None and not _is_zone(kind.tz):
        return pa.timestamp(kind.unit, "UTC")
    plain = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_temporal)
    return kind if any(check(kind) for check in plain) else pa.string()


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return name[:1] in "+-"
    return True


def json_type(values: Sequence[Any]) -> pa.DataType:
    """The type of a column of JSON values; null if all are."""
    present = [value for value in values if value is not None]
    if not present:
        return pa.null()
    if all(isinstance(value, bool) for value in present):
        return pa.bool_()
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in present):
        return pa.string()
    if any(isinstance(value, float) for value in present):
        return pa.float64()
    if all(-(2**63) <= value < 2**63 for value in present):
        return pa.int64()
    return pa.uint64() if all(0 <= value < 2**64 for value in present) else pa.string()


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """A type that holds the values of both exactly; None for long whole numbers and doubles, for
    which it depends on the values."""
    if a == b or kinds.is_null(b):
        return a
    if kinds.is_null(a):
        return b
    if kinds.is_integer(a) and kinds.is_integer(b):
        if pa.uint64() not in (a, b):
            return pa.int64()
        mixed = kinds.is_signed_integer(a) or kinds.is_signed_integer(b)
        return pa.decimal128(20, 0) if mixed else pa.uint64()
    if all(kinds.is_integer(kind) or kinds.is_floating(kind) for kind in (a, b)):
        return None if 64 in (_bits(a), _bits(b)) else pa.float64()
    return pa.string()


def _bits(kind: pa.DataType) -> int:
    return int(kind.bit_width) if kinds.is_integer(kind) else 0


def are_whole(values: Sequence[Any]) -> bool:
    """Whether all of these numbers are whole; nulls do not count."""
    return all(value is None or float(value).is_integer() for value in values)


def are_exact(values: Sequence[Any]) -> bool:
    """Whether a double holds each of these whole numbers."""
    return all(value is None or abs(value) <= EXACT for value in values)


def to_cells(
    column: Sequence[Any], kind: pa.DataType, as_text: Callable[[Any], str | None]
) -> tuple[pa.Array, Marks]:
    """A column in the type of the sample table, and which cells do not fit it; these are null."""
    values = column.to_pylist if isinstance(column, pa.Array) else lambda: list(column)
    if kinds.is_string(kind):
        return pa.array([as_text(value) for value in _readable(column)], kind), _none(len(column))
    if isinstance(column, pa.Array):
        try:
            return _in_range(column.cast(kind))
        except pa.ArrowInvalid:
            pairs = [_cast(cell, kind) for cell in column]
    else:
        convert = _converter(kind)
        pairs = [_converted(value, convert) for value in values()]
    return pa.array([cell for cell, _ in pairs], kind), np.array([bad for _, bad in pairs], bool)


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


def _readable(column: Sequence[Any]) -> list[Any]:
    """The cells as Python values; as Arrow writes them where Python has no such value, e.g. a date
    after the year 9999."""
    if not isinstance(column, pa.Array):
        return list(column)
    array: pa.Array = column
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError, ArithmeticError):
        return [_text_of(cell) for cell in array]


def _text_of(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError, ArithmeticError):
        return str(cell.cast(pa.string()).as_py())


def _cast(cell: pa.Scalar, kind: pa.DataType) -> tuple[Any, bool]:
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


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or number != value or not -(2**63) <= number < 2**64:
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value
