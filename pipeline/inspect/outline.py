"""What a list is taken for: the format of its files, what each column becomes, its first rows."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from pipeline.ingest.listing import Source
from pipeline.ingest.reading import Raw, read_batches
from pipeline.ingest.rows import to_table
from pipeline.ingest.schema import Listing
from pipeline.inspect.plain import masked

SAMPLED = 3


def outline(listing: Listing) -> list[dict[str, Any]]:
    """One entry for each run of files that are read alike, as JSON values.

    `files` counts them, `first` is the first one's address; `header` says whether a line names the
    columns and `delimiter` what separates cells, in CSV and TSV. `columns` has for each column of
    the sample table its `source` in the list, its `type` and its values in the first rows.
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
    raw = next((_head(raw) for raw in read_batches(source) if raw.rows), Raw(0, {}, []))
    table = to_table(raw, url, caption, listing.passthrough, listing.schema).slice(0, SAMPLED)
    sources = {"url": url, "caption": caption if isinstance(caption, str) else list(caption)}
    sources |= {name: own for name, (own, _) in listing.passthrough.items() if own in raw.columns}
    return [
        {
            "column": name, "source": own, "type": str(table.schema.field(name).type),
            "values": _shown(table[name], hide=name == "caption"),
        }
        for name, own in sources.items()
    ]  # fmt: skip


def _head(raw: Raw) -> Raw:
    columns: dict[str, Sequence[Any]] = {n: cells[:SAMPLED] for n, cells in raw.columns.items()}
    return Raw(min(raw.rows, SAMPLED), columns, [])


def _shown(column: pa.ChunkedArray, hide: bool) -> list[Any]:
    """Numbers and texts as they are, anything else as text; personal data masked where asked."""
    kind = column.type
    plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)
    if plain and not pa.types.is_float16(kind):
        return list(column.to_pylist())
    texts = [None if cell is None else str(cell) for cell in column.cast(pa.string()).to_pylist()]
    return [masked(text) if hide and text is not None else text for text in texts]
