"""One DuckDB view over a run: every row with every column of its parts.

Parts keep their shard's order, so they are joined by position (DuckDB's POSITIONAL
JOIN): nothing is hashed and nothing is held, whatever the number of rows.
"""

import re
import tempfile
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import duckdb

from pipeline.engine.parts import Parts, index_of, schema_of, stage_parts
from pipeline.inspect.files import SCHEME, RunFiles
from pipeline.table.columns import LATE, empty, lacks, shown
from pipeline.table.part import shard_name
from pipeline.table.run import Run
from pipeline.table.sql import free_name
from pipeline.words.reasons import VOCABULARY

OWN_COLUMNS = ("shard", "row", "verdict")
"""Columns that the view adds: the row's place, and kept, dropped, failed or unfinished."""
_LATE = frozenset(column.name for column in LATE)
DECIDED = {
    "reason": "VARCHAR", "reasons": "VARCHAR[]", "dup_of": "VARCHAR", "audit": "BOOLEAN",
}  # fmt: skip
"""Columns that are there, as nulls, even before any shard is decided."""


def connect(
    run: Run,
    shards: Collection[int] | None = None,
    parts: Sequence[Parts] | None = None,
    *,
    own: bool = False,
    threads: int | None = None,
    aligned: Mapping[int, frozenset[str]] | None = None,
) -> duckdb.DuckDBPyConnection:
    """A database with the view `samples`; use it in a `with` block, or close it.

    `samples` holds the columns of the shards and of the last run's parts, `shard` and `row`
    (int32, int64) and `verdict`. Rows whose shard a stage has not finished are there, with nulls in
    that stage's columns and, before `decide`, the verdict "unfinished". `listed` is the shards' own
    columns alone, for lookups; `checked` is `samples` and a boolean `aligned`: every part has this
    row's uid at this row's place. Only `shards` if given (default all). The database can read
    nothing but these files and write nothing, and its settings are locked. `own` says that all SQL
    is winnow's own: on a local disk DuckDB then opens the files itself. That takes half the time,
    but a COPY could overwrite them. `threads` is by default DuckDB's choice. Of parts that are
    known to be `aligned` (by shard, their names) the uids are not compared.

    Raises InputError if the input has not been dealt into shards yet.
    """
    index = index_of(run)
    wanted = sorted(range(len(index)) if shards is None else set(shards))
    parts = stage_parts(run) if parts is None else parts
    # DuckDB makes this folder when it first spills, and removes it when it closes.
    spill = Path(tempfile.gettempdir()) / f"winnow-sql-{uuid.uuid4().hex}"
    db = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": str(spill),
            **({"threads": str(threads)} if threads else {}),
        }
    )
    url = _urls(run, own)
    try:
        objects = None if run.folder.is_local else run.folder.objects
        db.register_filesystem(RunFiles(run.folder.url, objects))
        _define(db, run, wanted, parts, url, aligned or {})
        paths = [url("shards", shard) for shard in wanted]
        paths += [url(p.folder, shard) for p in parts for shard in wanted if shard in p.sidecars]
        db.execute(f"SET allowed_paths = {paths}")
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
    except BaseException:
        db.close()
        raise
    return db


