"""The dialect of a CSV or TSV list: what separates its cells, and whether a line names its columns.

It is found in the first lines, unless the job gives it in `input_dialect`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.config.job import Job
from pipeline.ingest.bounds import MOST_COLUMNS, too_wide
from pipeline.ingest.delimited import read_header, read_rows
from pipeline.ingest.names import YFCC, knows_pair
from pipeline.ingest.source import Source
from pipeline.words.errors import InputError

DELIMITERS = (",", ";", "\t", "|")
_ADDRESS = re.compile(rb"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_CLEAN = re.compile(rb"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
"""An address alone: with a wrong delimiter it would end in a part of a caption, with a space."""
_TRIED = 100
"""Rows from which the columns of a list without a header line are told apart."""


def with_dialect(source: Source, job: Job) -> Source:
    """The file with its delimiter and, if no line names its columns, their names by position.

    InputError if the job names another number of columns than there are.
    """
    if source.format not in ("csv", "tsv"):
        return source
    given = job.input_dialect
    source = replace(source, delimiter=given.delimiter or _delimiter(source, job))
    cells = read_header(source)
    if len(cells) > MOST_COLUMNS:
        raise too_wide(source.url, f"more than {MOST_COLUMNS:,}")
    if isinstance(given.header, tuple):
        if cells and len(given.header) != len(cells):
            raise InputError(
                f"input_dialect.header: {len(given.header)} names, but {source.url} has "
                f"{len(cells)} columns"
            )
        return replace(source, names=given.header)
    # A header hardly ever holds an address, and a list of pictures always does.
    if given.header is False or (given.header is None and _is_row(cells, job)):
        return replace(source, names=_by_position(source, len(cells)))
    return source


def _is_row(cells: Sequence[bytes], job: Job) -> bool:
    """Whether a first line is no header: it holds an address, and not the names of a pair."""
    if not any(map(_ADDRESS.match, cells)):
        return False
    try:
        return not knows_pair(header_names(cells), _own(job))
    except UnicodeDecodeError:
        return True


def _own(job: Job) -> list[str | None]:
    return [job.columns.url, *(job.columns.captions or ())]


def header_names(cells: Sequence[bytes]) -> list[str]:
    """A header line's names, without the spaces around them; a column without a name (a pandas
    index) is named by its position."""
    names = [cell.decode().strip() for cell in cells]
    return [name or f"column_{i}" for i, name in enumerate(names, start=1)]


def _delimiter(source: Source, job: Job) -> str:
    """The first that divides the first line into columns of which URL and caption are known."""
    usual = "," if source.format == "csv" else "\t"
    for delimiter in dict.fromkeys([usual, *DELIMITERS]):
        cells = read_header(replace(source, delimiter=delimiter))
        try:
            named = knows_pair(header_names(cells), _own(job))
        except UnicodeDecodeError:
            return usual  # another error names the file's encoding
        if named or (len(cells) > 1 and any(map(_CLEAN.fullmatch, cells))):
            return delimiter
    return usual


def _by_position(source: Source, columns: int) -> tuple[str, ...]:
    """`url` for the column of addresses; of two columns, the other is `caption`."""
    hits = [0] * columns
    rows = next(read_rows(replace(source, names=("",) * columns), columns, 1 << 16), None)
    for i, column in enumerate(rows.columns if rows else ()):
        hits[i] = sum(bool(cell and _ADDRESS.match(cell)) for cell in column[:_TRIED])
    if source.format == "tsv" and columns == len(YFCC):
        return YFCC
    if source.format == "tsv" and columns == len(YFCC) + 2:
        return ("line", YFCC[0], "photo_hash", *YFCC[1:])
    names = [f"column_{i}" for i in range(1, columns + 1)]
    if columns and max(hits):
        place = hits.index(max(hits))
        names[place] = "url"
        if columns == 2:
            names[1 - place] = "caption"
    return tuple(names)
