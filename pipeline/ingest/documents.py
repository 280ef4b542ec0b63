"""Reads a list that is one JSON document, as a stream of rows.

The document is cut into its rows by their brackets and commas, and each row is parsed alone: so one
that is broken, too long or too deep is a row with a reason, and no other is lost.
"""

import contextlib
import json
import re
from collections.abc import Generator, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from pipeline.ingest.bounds import LONGEST, SHOWN, LongLine, lines_of
from pipeline.ingest.names import URL_NAMES
from pipeline.ingest.samples import parse_object, parse_value
from pipeline.ingest.source import BOM, Source
from pipeline.words.errors import InputError

_TRIED = 100
_ROWS = ("annotations", "rows", "data", "items", "samples", "images")
"""Keys whose array holds the rows, in this order, if the document is an object."""
_CHUNK = 1 << 20
_MOST_ARRAYS = 200
"""Arrays of a document of columns; each is read in a stream of its own."""
_PICTURES = 512 << 20
"""Bytes of COCO's `images`, which are held while its annotations are read."""
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_STEP = np.zeros(256, np.int64)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_IS_SIGN = np.zeros(256, bool)
_IS_SIGN[list(b'[{]},"')] = True
Row = tuple[dict[str, Any] | str, int]
"""A row or, as a text, one that cannot be read; and its bytes."""


def is_document(source: Source) -> bool:
    """Whether a file named `.json` is one document, and does not have an object in each line."""
    lines: list[bytes] = []
    size = 0
    with source.open() as handle:
        for count, line in enumerate(lines_of(handle, LONGEST)):
            text = line.start if isinstance(line, LongLine) else line
            size += LONGEST + 1 if isinstance(line, LongLine) else len(line)
            lines += [one] if (one := text.removeprefix(BOM).strip()) else []
            if count >= _TRIED or size > LONGEST:
                break
    if not lines or not lines[0].startswith((b"[", b"{")):
        return False
    rows = [row for row in map(_object, lines) if row is not None]
    if lines[0].startswith(b"["):
        return True
    if len(lines) > 1:
        # Of a document in lines, at most the last object of an array stands alone in its line.
        return len(rows) < 2 and lines[0].endswith((b"[", b"{", b","))
    if not rows:
        return size > LONGEST
    values = [rows[0].get(name) for name in URL_NAMES]
    if any(isinstance(value, str) for value in values):
        return False
    lists = {key for key, value in rows[0].items() if isinstance(value, list)}
    return bool(lists.intersection((*_ROWS, *URL_NAMES)))


def _object(line: bytes) -> dict[str, Any] | None:
    """An object of any number of keys."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def read_document(source: Source) -> Iterator[Row]:
    """The rows. InputError if the document holds none, or is not whole."""
    arrays = _arrays(source)
    if "" in arrays:
        yield from _items(source, "")
    elif {"images", "annotations"} <= arrays.keys():
        yield from _coco(source)
    elif key := next((key for key in _ROWS if arrays.get(key)), None):
        yield from _items(source, key)
    elif arrays and not any(arrays.values()):
        yield from _columns(source, list(arrays))
    else:
        raise InputError(
            f"input: {source.url} holds no array of objects; write one object a line (.jsonl)"
        )


def _arrays(source: Source) -> dict[str, bool]:
    """Whether the first member of each array in the document is an object, by key; of a document
    that is an array itself, only that, by an empty key."""
    first = next(_signs(source), None)
    if first is not None and first[0] == b"[":
        return {"": True}
    found: dict[str, bool] = {}
    for key, text, _ in _members(source):
        found.setdefault(key, text.startswith(b"{"))
    return found


def _items(source: Source, wanted: str) -> Generator[Row]:
    members = ((text, size) for key, text, size in _members(source) if key == wanted)
    for number, (text, size) in enumerate(members):
        yield _row(text, size, number), min(size, LONGEST)


def _row(text: bytes, size: int, number: int) -> dict[str, Any] | str:
    if size > LONGEST:
        start = text.decode(errors="replace")
        return f"row {number} has more than {LONGEST:,} bytes: {start}"
    try:
        value = parse_value(text)
    except ValueError:
        return text.decode(errors="replace")
    return value if isinstance(value, dict) else {"value": value}


def _columns(source: Source, keys: list[str]) -> Iterator[Row]:
    """A document of arrays of the same length, as SBU's; each is read in a stream of its own."""
    if len(keys) > _MOST_ARRAYS:
        raise InputError(
            f"input: {source.url} has {len(keys):,} arrays, of at most {_MOST_ARRAYS}; write one "
            "object a line (.jsonl)"
        )
    with contextlib.ExitStack() as stack:
        streams = [_items(source, key) for key in keys]
        for stream in streams:
            stack.callback(stream.close)
        for cells in zip_longest(*streams):
            if None in cells:
                short = keys[cells.index(None)]
                raise InputError(
                    f"input: {source.url}: the array `{short}` is shorter than the others"
                )
            size = sum(size for _, size in cells)
            broken = next((cell for cell, _ in cells if isinstance(cell, str)), None)
            values = (cell.get("value", cell) for cell, _ in cells if not isinstance(cell, str))
            yield broken or dict(zip(keys, values, strict=True)), size


