"""Rows as read to rows of the sample table: each gets its uid, a bad one its reason."""

from typing import Any

import pyarrow as pa

from pipeline.stages.listing import MAX_CAPTION, Raw, as_text
from pipeline.uid import make_uid


def to_table(
    raw: Raw,
    url: str,
    caption: str,
    passthrough: dict[str, tuple[str, pa.DataType]],
    schema: pa.Schema,
) -> pa.Table:
    """Rows as read to rows of the shard's schema; a bad one keeps what can be had and says why."""
    n = len(raw)
    urls = list(raw.columns.get(url, [None] * n))
    captions = list(raw.columns.get(caption, [None] * n))
    rows = [_row(*pair) for pair in zip(urls, captions, strict=True)]
    rows += [
        (make_uid(None, text), None, text[:MAX_CAPTION], "malformed_row") for text in raw.broken
    ]
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    arrays: dict[str, Any] = {
        "uid": pa.array(columns[0], pa.string()),
        "url": pa.array(columns[1], pa.string()),
        "caption": pa.array(columns[2], pa.string()),
        "repeats": pa.array([1] * len(rows), pa.int32()),
        "input_error": pa.array(columns[3], pa.string()),
    }
    for name, (source, kind) in passthrough.items():
        values = list(raw.columns.get(source, [None] * n)) + [None] * len(raw.broken)
        arrays[name] = _cells(values, kind)
    return pa.table(arrays, schema=schema)


def _row(url: Any, caption: Any) -> tuple[str, str | None, str | None, str | None]:
    url, url_valid = as_text(url)
    caption, caption_valid = as_text(caption)
    uid = make_uid(url, caption)
    error = None
    if not (url_valid and caption_valid):
        error = "invalid_utf8"
    elif not url or not url.strip():
        error = "url_missing"
    elif not caption or not caption.strip():
        error = "caption_missing"
    elif len(caption) > MAX_CAPTION:
        error = "caption_oversize"
    return uid, url, caption[:MAX_CAPTION] if caption else caption, error


def _cells(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array([as_text(value)[0] for value in values], kind)
    if pa.types.is_floating(kind) and any(isinstance(v, (str, bytes)) for v in values):
        return pa.array([_number(value) for value in values], kind)
    return pa.array(values, kind)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
