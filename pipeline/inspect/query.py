"""`winnow sql`: read-only SQL over a run's samples."""

import csv
import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

import duckdb
import pyarrow as pa
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.inspect.files import READ_ONLY, raise_if_not_sql
from pipeline.inspect.plain import plain
from pipeline.inspect.view import connect
from pipeline.table.run import Run
from pipeline.words.errors import InputError

ROWS_SHOWN = 1_000
RECORDS_SHOWN = 20
"""Rows shown at most where each takes several lines."""
GAP = 5
"""Characters that a column needs beside its name."""
_COLUMN = re.compile(r'column "([^"]+)" (?:not found|that cannot be referenced)')
_TABLE = re.compile(r"Table with name (\S+) does not exist")


def query(run: Run, sql: str) -> pa.Table:
    """The result of one SELECT over the view `samples` (see `pipeline.inspect.view.connect`).

    Raises InputError for bad SQL, with DuckDB's own first line and the nearest column or table,
    and for a statement that is not a query; DamagedError and StorageError. No file outside the run
    is read, and none is written.
    """
    with connect(run) as db:
        try:
            statements = db.extract_statements(sql)
            kinds = [statement.type for statement in statements]
            if len(kinds) != 1 or kinds[0] not in (
                duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN
            ):  # fmt: skip
                raise InputError("sql: expected one SELECT over `samples` and no other statement")
            result: pa.Table = db.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise_if_not_sql(run, error)
            columns = [str(row[0]) for row in db.execute("DESCRIBE samples").fetchall()]
            raise InputError(f"sql: {_first_line(error)}{_hint(str(error), columns)}") from error
    return result


def _first_line(error: duckdb.Error) -> str:
    if READ_ONLY in str(error):
        return f"Permission Error: {READ_ONLY}"
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _hint(message: str, columns: list[str]) -> str:
    if match := _COLUMN.search(message):
        near = difflib.get_close_matches(match[1], columns, n=1)
        return f" Did you mean `{near[0]}`?" if near else f" The columns are {', '.join(columns)}."
    if _TABLE.search(message):
        return " The table is called `samples`."
    return ""


def write_delimited(table: pa.Table, out: TextIO, as_csv: bool) -> None:
    """Every row and cell whole: CSV, or lines of tabs whose cells hold no tab and no line end.

    A null is an empty cell; lists and structs are JSON, and bytes hex.
    """
    writer = csv.writer(out, lineterminator="\n") if as_csv else None
    for batch in [[table.column_names], *map(_lines, table.to_batches(max_chunksize=1_000))]:
        for row in batch:
            if writer is not None:
                writer.writerow(row)
            else:
                out.write("\t".join(plain(cell, len(cell) or 1) for cell in row) + "\n")


def _lines(batch: pa.RecordBatch) -> Iterator[list[str]]:
    for row in batch.to_pylist():
        yield [_whole(value) for value in row.values()]


def _whole(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.hex() if isinstance(value, bytes) else str(value)


def render(table: pa.Table, width: int = 120) -> RenderableType:
    """For the terminal: the first rows as a table, text without control characters.

    Rows that do not fit into `width` are shown one below the other, a line for each column.
    """
    if sum(len(name) + GAP for name in table.column_names) > width:
        return _below_each_other(table)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for field in table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        shown.add_column(plain(field.name), justify="right" if is_number else "left")
    for row in table.slice(0, ROWS_SHOWN).to_pylist():
        shown.add_row(*(Text(_cell(value)) for value in row.values()))
    if table.num_rows <= ROWS_SHOWN:
        return shown
    rest = f"… and {table.num_rows - ROWS_SHOWN:,} more rows; `--json` or `--csv` prints all"
    return Group(shown, Text(rest, style="dim"))


def _below_each_other(table: pa.Table) -> RenderableType:
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column()
    for i, row in enumerate(table.slice(0, RECORDS_SHOWN).to_pylist()):
        shown.add_row(f"row {i + 1}", "", style="reverse")
        for name, value in row.items():
            shown.add_row(plain(name), Text(_cell(value)))
    if table.num_rows <= RECORDS_SHOWN:
        return shown
    rest = f"… and {table.num_rows - RECORDS_SHOWN:,} more rows; `--json` or `--csv` prints all"
    return Group(shown, Text(rest, style="dim"))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return plain(value.hex() if isinstance(value, bytes) else value, 120)
