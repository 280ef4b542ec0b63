"""Where a picture that is here already lies: in a tar, in a table's cell, or in a folder.

Ingest writes such places into the shards' column `stored_in`, and the download stage reads them. As
text a place ends in `?` and its file's stamp, so that a changed file makes its rows stale.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from pipeline.table.part import digest_of

STORED = "stored_in"
"""The shards' column; it is there only if some file of the list holds pictures itself."""
INTERNAL = "\0stored_in"
"""Its source, in `Listing.passthrough` and the index. The readers give the places apart from
the list's columns, and refuse a column with NUL in its name: no list can name places itself."""
_STAMPS = ("size", "mtime", "ETag", "etag", "last_modified", "LastModified", "md5Hash", "sha256",
           "blob_id")  # fmt: skip
_IN_TAR = re.compile(r"(.*)@(\d+)\+(\d+)", re.DOTALL)
_IN_TABLE = re.compile(r"(.*)#([^#\[\]]+)\[(\d+)\]", re.DOTALL)


@dataclass(frozen=True)
class InTar:
    """`size` bytes from `offset` on."""

    file: str
    offset: int
    size: int
    stamp: str = ""

    def __str__(self) -> str:
        return f"{self.file}@{self.offset}+{self.size}?{self.stamp}"


@dataclass(frozen=True)
class InTable:
    """The cell of one row (from 0) of a Parquet file; `column` is a leaf's path, `image.bytes`."""

    file: str
    column: str
    row: int
    stamp: str = ""

    def __str__(self) -> str:
        return f"{self.file}#{quote(self.column, safe='.')}[{self.row}]?{self.stamp}"


@dataclass(frozen=True)
class InFolder:
    """The file `name` below `folder`."""

    folder: str
    name: str
    stamp: str = ""

    def __str__(self) -> str:
        return f"{self.folder}//{self.name}?{self.stamp}"


@dataclass(frozen=True)
class Nowhere:
    """The sample of a tar that has no picture."""

    file: str
    stamp: str = ""

    def __str__(self) -> str:
        return f"{self.file}@?{self.stamp}"


Stored = InTar | InTable | InFolder | Nowhere


def parse_stored(text: str) -> Stored:
    """The place that `str` made this text of. ValueError for any other text."""
    place, mark, stamp = text.rpartition("?")
    if match := _IN_TAR.fullmatch(place):
        return InTar(match[1], int(match[2]), int(match[3]), stamp)
    if match := _IN_TABLE.fullmatch(place):
        return InTable(match[1], unquote(match[2]), int(match[3]), stamp)
    if place.endswith("@"):
        return Nowhere(place[:-1], stamp)
    folder, found, name = place.rpartition("//")
    if not (mark and found and name):
        raise ValueError(f"no place of a picture: {text!r}")
    return InFolder(folder, name, stamp)


def stamp_of(info: Mapping[str, Any]) -> str:
    """A file's stamp, of what its file system says of it."""
    return digest_of([str(info[name]) for name in _STAMPS if name in info])[:8]
