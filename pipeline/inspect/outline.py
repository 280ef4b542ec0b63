"""What a list is taken for: the format of its files, what each column becomes, its first rows."""

import contextlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from pipeline.ingest.cells import readable
from pipeline.ingest.raw import Raw
from pipeline.ingest.reading import first_rows
from pipeline.ingest.rows import as_text, with_captions
from pipeline.ingest.samples import ADDRESS
from pipeline.ingest.schema import Listing
from pipeline.ingest.source import Source
from pipeline.table.stored import INTERNAL
from pipeline.words.personal.find import masked

SAMPLED = 3


def outline(listing: Listing) -> list[dict[str, Any]]:
    """One entry for each run of files that are read alike, as JSON values.

    `files` counts them, `first` is the first one's address; `header` says whether a line names the
    columns and `delimiter` what separates cells, in CSV and TSV. `columns` has for each column of
    the sample table its `source` in the list (null where the files give no column for it: of
    pictures that they hold, the place), its `type` and its values in the first rows.
    """
    found = []
    pairs = zip(listing.sources, listing.pairs, strict=True)
    for _, group in groupby(pairs, key=lambda one: _way(*one)):
        members = list(group)
        source, (url, caption) = members[0]
        entry: dict[str, Any] = {
            "files": len(members), "first": source.url, "format": source.format,
        }  # fmt: skip
        if source.separator:
            entry |= {"delimiter": source.separator, "header": source.names is None}
        entry["columns"] = _columns(listing, source, url, caption)
        found.append(entry)
    return found


def _way(source: Source, pair: tuple[Any, ...]) -> tuple[Any, ...]:
    return source.format, source.separator, source.names, pair


def _columns(
    listing: Listing, source: Source, url: str, caption: str | tuple[str, ...]
) -> list[dict[str, Any]]:
    raw = _head(first_rows(source) or Raw(0, {}, []))
    raw, captions = with_captions(raw, caption)
    own = caption if isinstance(caption, str) else list(caption)
    found = [
        _column("url", url, pa.string(), map(_text, readable(raw.column(url)))),
        _column("caption", own, pa.string(), map(_masked, captions)),
    ]
    for name, (column, kind) in listing.passthrough.items():
        if column in raw.columns or column in raw.own:
            cells = (_shown(value, kind) for value in readable(raw.column(column)))
            found.append(_column(name, column, kind, cells))
    for one in found:
        one["values"] = one["values"][:SAMPLED]
    return found


def _head(raw: Raw) -> Raw:
    columns: dict[str, Sequence[Any]] = {n: cells[:SAMPLED] for n, cells in raw.columns.items()}
    own = {name: cells[:SAMPLED] for name, cells in raw.own.items()}
    return Raw(min(raw.rows, SAMPLED), columns, [], own)


def _column(
    name: str, source: str | list[str], kind: pa.DataType, values: Iterable[Any]
) -> dict[str, Any]:
    given = None if source in (INTERNAL, ADDRESS) else source
    return {"column": name, "source": given, "type": str(kind), "values": list(values)}


def _text(cell: Any) -> str | None:
    return as_text(cell)[0]


def _masked(cell: Any) -> str | None:
    text = _text(cell)
    return None if text is None else masked(text)


def _shown(cell: Any, kind: pa.DataType) -> Any:
    """Numbers and truths as they are, anything else as text; also numbers of CSV and TSV."""
    if isinstance(cell, bytes) and pa.types.is_floating(kind):
        with contextlib.suppress(ValueError):
            return float(cell)
    return cell if isinstance(cell, int | float) else _text(cell)
