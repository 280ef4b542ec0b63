"""Converts rows as read to rows of the sample table; each gets a uid, an invalid one a reason."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.bounds import MOST_CAPTIONS
from pipeline.ingest.cells import readable, to_cells
from pipeline.ingest.raw import Raw
from pipeline.ingest.samples import ADDRESS
from pipeline.words.uid import make_uid

MAX_CAPTION = 100_000
Row = tuple[str, str | None, str | None, str | None]
"""uid, URL, caption and the reason why it cannot be used."""


def to_table(
    raw: Raw,
    url: str,
    caption: str | tuple[str, ...],
    passthrough: dict[str, tuple[str, pa.DataType]],
    schema: pa.Schema,
) -> pa.Table:
    """Rows in the shard's schema; an invalid row keeps its readable cells and gets a reason.

    The first of the columns `caption` that is not empty is the caption. A list of captions gives a
    row for each.
    """
    used = {url, *([caption] if isinstance(caption, str) else caption)}
    used |= {source for source, _ in passthrough.values()}
    wanted = {name: raw.columns[name] for name in used if name in raw.columns}
    raw, cells = with_captions(replace(raw, columns=wanted), caption)

    given = readable(raw.column(url))
    if ADDRESS in raw.own:
        own = raw.own[ADDRESS]
        given = [a if _is_filled(a) else b for a, b in zip(given, own, strict=True)]
    pairs = zip(given, cells, strict=True)
    rows = [_row(*pair) for pair in pairs] + [_broken(text) for text in raw.broken]
    uids, urls, captions, errors = zip(*rows, strict=True) if rows else ((), (), (), ())
    others: dict[str, pa.Array] = {}
    misfit = np.zeros(raw.rows, bool)
    for name, (source, kind) in passthrough.items():
        column = _without(raw.column(source), raw.cut.get(source, ()))
        array, bad = to_cells(column, kind, lambda value: as_text(value)[0])
        bad[[*raw.cut.get(source, ())]] = True
        others[name] = pa.concat_arrays([array, pa.nulls(len(raw.broken), kind)])
        misfit |= bad
    reasons = list(errors)
    for row in np.flatnonzero(misfit).tolist():
        reasons[row] = reasons[row] or "cell_invalid"
    for name in (url, *([caption] if isinstance(caption, str) else caption)):
        for row in raw.cut.get(name, ()):
            if reasons[row] != "caption_oversize":  # its start is enough to tell
                reasons[row] = "cell_invalid"
    arrays = {
        "uid": pa.array(uids, pa.string()),
        "url": pa.array(urls, pa.string()),
        "caption": pa.array(captions, pa.string()),
        "repeats": pa.array([1] * len(rows), pa.int32()),
        "input_error": pa.array(reasons, pa.string()),
    }
    return pa.table({**arrays, **others}, schema=schema)


def with_captions(raw: Raw, caption: str | tuple[str, ...]) -> tuple[Raw, list[Any]]:
    """The rows, each as often as it has captions, and the captions' cells; a list of more captions
    than `bounds.MOST_CAPTIONS` is null and noted in `cut`."""
    names = (caption,) if isinstance(caption, str) else caption
    cells = _captions([raw.column(name) for name in names])
    many = [i for i, c in enumerate(cells) if isinstance(c, list) and len(c) > MOST_CAPTIONS]
    if many:
        cells = _without(cells, many)
        raw = replace(raw, cut={**raw.cut, names[0]: [*raw.cut.get(names[0], ()), *many]})
    return _one_caption_a_row(raw, cells)


def _without(column: Sequence[Any], rows: Sequence[int]) -> Any:
    """The column with nulls in these rows."""
    if not rows:
        return column
    if isinstance(column, pa.Array):
        kept = np.arange(len(column))
        return column.take(pa.array(kept, mask=np.isin(kept, rows)))
    gone = set(rows)
    return [None if i in gone else cell for i, cell in enumerate(column)]


def _captions(columns: Sequence[Sequence[Any]]) -> list[Any]:
    """Of each row, the first cell that is not empty."""
    first, *others = map(_caption_cells, columns)
    for column in others:
        first = [a if _is_filled(a) else b for a, b in zip(first, column, strict=True)]
    return first


def _caption_cells(column: Sequence[Any]) -> list[Any]:
    array: Any = column
    if isinstance(array, pa.Array) and pa.types.is_nested(array.type):
        with contextlib.suppress(pa.ArrowNotImplementedError, pa.ArrowInvalid):
            array = array.cast(pa.list_(pa.binary()))  # a bad member must affect only its row
    return readable(array)


def _is_filled(cell: Any) -> bool:
    if isinstance(cell, list):
        return any(map(_is_filled, cell))
    return bool(cell.strip() if isinstance(cell, str | bytes) else cell)


def _one_caption_a_row(raw: Raw, captions: list[Any]) -> tuple[Raw, list[Any]]:
    """A row for each member of a list of captions; for an empty list, one without a caption."""
    if not any(isinstance(caption, list) for caption in captions):
        return raw, captions
    lists = [(c or [None]) if isinstance(c, list) else [c] for c in captions]
    index = [row for row, some in enumerate(lists) for _ in some]
    columns = {name: _taken(cells, index) for name, cells in raw.columns.items()}
    own = {name: [cells[row] for row in index] for name, cells in raw.own.items()}
    captions = [one for some in lists for one in some]
    gone = {name: set(rows) for name, rows in raw.cut.items()}
    cut = {name: [i for i, row in enumerate(index) if row in rows] for name, rows in gone.items()}
    return Raw(len(index), columns, raw.broken, own, cut), captions


def _taken(cells: Sequence[Any], index: list[int]) -> Sequence[Any]:
    if isinstance(cells, pa.Array):
        try:
            taken: Sequence[Any] = cells.take(pa.array(index))
            return taken
        except pa.ArrowNotImplementedError:  # views of texts in a list
            cells = readable(cells)
    return [cells[row] for row in index]


def blank(table: pa.Table, rows: npt.NDArray[np.bool_], but: Sequence[str] = ("uid",)) -> pa.Table:
    """The table with every cell of these rows null, except in the columns `but`."""
    place = pa.array(np.arange(table.num_rows), mask=rows)
    columns = {n: table[n] if n in but else table[n].take(place) for n in table.column_names}
    return pa.table(columns, schema=table.schema)


def forgotten(table: pa.Table, rows: npt.NDArray[np.bool_]) -> pa.Table:
    """A shard's rows; the marked ones keep only uid, repeats and the reason `forgotten`."""
    if not rows.any():
        return table
    table = blank(table, rows, ("uid", "repeats", "input_error"))
    word = pa.scalar("forgotten", pa.string())
    errors = pc.if_else(pa.array(rows), word, table["input_error"])
    return table.set_column(table.column_names.index("input_error"), "input_error", errors)


def _row(url: Any, caption: Any) -> Row:
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


def _broken(text: str) -> Row:
    return make_uid(None, text), None, text[:MAX_CAPTION], "malformed_row"


def as_text(value: Any) -> tuple[str | None, bool]:
    """A cell as text, and whether it was valid; invalid bytes become U+FFFD.

    From JSON, invalid bytes come as lone surrogates (`surrogateescape`); they become the same text,
    and so give the same uid, as the bytes of any other format.
    """
    if value is None:
        return None, True
    if isinstance(value, bytes):
        try:
            return value.decode(), True
        except UnicodeDecodeError:
            return value.decode(errors="replace"), False
    if isinstance(value, dict | list | bool):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _bytes(text).decode(errors="replace"), False
    return text, True


def _bytes(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a surrogate written as an escape in the JSON, `\ud800`
        return text.encode(errors="surrogatepass")