def _urls(run: Run, own: bool) -> Callable[[str, int], str]:
    """How the database is to name a shard's file in a folder of the run."""
    base = run.folder.url if own and run.folder.is_local else ""
    # Other characters could be read as a pattern of file names, or end the quotes around the name.
    base = f"{base}/" if re.fullmatch(r"[\w/.,+@ -]+", base) else f"{SCHEME}://"
    return lambda folder, shard: f"{base}{folder}/{shard_name(shard)}.parquet"


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def _define(
    db: duckdb.DuckDBPyConnection, run: Run, shards: list[int], parts: Sequence[Parts],
    url: Callable[[str, int], str], aligned: Mapping[int, frozenset[str]],
) -> None:  # fmt: skip
    of_stage: dict[str, dict[str, str]] = {}
    for part in parts:
        if part.sidecars:
            file = f"{part.folder}/{shard_name(min(part.sidecars))}.parquet"
            found = _types(db, run, file)
            of_stage[part.name] = {name: found[name] for name in shown(found)}
            if part.name == "download":
                of_stage[part.name] |= dict.fromkeys(_LATE, "VARCHAR")
    taken = {name for columns in of_stage.values() for name in columns} | {*OWN_COLUMNS, "aligned"}
    first = f"shards/{shard_name(shards[0])}.parquet" if shards else None
    own = _types(db, run, first) if first else {"uid": "VARCHAR", "repeats": "INTEGER"}
    file = free_name("file", own)

    def has(shard: int) -> tuple[list[Parts], frozenset[str], frozenset[str]]:
        present = [part for part in parts if shard in part.sidecars]
        early = [lacks(p.sidecars[shard].summary) for p in present if p.name == "download"]
        return present, aligned.get(shard, frozenset()), frozenset[str]().union(*early)

    branches = [
        _branch(
            list(members), present, parts, own, of_stage, taken, file, url, known,
            early,
        )
        for (present, known, early), members in groupby(shards, has)
    ]  # fmt: skip
    if not branches:
        nulls = [f"NULL::{kind} AS {quote(name)}" for name, kind in own.items()]
        nulls += ["0::INTEGER AS shard", "0::BIGINT AS row", "'' AS verdict", "true AS aligned"]
        nulls += [f"NULL::{kind} AS {name}" for name, kind in DECIDED.items()]
        branches = [f"SELECT {', '.join(nulls)} WHERE false"]
    db.execute(f"CREATE VIEW checked AS {' UNION ALL '.join(branches)}")
    db.execute("CREATE VIEW samples AS SELECT * EXCLUDE (aligned) FROM checked")
    columns = ", ".join(f"s.{quote(name)}" for name in own)
    if shards:
        listed = f"SELECT {_place(file)}, {columns} FROM {_source(shards, 's', file, url)}"
    else:
        listed = f"SELECT s.shard, s.row, {columns} FROM checked s"
    db.execute(f"CREATE VIEW listed AS {listed}")


def _types(db: duckdb.DuckDBPyConnection, run: Run, file: str) -> dict[str, str]:
    db.register("one_file", empty(schema_of(run, file)))
    types = {str(r[0]): str(r[1]) for r in db.execute("DESCRIBE one_file").fetchall()}
    db.unregister("one_file")
    return types


def _source(shards: Sequence[int], alias: str, file: str, url: Callable[[str, int], str]) -> str:
    """The shards' files; `file` names the column that DuckDB adds for the file's own name.

    It adds `file_row_number` too, a name that `ingest` therefore gives to no column of a list.
    """
    paths = [url("shards", shard) for shard in shards]
    return f"read_parquet({paths}, filename = '{file}', file_row_number = true) AS {alias}"


def _place(file: str) -> str:
    return f"parse_filename(s.{file}, true)::INTEGER AS shard, s.file_row_number AS row"


def _branch(
    shards: list[int], present: Sequence[Parts], parts: Sequence[Parts],
    own: dict[str, str], of_stage: dict[str, dict[str, str]], taken: set[str], file: str,
    url: Callable[[str, int], str], known: frozenset[str], absent: frozenset[str],
) -> str:  # fmt: skip
    """The rows of shards that have the same parts, each column under the same name and order; of
    the parts that are not `known` to be aligned the uids are compared. The columns `absent` are in
    no file."""
    alias: Callable[[Parts], str] = lambda part: f"p{parts.index(part)}"  # noqa: E731
    columns = [_place(file)]
    columns += [
        f"s.{quote(name)}" + (f" AS {quote(f'input_{name}')}" if name in taken else "")
        for name in own
    ]
    seen = set()
    for part in parts:
        for name, kind in of_stage.get(part.name, {}).items():
            is_here = part in present and name not in absent
            value = f"{alias(part)}.{quote(name)}" if is_here else f"NULL::{kind}"
            columns.append(f"{value} AS {quote(name)}")
            seen.add(name)
    columns += [f"NULL::{kind} AS {name}" for name, kind in DECIDED.items() if name not in seen]
    decide = next((alias(part) for part in present if part.name == "decide"), None)
    columns.append(f"{_verdict(decide)} AS verdict")
    others = [part for part in present if part.name not in known]
    same = " AND ".join(f"{alias(part)}.uid = s.uid" for part in others) or "true"
    columns.append(f"({same}) AS aligned")
    source = _source(shards, "s", file, url)
    for part in present:
        paths = [url(part.folder, shard) for shard in shards]
        source += f" POSITIONAL JOIN read_parquet({paths}) AS {alias(part)}"
    return f"SELECT {', '.join(columns)} FROM {source}"


def _verdict(decide: str | None) -> str:
    if decide is None:
        return "'unfinished'"
    failed = ", ".join(f"'{r.name}'" for r in VOCABULARY.values() if r.kind == "failed")
    return (
        f"CASE WHEN {decide}.reason IS NULL THEN 'kept' "
        f"WHEN {decide}.reason IN ({failed}) THEN 'failed' ELSE 'dropped' END"
    )
