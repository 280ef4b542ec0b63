"""SQL booleans over a shard's columns, by DuckDB without access to anything else."""

import difflib
import re
from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError

_COLUMN_ERROR = re.compile(r'Referenced column "([^"]+)" not found')
_NOT_A_ROW = re.compile(r"(?i)\bselect\b|\bover\b\s*\(")


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory that can read no file, load no extension and change no setting."""
    return duckdb.connect(
        config={
            "enable_external_access": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "lock_configuration": "true",
            "threads": "1",
        }
    )


def columns_of(expression: str, schema: Mapping[str, pa.DataType], place: str) -> tuple[str, ...]:
    """The columns that a boolean expression reads, in the schema's order.

    Raises InputError for invalid SQL, an unknown column (with the nearest) or a type that is not
    boolean; `place` names the key of the job that holds the expression.
    """
    _bind(expression, schema, place)
    used = []
    for name in schema:
        if not re.search(rf'(?i)(?<![\w"]){re.escape(name)}(?!\w)|"{re.escape(name)}"', expression):
            continue  # spares a bind; what the text does not name cannot be read
        without = {other: kind for other, kind in schema.items() if other != name}
        try:
            _bind(expression, without, place)
        except InputError:
            used.append(name)
    return tuple(used)


def _bind(expression: str, schema: Mapping[str, pa.DataType], place: str) -> None:
    if _NOT_A_ROW.search(re.sub(r"'[^']*'", "''", expression)):
        raise InputError(f"{place}: a rule judges one row: no SELECT and no OVER in `{expression}`")
    empty = pa.schema(list(schema.items())).empty_table()
    with connect() as db:
        db.register("samples", empty)
        try:
            if len(db.extract_statements(f"SELECT ({expression}\n)")) != 1:
                raise InputError(f"{place}: one SQL expression is due, not several statements")
            cursor = db.execute(f"SELECT ({expression}\n) AS verdict FROM samples")
            kind, rows = str((cursor.description or [("", "")])[0][1]), cursor.fetchall()
        except duckdb.Error as error:
            raise InputError(f"{place}: {_explain(error, schema)}") from error
    if kind.upper() not in ("BOOLEAN", "BOOL"):
        raise InputError(f"{place}: `{expression}` is {kind}, not a boolean; compare it")
    if rows:
        raise InputError(f"{place}: a rule judges one row: no aggregate in `{expression}`")


def _explain(error: duckdb.Error, schema: Mapping[str, pa.DataType]) -> str:
    match = _COLUMN_ERROR.search(str(error))
    if not match:
        return str(error).splitlines()[0]
    near = difflib.get_close_matches(match[1], schema, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(schema)}"
    return f"no stage of this job makes the column `{match[1]}`; {hint}"


def evaluate(table: pa.Table, expressions: Sequence[str]) -> list[npt.NDArray[np.int8]]:
    """Each expression for each row: 1 true, 0 false, -1 null. int8, shape (rows,)."""
    if not expressions:
        return []
    numbered = table.append_column("_row", pa.array(np.arange(table.num_rows)))
    verdicts = ", ".join(
        f"coalesce((({text}\n))::TINYINT, -1) AS v{i}" for i, text in enumerate(expressions)
    )
    with connect() as db:
        db.register("samples", numbered)
        query = f"SELECT {verdicts} FROM samples ORDER BY _row"  # noqa: S608 - nothing else is in it
        result = db.sql(query).to_arrow_table()
    return [result[f"v{i}"].to_numpy().astype(np.int8) for i in range(len(expressions))]
