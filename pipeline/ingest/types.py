"""The types of a list's columns in the sample table."""

import math
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.types as kinds

from pipeline.ingest.bounds import DEEPEST_TYPE, MOST_COLUMNS

NUMBERS = ("similarity", "punsafe", "pwatermark", "aesthetic", "width", "height", "WIDTH", "HEIGHT")
"""Columns of public lists that hold numbers; in CSV and TSV all other columns are read as text."""
EXACT = 2**53
"""The largest whole number up to which a double holds each."""


def kept_type(kind: pa.DataType) -> pa.DataType:
    """A Parquet column's type in the sample table: numbers, times, booleans, text, and lists and
    structs of them stay, the rest is text: bytes, maps, lists and structs that hold these or
    are deep, and a decimal of over 38 digits, which DuckDB cannot hold."""
    return _kept_nested(kind, 0) or pa.string() if is_nested(kind) else _kept_plain(kind)


def _kept_nested(kind: pa.DataType, depth: int) -> pa.DataType | None:
    if depth > DEEPEST_TYPE:
        return None
    if _is_list(kind):
        member = _kept_nested(kind.value_type, depth + 1)
        return None if member is None else _list_of(member)
    if kinds.is_struct(kind):
        fields = [(field.name, _kept_nested(field.type, depth + 1)) for field in kind]
        return None if any(one is None for _, one in fields) or not fields else pa.struct(fields)
    kept = None if is_nested(kind) else _kept_plain(kind)
    is_text = kinds.is_string(kind) or kinds.is_large_string(kind)
    return kept if kept is None or is_text or not kinds.is_string(kept) else None


def _kept_plain(kind: pa.DataType) -> pa.DataType:
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


def _list_of(member: pa.DataType) -> pa.DataType:
    """A list type as Parquet gives it back."""
    return pa.list_(pa.field("element", member))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)
    )  # fmt: skip


def is_nested(kind: pa.DataType) -> bool:
    """Whether the type is that of lists or structs."""
    return bool(kinds.is_nested(kind))


def json_type(values: Sequence[Any]) -> pa.DataType:
    """The type of a column of JSON values; null if all are.

    Lists stay lists if all their members are of one type, and objects structs if all have the same
    keys; any others are JSON text.
    """
    return _json_type(values, 0) or pa.string()


def _json_type(values: Sequence[Any], depth: int) -> pa.DataType | None:
    present = [value for value in values if value is not None]
    if not present:
        return pa.null()
    if all(isinstance(value, str) for value in present):
        return pa.string()
    if depth == DEEPEST_TYPE:
        return None
    if all(isinstance(value, list) for value in present):
        member = _json_type([one for value in present for one in value], depth + 1)
        return None if member is None else _list_of(member)
    if all(isinstance(value, dict) and value.keys() == present[0].keys() for value in present):
        if len(present[0]) > MOST_COLUMNS:
            return None
        fields = [
            (key, _json_type([value[key] for value in present], depth + 1)) for key in present[0]
        ]
        known = fields and all(kind is not None for _, kind in fields)
        return pa.struct(fields) if known else None
    if all(isinstance(value, bool) for value in present):
        return pa.bool_()
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in present):
        return None
    if any(isinstance(value, float) for value in present):
        return pa.float64()
    if all(-(2**63) <= value < 2**63 for value in present):
        return pa.int64()
    return pa.uint64() if all(0 <= value < 2**64 for value in present) else None


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """A type that holds the values of both exactly; None where there is none, and for long whole
    numbers and doubles, for which it depends on the values."""
    if a == b or kinds.is_null(b):
        return a
    if kinds.is_null(a):
        return b
    if is_nested(a) or is_nested(b):
        return _common_nested(a, b)
    if kinds.is_integer(a) and kinds.is_integer(b):
        if pa.uint64() not in (a, b):
            return pa.int64()
        mixed = kinds.is_signed_integer(a) or kinds.is_signed_integer(b)
        return pa.decimal128(20, 0) if mixed else pa.uint64()
    if all(kinds.is_integer(kind) or kinds.is_floating(kind) for kind in (a, b)):
        return None if 64 in (_bits(a), _bits(b)) else pa.float64()
    return pa.string()


def _common_nested(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """Of lists that of their members, of structs all fields; whole numbers beside doubles become
    doubles, and one that a double cannot hold does not fit."""
    if kinds.is_list(a) and kinds.is_list(b):
        member = _common_member(a.value_type, b.value_type)
        return None if member is None else _list_of(member)
    if not (kinds.is_struct(a) and kinds.is_struct(b)):
        return None
    fields = {field.name: field.type for field in a}
    for field in b:
        common = _common_member(fields.get(field.name, pa.null()), field.type)
        if common is None:
            return None
        fields[field.name] = common
    return pa.struct(list(fields.items()))


def _common_member(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if kinds.is_floating(a) != kinds.is_floating(b) and all(
        kinds.is_integer(kind) or kinds.is_floating(kind) for kind in (a, b)
    ):
        return pa.float64()
    common = common_type(a, b)
    either = kinds.is_string(a) != kinds.is_string(b) and not any(map(kinds.is_null, (a, b)))
    return None if either else common


def count_fields(kind: pa.DataType) -> int:
    """The columns that a Parquet file has for a column of this type."""
    if _is_list(kind):
        return count_fields(kind.value_type)
    return sum(count_fields(field.type) for field in kind) if kinds.is_struct(kind) else 1


def holds_null(kind: pa.DataType) -> bool:
    """Whether it is the type of nulls, or lists or structs of them: no value is known."""
    if kinds.is_list(kind):
        return holds_null(kind.value_type)
    if kinds.is_struct(kind):
        return any(holds_null(field.type) for field in kind)
    return bool(kinds.is_null(kind))


def _bits(kind: pa.DataType) -> int:
    return int(kind.bit_width) if kinds.is_integer(kind) else 0


def are_whole(values: Sequence[Any]) -> bool:
    """Whether all of these numbers are whole; nulls do not count."""
    return all(value is None or math.isinf(value) or value == int(value) for value in values)


def are_exact(values: Sequence[Any]) -> bool:
    """Whether a double holds each of these whole numbers."""
    return all(value is None or abs(value) <= EXACT for value in values)
