"""Reads a list that is one JSON document, as a stream."""

import contextlib
import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from pipeline.ingest.names import URL_NAMES
from pipeline.ingest.source import BOM, Source
from pipeline.words.errors import InputError

_LONGEST = 32 << 20
"""Bytes of a first line from which a file is taken for a document."""
_TRIED = 100
_ROWS = ("annotations", "rows", "data", "items", "samples", "images")
"""Keys whose array holds the rows, in this order, if the document is an object."""


def is_document(source: Source) -> bool:
    """Whether a file named `.json` is one document, and does not have an object in each line."""
    with source.open() as handle:
        lines = [handle.readline(_LONGEST).removeprefix(BOM).strip() for _ in range(_TRIED)]
    lines = [line for line in lines if line]
    if not lines or not lines[0].startswith((b"[", b"{")):
        return False
    rows = [row for row in map(_object, lines) if row is not None]
    if lines[0].startswith(b"["):
        return True
    if len(lines) > 1:
        # Of a document in lines, at most the last object of an array stands alone in its line.
        return len(rows) < 2 and lines[0].endswith((b"[", b"{", b","))
    if not rows:
        return len(lines[0]) >= _LONGEST - 1
    values = [rows[0].get(name) for name in URL_NAMES]
    if any(isinstance(value, str) for value in values):
        return False
    lists = {key for key, value in rows[0].items() if isinstance(value, list)}
    return bool(lists.intersection((*_ROWS, *URL_NAMES)))


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def read_document(source: Source) -> Iterator[dict[str, Any]]:
    """The rows. InputError if the document holds none, or is broken at some place."""
    import ijson

    try:
        yield from _rows(source)
    except ijson.JSONError as error:
        raise InputError(
            f"input: {source.url} is no whole JSON document: {str(error).splitlines()[0]}"
        ) from error


def _rows(source: Source) -> Iterator[dict[str, Any]]:
    arrays = _arrays(source)
    if "" in arrays:
        yield from _items(source, "item")
    elif {"images", "annotations"} <= arrays.keys():
        yield from _coco(source)
    elif key := next((key for key in _ROWS if arrays.get(key) == "start_map"), None):
        yield from _items(source, f"{key}.item")
    elif arrays and "start_map" not in arrays.values():
        yield from _columns(source, list(arrays))
    else:
        raise InputError(
            f"input: {source.url} holds no array of objects; write one object a line (.jsonl)"
        )


def _arrays(source: Source) -> dict[str, str]:
    """The kind of the first member of each array in the document, by key; of a document that is an
    array itself, only that, by an empty key."""
    import ijson

    found: dict[str, str] = {}
    with _opened(source) as handle:
        for prefix, event, _ in ijson.parse(handle):
            if prefix == "" and event == "start_array":
                return {"": event}
            key, _, last = prefix.rpartition(".")
            if last == "item" and key.count(".") == 0:
                found.setdefault(key, event)
    return found


def _items(source: Source, prefix: str) -> Iterator[dict[str, Any]]:
    import ijson

    with _opened(source) as handle:
        for value in ijson.items(handle, prefix):
            yield _plain(value) if isinstance(value, dict) else {"value": _plain(value)}


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[Any]:
    """The document without a byte order mark."""
    with source.open() as handle:
        start = handle.read(len(BOM)).removeprefix(BOM)
        yield _Joined(start, handle)


class _Joined:
    """A stream that begins with bytes which were read from it already."""

    def __init__(self, start: bytes, handle: Any) -> None:
        self._start, self._handle = start, handle

    def read(self, size: int = -1) -> bytes:
        if size == 0:  # ijson asks so whether it gets bytes
            return b""
        start, self._start = self._start, b""
        return start or bytes(self._handle.read(size))


def _plain(value: Any) -> Any:
    """Fractions as float; ijson reads them as Decimal, for without that it has no long integers."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _columns(source: Source, keys: list[str]) -> Iterator[dict[str, Any]]:
    """A document of arrays of the same length, as SBU's; each is read in a stream of its own."""
    import ijson

    with contextlib.ExitStack() as stack:
        streams = [
            map(_plain, ijson.items(stack.enter_context(_opened(source)), f"{key}.item"))
            for key in keys
        ]
        missing = object()
        for values in zip_longest(*streams, fillvalue=missing):
            if missing in values:
                short = keys[values.index(missing)]
                raise InputError(
                    f"input: {source.url}: the array `{short}` is shorter than the others"
                )
            yield dict(zip(keys, values, strict=True))


def _coco(source: Source) -> Iterator[dict[str, Any]]:
    """MS COCO's captions: a row for each annotation, with the columns of its picture."""
    pictures = {
        str(picture.get("id")): {k: v for k, v in picture.items() if k != "id"}
        for picture in _items(source, "images.item")
    }
    for annotation in _items(source, "annotations.item"):
        yield {**pictures.get(str(annotation.get("image_id")), {}), **annotation}
