"""Finds where the rows of a CSV block end, and which of its quotes are only text.

RFC 4180, with a rule for input that it does not cover: a cell that begins with a quote is quoted
if a later quote is followed by a delimiter, a line end or the file's end. If there is none, the
cell's quotes are text, and it ends at the next delimiter or line end like an unquoted cell. So an
unclosed `"Hello world` does not swallow the following rows.

An unclosed quote can be followed by a quote at the end of a later cell (`TV 32"`). Then the lines
between them decide: if one of them is a complete row, with as many cells as the header and a cell
that begins with a URL, the two quotes are text as well.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
_QUOTE, _CR, _LF = b'"\r\n'
_ADDRESS = re.compile(rb"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_LINE_END = re.compile(rb"[\r\n]")


@dataclass(frozen=True)
class Block:
    """A block of text that begins with a row."""

    ends: Places
    """The bytes that end lines (CR, LF) outside quoted cells, as far as is settled."""
    text: list[int]
    """The quotes at the start of a cell that are text."""


@dataclass(frozen=True)
class _Runs:
    """Runs of adjacent quotes. In a quoted cell an even run is text, an odd run closes the cell."""

    first: Places
    last: Places
    odd: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.bool_]
    """Whether the run is at the start of a cell."""
    ends: npt.NDArray[np.bool_]
    """Whether the run is at the end of a cell."""
    cut: bool
    """Whether the last run may continue in the next block."""


@dataclass(frozen=True)
class _Text:
    """A block and the arguments of `find_rows`."""

    data: bytes
    mark: bytes
    columns: int
    limit: int
    whole: bool
    lines: Places
    """All bytes that end lines, also in quoted cells."""


def line_ends(data: bytes) -> Places:
    """Positions of CR and LF."""
    view = np.frombuffer(data, np.uint8)
    return np.flatnonzero((view == _LF) | (view == _CR))


def find_rows(
    data: bytes, mark: bytes, columns: int, limit: int, lines: Places, *, whole: bool
) -> Block:
    """The rows of a block that begins with one; `mark` is the delimiter, `lines` the `line_ends`.

    `columns` is the number of a row's cells; a quoted cell has at most `limit` bytes. Unless
    `whole` (the file ends with the block), the block is settled up to a cell that it opens and
    does not close.
    """
    block = _Text(data, mark, columns, limit, whole, lines)
    runs = _runs(block)
    if not len(runs.first):
        return Block(block.lines, [])
    odd = runs.odd
    within = (np.cumsum(odd) - odd) % 2 == 1  # if every odd run so far opened or closed a cell
    borders = np.where(within, runs.ends, runs.starts)
    opens, closes = runs.first[odd][::2], runs.last[odd][1::2]
    open_ended = len(opens) > len(closes)
    regular = (
        np.where(odd, borders, within | (runs.starts & runs.ends)).all()
        and (closes - opens[: len(closes)] < limit).all()
        and not runs.cut
        and not (open_ended and (whole or len(data) - opens[-1] >= limit))
        and not _any_holds_row(block, opens[: len(closes)], closes)
    )
    if not regular:
        return _look_closely(block, runs)
    waits = int(opens[-1]) if open_ended else None
    return Block(_outside(block.lines, opens[: len(closes)], closes, waits), [])


def _runs(block: _Text) -> _Runs:
    view = np.frombuffer(block.data, np.uint8)
    quotes = np.flatnonzero(view == _QUOTE)
    apart = np.diff(quotes) > 1
    first = quotes[np.concatenate([[True], apart])] if len(quotes) else quotes
    last = quotes[np.concatenate([apart, [True]])] if len(quotes) else quotes
    border = np.zeros(256, bool)
    border[[block.mark[0], _CR, _LF]] = True
    at_end = last == len(view) - 1
    return _Runs(
        first,
        last,
        odd=(last - first) % 2 == 0,
        starts=(first == 0) | border[view[first - 1]],
        ends=at_end | border[view[np.where(at_end, last, last + 1)]],
        cut=bool(at_end.any()) and not block.whole,
    )


def _outside(lines: Places, opens: Places, closes: Places, waits: int | None) -> Places:
    """The line ends that are in no quoted cell and before `waits`."""
    if waits is not None:
        lines = lines[: np.searchsorted(lines, waits)]
    if not len(opens):
        return lines
    cell = np.searchsorted(opens, lines) - 1
    return lines[(cell < 0) | (lines > closes[cell])]


def _any_holds_row(block: _Text, opens: Places, closes: Places) -> bool:
    lines = block.lines
    lined = np.searchsorted(lines, opens) < np.searchsorted(lines, closes)
    cells = zip(opens[lined].tolist(), closes[lined].tolist(), strict=True)
    return any(_holds_row(block, first, last) for first, last in cells)


def _holds_row(block: _Text, first: int, last: int) -> bool:
    """Whether a line that begins within these bytes is a complete row."""
    if _LINE_END.search(block.data, first, last) is None:
        return False
    after = _LINE_END.search(block.data, last)
    stop = after.start() if after else len(block.data)
    if block.data.find(b"//", first, stop) < 0:
        return False
    lines = _LINE_END.split(block.data[first:stop])[1:]
    if after is None and not block.whole:
        lines = lines[:-1]  # the rest of this line is in the next block
    cells = (line.split(block.mark) for line in lines)
    return any(len(own) == block.columns and any(map(_ADDRESS.match, own)) for own in cells)


def _look_closely(block: _Text, runs: _Runs) -> Block:
    """Check each run: if a cell turns out not to be quoted, the bytes after its quote are reread.

    No byte is read more than twice, because there is no other odd run between the two quotes.
    """
    first, last = runs.first.tolist(), runs.last.tolist()
    odd, starts, ends = runs.odd.tolist(), runs.starts.tolist(), runs.ends.tolist()
    opens, closes, text = [], [], []
    waits = None
    count, i = len(first), 0
    while i < count:
        if not starts[i]:
            i += 1
            continue
        close = next((j for j in range(i + 1, count) if odd[j]), count) if odd[i] else i
        length = (last[close] if close < count else len(block.data)) - first[i]
        settled = close < count - 1 or block.whole or (close < count and not runs.cut)
        if not settled and length < block.limit:
            waits = first[i]
            break
        quoted = close < count and ends[close] and length < block.limit
        if quoted and not (odd[i] and _holds_row(block, first[i], last[close])):
            opens.append(first[i])
            closes.append(last[close])
            i = close + 1
        else:
            text.append(first[i])
            i += 1
    places = np.array(opens, np.int64), np.array(closes, np.int64)
    return Block(_outside(block.lines, *places, waits), text)
