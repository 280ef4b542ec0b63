"""SQL booleans over a shard's columns, evaluated by DuckDB without access to any file."""

import difflib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.table.columns import empty
from pipeline.words.errors import InputError

_COLUMN_ERROR = re.compile(r'Referenced column "([^"]+)" not found')
_REFUSED = {
    "SUBQUERY": "no SELECT",
    "WINDOW": "no OVER",
    "STAR": "no `*` and no COLUMNS",
    "PARAMETER": "no parameters",
}
"""Kinds of expression that read other rows or have no value here."""
_OPENING = threading.Lock()
_CLOCKS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
"""Functions that are written without parentheses, like columns."""


def connect() -> duckdb.DuckDBPyConnection:
    """A connection that can read no file, load no extension and change no setting.

    All connections share one in-memory database per process, because opening one takes 20 ms;
    tables registered with a connection are visible to that connection only.
    """
    with _OPENING:
        return _database().cursor()


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "enable_external_access": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "lock_configuration": "true",
            "preserve_insertion_order": "true",
            "threads": "1",
        }
    )


def free_name(name: str, taken: Iterable[str]) -> str:
    """The name with `_` appended until it is none of `taken`, ignoring case as SQL does."""
    used = {other.casefold() for other in taken}
    while name in used:
        name += "_"
    return name


def columns_of(expression: str, schema: Mapping[str, pa.DataType], place: str) -> tuple[str, ...]:
    """The columns that a boolean expression reads, in the schema's order.

    Raises InputError for invalid SQL, an unknown column (with the nearest), a type that is not
    boolean, and expressions that read other rows or are not deterministic (subqueries, windows,
    aggregates, `random()`); `place` names the key of the job that holds the expression.
    """
    with connect() as db:
        named = _check_tree(db, expression, place)
        _check_types(db, expression, schema, place)
    known = {name.casefold() for name in schema}
    for name in sorted(named - known):
        if name in _CLOCKS:
            raise InputError(_unsteady(place, name))
    if "samples" in named - known and not named & known:
        raise InputError(f"{place}: name the columns that `{expression}` is to compare")
    return tuple(name for name in schema if name.casefold() in named)


def names_in(expression: str, place: str) -> set[str]:
    """The columns an expression names, in lower case, whether or not they exist.

    Raises InputError for invalid SQL and for the kinds of expression that `columns_of` refuses.
    """
    with connect() as db:
        return _check_tree(db, expression, place)


def _check_tree(db: duckdb.DuckDBPyConnection, expression: str, place: str) -> set[str]:
    """The names in DuckDB's own parse of the expression, in lower case."""
    if not expression.strip():
        raise InputError(
            f"{place}: expected an SQL boolean, e.g. `caption_words < 3`; this is empty"
        )
    rows = db.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]).fetchall()
    tree = json.loads(rows[0][0])
    if tree.get("error"):
        raise InputError(f"{place}: {_first_line(tree['error_message'])} in `{expression}`")
    if len(tree["statements"]) != 1:
        raise InputError(f"{place}: expected one SQL expression, not several statements")
    node = tree["statements"][0]["node"]
    if len(node.get("select_list", ())) != 1 or node["from_table"]["type"] != "EMPTY":
        raise InputError(f"{place}: expected one SQL expression, not `{expression}`")
    names: set[str] = set()
    for part in _parts(node["select_list"]):
        kind = part.get("class")
        if kind in _REFUSED:
            raise InputError(
                f"{place}: a rule judges one row: {_REFUSED[kind]} in `{expression}`; "
                "compare the row's own columns"
            )
        if kind == "FUNCTION" and part["function_name"] in _inconstant():
            raise InputError(_unsteady(place, part["function_name"]))
        if kind == "COLUMN_REF":
            names.update(name.casefold() for name in part["column_names"])
    return names


def _unsteady(place: str, name: str) -> str:
    return (
        f"{place}: `{name}` gives another value every time, a rule must not; "
        "a fixed random share is e.g. `hash(uid) % 100 < 10`"
    )


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every node of a parse tree."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from _parts(member)


@lru_cache(maxsize=1)
def _inconstant() -> frozenset[str]:
    """Functions that do not depend on their arguments alone: time, random numbers, settings."""
    query = "SELECT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    with connect() as db:
        return frozenset(name for (name,) in db.execute(query).fetchall())


def _check_types(
    db: duckdb.DuckDBPyConnection, expression: str, schema: Mapping[str, pa.DataType], place: str
) -> None:
    """Bind the expression to an empty table of the schema."""
    db.register("samples", empty(pa.schema(list(schema.items()))))
    try:
        cursor = db.execute(f"SELECT ({expression}\n) AS verdict FROM samples")  # noqa: S608 - a rule is SQL
        description, rows = cursor.description, cursor.fetchall()
    except duckdb.Error as error:
        raise InputError(f"{place}: {_explain(error, schema)}") from error
    assert description is not None
    kind = str(description[0][1])
    if kind.upper() not in ("BOOLEAN", "BOOL"):
        raise InputError(f"{place}: `{expression}` is {kind}, not a boolean; compare it")
    if rows:
        raise InputError(f"{place}: a rule judges one row: no aggregate in `{expression}`")


def _explain(error: duckdb.Error, schema: Mapping[str, pa.DataType]) -> str:
    match = _COLUMN_ERROR.search(str(error))
    if not match:
        return _first_line(str(error))
    near = difflib.get_close_matches(match[1], schema, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(schema)}"
    return f"no stage of this job makes the column `{match[1]}`; {hint}"


def _first_line(text: str) -> str:
    return (text.splitlines() or ["no reason given"])[0]


def evaluate(table: pa.Table, expressions: Sequence[str]) -> list[npt.NDArray[np.int8]]:
    """Each expression for each row: 1 true, 0 false, -1 null. int8, shape (rows,).

    InputError names an expression that fails on a row's values, e.g. a cast of text to a number.
    """
    if not expressions:
        return []
    try:
        return _evaluate(table, expressions)
    except duckdb.BinderException:
        raise  # a missing column is the caller's mistake, not a row's
    except duckdb.Error as error:
        for expression in expressions if len(expressions) > 1 else ():
            evaluate(table, [expression])  # raises for the expression that fails
        raise InputError(
            f"`{expressions[0]}` fails on a row: {_first_line(str(error))}; "
            "use try_cast or `case when` for such rows"
        ) from error


def _evaluate(table: pa.Table, expressions: Sequence[str]) -> list[npt.NDArray[np.int8]]:
    verdicts = ", ".join(
        f"coalesce((({text}\n))::TINYINT, -1) AS v{i}" for i, text in enumerate(expressions)
    )
    with connect() as db:
        db.register("samples", table)
        # The answers are in the rows' order by the setting `preserve_insertion_order`.
        result = db.execute(f"SELECT {verdicts} FROM samples").fetchnumpy()  # noqa: S608 - nothing else in it
    return [np.asarray(result[f"v{i}"], np.int8) for i in range(len(expressions))]
