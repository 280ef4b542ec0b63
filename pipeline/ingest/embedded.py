"""Finds the column of a Parquet file that holds the pictures themselves."""

import codecs
import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from pipeline.ingest.source import Source, reading
from pipeline.words.errors import InputError

NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "pixel_values",
         "image_bytes", "img_bytes", "bytes")  # fmt: skip
"""Usual names; of several columns with pictures, the first in this order is taken."""
_TRIED = 20
_START = 4096
"""Bytes of a cell that are looked at."""
_DECODED = 2 << 30
_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"\0\0\0", b"BM", b"II*\0", b"MM\0*")
"""How pictures begin; AVIF with the length of its first box."""


def with_pictures(source: Source, wanted: str | None) -> Source:
    """A Parquet file with the column of its pictures, if it has any; `wanted` is its name.

    InputError if the wanted column holds no bytes.
    """
    if source.format != "parquet":
        return source
    with reading(source), source.open() as handle:
        file = pq.ParquetFile(handle)
        leaf = _picture_column(file.schema_arrow, wanted, f"input: {source.url}")
        if (
            wanted is None
            and leaf
            and leaf in file.schema_arrow.names
            and not _are_pictures(file, leaf)
        ):
            leaf = ""  # some writers give text this type too
        left_out = [f.name for f in file.schema_arrow if leaf and _is_file(file, f, leaf)]
    return replace(source, picture=leaf, left_out=tuple(left_out))


def _first_cells(file: pq.ParquetFile, name: str) -> list[bytes]:
    """How the first cells of a column of binary begin that are not empty, of its first rows."""
    found: list[bytes] = []
    groups = range(file.metadata.num_row_groups)
    size = max((file.metadata.row_group(k).total_byte_size for k in groups), default=0)
    rows = max(1, min(20, _DECODED // max(size, 1)))  # a dictionary gives each the largest size
    for batch in islice(file.iter_batches(batch_size=rows, columns=[name]), 100):
        cells = _plain(batch[0])
        found += [cell for cell in pc.binary_slice(cells, 0, _START).to_pylist() if cell]
        if len(found) >= _TRIED:
            break
    return found[:_TRIED]


def _are_pictures(file: pq.ParquetFile, name: str) -> bool:
    cells = _first_cells(file, name)
    return 2 * sum(cell.startswith(_STARTS) for cell in cells) > len(cells)


def _is_file(file: pq.ParquetFile, field: pa.Field, picture: str) -> bool:
    """Whether a column beside the pictures holds further files: masks, sounds, more pictures."""
    if _leaf(field) == picture:
        return False
    if not _is_binary(field.type):
        return _holds_binary(field.type)
    return not all(map(_is_text, _first_cells(file, field.name)))


def _holds_binary(kind: pa.DataType) -> bool:
    if not kinds.is_nested(kind):
        return _is_binary(kind)
    return any(_holds_binary(kind.field(i).type) for i in range(kind.num_fields))


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if kinds.is_dictionary(column.type) else column


def _is_text(cell: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(cell, final=len(cell) < _START)
    except UnicodeDecodeError:
        return False
    return True


def _picture_column(schema: pa.Schema, wanted: str | None, place: str) -> str:
    """The path of the leaf with the pictures' bytes: `image.bytes` of Hugging Face's struct of
    bytes and path, or a column of binary; empty if there is none."""
    if wanted is not None:
        index = schema.get_field_index(wanted)
        leaf = _leaf(schema.field(index)) if index >= 0 else ""
        if not leaf:
            raise InputError(
                f"{place}: no column `{wanted}` of bytes (`columns.image`); the columns are "
                + ", ".join(schema.names[:20])
            )
        return leaf
    others = _not_pictures(schema)
    found = [f for f in schema if _leaf(f) and f.name not in others]
    structs = [field for field in found if kinds.is_struct(field.type)]
    named = [f for name in NAMES for f in (*structs, *found) if f.name.lower() == name]
    chosen = next(iter([*named, *structs]), None)
    return _leaf(chosen) if chosen is not None else ""


def path_column(schema: pa.Schema, picture: str) -> tuple[str, str] | None:
    """The leaf of the pictures' own paths, `image.path`, and the name of its column, `image_path`;
    None if there is no such leaf, or another column of this name."""
    name, dot, _ = picture.rpartition(".")
    if not dot or picture in schema.names or f"{name}_path" in schema.names:
        return None
    has_path = any(child.name == "path" for child in schema.field(name).type)
    return (f"{name}.path", f"{name}_path") if has_path else None


def plain_schema(schema: pa.Schema, source: Source) -> pa.Schema:
    """The columns of a file without those of its pictures and of further files."""
    if not source.picture:
        return schema
    return pa.schema(
        f for f in schema if _leaf(f) != source.picture and f.name not in source.left_out
    )


def _leaf(field: pa.Field) -> str:
    if kinds.is_struct(field.type):
        here = {child.name: child.type for child in field.type}
        bare = here.keys() <= {"bytes", "path"}
        return f"{field.name}.bytes" if bare and _is_binary(here.get("bytes")) else ""
    return field.name if _is_binary(field.type) else ""


def _is_binary(kind: pa.DataType | None) -> bool:
    if kind is not None and kinds.is_dictionary(kind):
        kind = kind.value_type
    return kind is not None and (
        kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_binary_view(kind)
    )


def _not_pictures(schema: pa.Schema) -> Iterable[str]:
    """Columns that the file's own note for Hugging Face's `datasets` gives another type."""
    try:
        note = json.loads((schema.metadata or {})[b"huggingface"])
        features = note["info"]["features"].items()
        return {name for name, kind in features if kind.get("_type") != "Image"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return ()