def _coco(source: Source) -> Iterator[Row]:
    """MS COCO's captions: a row for each annotation, with the columns of its picture."""
    pictures: dict[str, bytes] = {}
    held = 0
    for key, text, size in _members(source):
        if key != "images" or size > LONGEST:
            continue
        held += size
        if held > _PICTURES:
            raise InputError(
                f"input: {source.url}: its `images` have more than {_PICTURES:,} bytes; join them "
                "to the annotations, one object a line (.jsonl)"
            )
        picture = parse_object(text)
        if picture is not None:
            pictures[str(picture.get("id"))] = text
    for row, size in _items(source, "annotations"):
        if isinstance(row, dict):
            picture = parse_object(pictures.get(str(row.get("image_id")), b"{}")) or {}
            row = {**{k: v for k, v in picture.items() if k != "id"}, **row}
        yield row, size


def _members(source: Source) -> Iterator[tuple[str, bytes, int]]:
    """The members of the document, if it is an array, or of the arrays in it, with their keys; of a
    member beyond `LONGEST` only the start and the size."""
    array, level, is_first, is_whole = None, 1, True, False
    for sign, depth, text, size in _signs(source):
        if is_whole:
            raise _not_whole(source, "something follows its end")
        level = 2 if is_first and sign == b"{" else level
        is_first = False
        if sign == b"[" and depth == level:
            array = "" if level == 1 else _key(source, text)
        elif array is not None and sign in b",]}" and depth == level - (sign != b","):
            if member := text.strip():
                yield array, member, size
            if sign == b"}":
                raise _not_whole(source, "an array ends with }")
            if sign == b"]":
                array = None
        is_whole = depth == 0
    if not is_whole and not is_first:
        raise _not_whole(source, "it ends too early")


def _key(source: Source, text: bytes) -> str:
    try:
        return str(parse_value(text.strip().removesuffix(b":")))
    except ValueError:
        raise _not_whole(source, f"no key but {text[:100]!r} stands before an array") from None


def _not_whole(source: Source, why: str) -> InputError:
    return InputError(f"input: {source.url} is no whole JSON document: {why}")


def _signs(source: Source) -> Iterator[tuple[bytes, int, bytes, int]]:
    """The brackets and commas around a document's rows and nothing within them: each with the depth
    after it, and the text since the one before and its size, of which at most `LONGEST` is held."""
    depth, is_quoted, deepest = 0, False, 0
    held: list[bytes] = []
    size = 0
    for chunk, plain in _chunks(source):
        view = np.frombuffer(plain, np.uint8)
        places = np.flatnonzero(_IS_SIGN[view])
        quotes = view[places] == ord('"')
        within = (np.cumsum(quotes) + is_quoted) % 2 == 1
        is_quoted = bool(within[-1]) if len(within) else is_quoted
        places = places[~(within | quotes)]
        steps = _STEP[view[places]]
        depths = depth + np.cumsum(steps)
        depth = int(depths[-1]) if len(depths) else depth
        if not deepest and len(places):
            deepest = 2 if view[places[0]] == ord("{") else 1
        if len(depths) and depths.min() < 0:
            raise _not_whole(source, "it closes a bracket that it does not open")
        outer = depths + (steps < 0) <= deepest
        after = 0
        for place, level in zip(places[outer].tolist(), depths[outer].tolist(), strict=True):
            size += place - after
            held.append(chunk[after : place if size <= LONGEST else after + SHOWN])
            yield chunk[place : place + 1], level, _joined(held, size), size
            held, size, after = [], 0, place + 1
        size += len(chunk) - after
        held.append(chunk[after:])
        if size > LONGEST:
            held = [_joined(held, size)]
    if _joined(held, size).strip():
        raise _not_whole(source, "something follows its end, or it has none")


def _joined(held: list[bytes], size: int) -> bytes:
    return b"".join(held) if size <= LONGEST else b"".join(held)[:SHOWN]


def _chunks(source: Source) -> Iterator[tuple[bytes, bytes]]:
    """The document without a byte order mark, and the same bytes without any escaped quote."""
    with source.open() as handle:
        chunk = handle.read(_CHUNK).removeprefix(BOM)
        while chunk:
            plain = chunk
            if b"\\" in chunk:
                if _ESCAPE.sub(b"", chunk).endswith(b"\\"):
                    chunk += handle.read(1)
                plain = _ESCAPE.sub(b"__", chunk)
            yield chunk, plain
            chunk = handle.read(_CHUNK)
