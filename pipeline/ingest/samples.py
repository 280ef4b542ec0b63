"""Samples of several files, as in WebDataset's tars and in folders of pictures: a row for each.

Files of one sample have the same name but for the extension: `000000012.jpg`, `.txt`, `.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.ingest.bounds import DEEPEST, MOST_COLUMNS, is_deep
from pipeline.ingest.source import BOM

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "avif", "bmp", "tif", "tiff")
"""Extensions of pictures; of several in one sample, the first in this order is taken."""
TEXT = "txt"
TEXTS = (TEXT, "caption", "text", "cls")
"""Extensions of files that hold one text; the column has the same name."""
SIDE_FILES = (*TEXTS, "json")
LONGEST = 8 << 20
"""Bytes of a side file; a longer one makes its row a malformed one."""


@dataclass(frozen=True)
class Sample:
    """A row of a tar or a folder: the columns of its side files, and where its picture is."""

    row: dict[str, Any]
    place: str
    address: str
    size: int
    """Bytes of its side files."""


ADDRESS = "\0address"
"""The column of the pictures' own addresses, for samples that do not say where they came from."""
FIRST = 100
"""Rows of the first batch, by which the columns are found: few, since each is read from a place of
its own."""


def parse_object(text: bytes) -> dict[str, Any] | None:
    """A JSON object, as `parse_value` gives it; None for anything else."""
    try:
        value = parse_value(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def parse_value(text: bytes) -> Any:
    """A JSON value, with invalid UTF-8 bytes as lone surrogates. ValueError if it is none, or
    beyond the bounds of a row."""
    try:
        value = json.loads(text.removeprefix(BOM).decode(errors="surrogateescape"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if isinstance(value, dict) and len(value) > MOST_COLUMNS:
        raise ValueError("too many keys")
    if text.count(b"[") + text.count(b"{") > DEEPEST and is_deep(value):
        raise ValueError("nested too deep")
    return value


def sample_row(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """The columns that a sample's side files give, by extension; None if its JSON is no object.

    A key of the JSON that is also the name of a text file becomes `json_<key>`.
    """
    # A newline at the end is the file's, not the caption's.
    texts = {
        kind: text.removeprefix(BOM).rstrip(b"\r\n").decode(errors="surrogateescape")
        for kind, text in files.items()
        if kind in TEXTS
    }
    found: dict[str, Any] | None = {}
    if "json" in files:
        found = parse_object(files["json"])
    if found is None:
        return None
    return {**{f"json_{key}" if key in texts else key: one for key, one in found.items()}, **texts}
