"""Reads a list that is one JSON document, as a stream."""

import contextlib
import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from pipeline.ingest.listing import BOM, Source
from pipeline.ingest.names import URL_NAMES
from pipeline.words.errors import InputError

_LONGEST = 32 << 20
"""Bytes of a first line from which a file is taken for a document."""
_TRIED = 100
_ROWS = ("annotations", "rows", "data", "items", "samples", "images")
"""Keys whose array holds the rows, in this order, if the document is an object."""


def is_document(source: Source) -> bool:
    """Whether a file named `.json` is one document, and does not have an object in each line."""
    with source.open() as handle:
        lines = (handle.readline(_LONGEST).removeprefix(BOM).strip() for _ in range(_TRIED))
        line = next(filter(None, lines), b"")
    if line.startswith(b"[") or line == b"{" or len(line) >= _LONGEST - 1:
        return True
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(row, dict) or any(isinstance(row.get(name), str) for name in URL_NAMES):
        return False
    lists = {key for key, value in row.items() if isinstance(value, list)}
    return bool(lists.intersection(_ROWS)) or (bool(row) and lists == row.keys())


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
    if arrays == {"": "start_map"}:
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
    """The kind of the first member of the document itself ("") or of each array in it, by key."""
    import ijson

    found: dict[str, str] = {}
    with source.open() as handle:
        for prefix, event, _ in ijson.parse(handle):
            key, _, last = prefix.rpartition(".")
            if last == "item" and key.count(".") == 0:
                found.setdefault(key, event)
                if not key:
                    break
    return found


def _items(source: Source, prefix: str) -> Iterator[dict[str, Any]]:
    import ijson

    with source.open() as handle:
        for value in ijson.items(handle, prefix, use_float=True):
            yield value if isinstance(value, dict) else {"value": value}


def _columns(source: Source, keys: list[str]) -> Iterator[dict[str, Any]]:
    """A document of arrays of the same length, as SBU's; each is read in a stream of its own."""
    import ijson

    with contextlib.ExitStack() as stack:
        streams = [
            ijson.items(stack.enter_context(source.open()), f"{key}.item", use_float=True)
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
        picture.get("id"): {k: v for k, v in picture.items() if k != "id"}
        for picture in _items(source, "images.item")
    }
    for annotation in _items(source, "annotations.item"):
        yield {**pictures.get(annotation.get("image_id"), {}), **annotation}
