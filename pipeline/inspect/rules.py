"""The job's rules, parsed for display: the columns that each reads and its thresholds."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import duckdb

from pipeline.table.run import Run

_COMPARE = {"<", "<=", ">", ">="}
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ARITHMETIC = {"+", "-", "*", "/", "%", "//", "^", "||", "."}
_KEYWORDS = {"and", "or", "not", "is", "null", "true", "false", "in", "case", "when", "then",
             "else", "end", "between", "like", "ilike", "cast", "as"}  # fmt: skip


@dataclass(frozen=True)
class Threshold:
    """`column op value`, as written in a rule; `op` is one of < <= > >=."""

    column: str
    op: str
    value: float

    def __str__(self) -> str:
        return f"{self.column} {self.op} {self.value:g}"


@dataclass(frozen=True)
class ShownRule:
    """A rule of the job, with the columns it names and the plain comparisons in it."""

    reason: str
    when: str
    if_null: str
    columns: tuple[str, ...]
    thresholds: tuple[Threshold, ...]


def rules_of(run: Run, columns: Collection[str]) -> list[ShownRule]:
    """The rules that gave the verdicts, in their order; `columns` are those of the samples."""
    decide = run.state.get("products", {}).get("decide", {}).get("settings", {})
    rules: list[dict[str, Any]] = decide.get("rules") or run.job.get("rules") or []
    rules = [*decide.get("fetch_rules", ()), *rules]
    return [
        ShownRule(
            rule["reason"], rule["when"], rule.get("if_null", "keep"),
            columns_in(rule["when"], columns), thresholds_in(rule["when"], columns),
        )
        for rule in rules
    ]  # fmt: skip


def columns_in(sql: str, columns: Collection[str]) -> tuple[str, ...]:
    """The columns that an expression names, in its own order."""
    names = {name.casefold(): name for name in columns}
    found = [names[name] for name in map(_identifier, _tokens(sql)) if name in names]
    return tuple(dict.fromkeys(found))


def thresholds_in(sql: str, columns: Collection[str]) -> tuple[Threshold, ...]:
    """Comparisons of a bare column with a number: `a < 1`, `1 >= a`, `a BETWEEN 1 AND 2`.

    A column inside arithmetic or a function call does not count: the number is not a threshold on
    the column's own axis.
    """
    names = {name.casefold(): name for name in columns}
    tokens = _signed([*_tokens(sql)])
    found: list[Threshold] = []

    def at(index: int) -> str:
        return tokens[index] if 0 <= index < len(tokens) else ""

    def bare(first: int, last: int) -> bool:
        return at(first - 1) not in _ARITHMETIC and at(last + 1) not in _ARITHMETIC

    for i, token in enumerate(tokens):
        column = names.get(_identifier(token) or "")
        if column is None or at(i + 1) == "(":
            continue
        value = _number(at(i + 2))
        if at(i + 1) in _COMPARE and value is not None and bare(i, i + 2):
            found.append(Threshold(column, at(i + 1), value))
        value = _number(at(i - 2))
        if at(i - 1) in _COMPARE and value is not None and bare(i - 2, i):
            found.append(Threshold(column, _MIRROR[at(i - 1)], value))
        low, high = _number(at(i + 2)), _number(at(i + 4))
        if at(i + 1).casefold() == "between" and low is not None and high is not None:
            found += [Threshold(column, ">=", low), Threshold(column, "<=", high)]
    return tuple(dict.fromkeys(found))


def _tokens(sql: str) -> list[str]:
    """DuckDB's own tokens, comments left out, operators such as `<=` whole."""
    marks = duckdb.tokenize(sql)
    if not marks:
        return []
    ends = [start for start, _ in marks[1:]] + [len(sql.encode())]
    data = sql.encode()  # DuckDB counts bytes
    tokens: list[str] = []
    previous_end = -1
    for (start, kind), end in zip(marks, ends, strict=True):
        if kind == duckdb.token_type.comment:
            continue
        text = data[start:end].decode(errors="replace").strip()
        if tokens and start == previous_end and tokens[-1] + text in {"<=", ">=", "<>", "!=", "//"}:
            tokens[-1] += text
        else:
            tokens.append(text)
        previous_end = start + len(text.encode())
    return tokens


def _signed(tokens: list[str]) -> list[str]:
    """Minus signs that are not subtractions, joined to their numbers."""
    joined: list[str] = []
    for token in tokens:
        before = joined[-2] if len(joined) > 1 else ""
        signs = before in _COMPARE or before in {"", "("} or before.casefold() in _KEYWORDS
        if joined and joined[-1] == "-" and signs and _number(token) is not None:
            joined[-1] = "-" + token
        else:
            joined.append(token)
    return joined


def _identifier(token: str) -> str | None:
    if token.startswith('"') and token.endswith('"') and len(token) > 1:
        return token[1:-1].replace('""', '"').casefold()
    return token.casefold() if token and (token[0].isalpha() or token[0] == "_") else None


def _number(token: str) -> float | None:
    if not token or token[-1].isalpha() or token.startswith(("'", '"')):
        return None
    try:
        return float(token)
    except ValueError:
        return None
