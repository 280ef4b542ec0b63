"""How each measurement is spread over kept and other rows, counted inside DuckDB."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from pipeline.inspect.rules import ShownRule, Threshold
from pipeline.inspect.view import quote

BINS = 40
SAMPLED = 200_000
"""Rows from which the ends of an axis are reckoned; the counts are of all rows."""
LONG_TAIL = 20
"""A whole-number column whose upper end is this many times its median is binned by powers."""
_NUMERIC = ("INT", "FLOAT", "DOUBLE", "DECIMAL")
_PLACES = {"shard", "row", "repeats"}


@dataclass(frozen=True)
class Histogram:
    """Counts of one column: `edges` has one more entry than `kept` and `other`."""

    column: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    other: tuple[int, ...]
    nulls: int
    log_x: bool
    lines: tuple[tuple[float, str], ...]
    """Where the rules' thresholds divide, and the rule as text."""
    whole: bool
    cut: bool
    """Whether the outermost bars also hold a long tail beyond them."""


@dataclass(frozen=True)
class _Axis:
    column: str
    low: float
    width: float
    bins: int
    log: bool
    whole: bool
    nulls: int
    cut: bool

    def value(self, step: int) -> float:
        position = self.low + step * self.width
        return float(10**position) if self.log else position

    @property
    def sql(self) -> str:
        """The bin of a value, 0 … bins - 1; rows outside go to the outermost ones."""
        column = f"{quote(self.column)}::DOUBLE"
        position = f"log10(greatest({column}, 1e-300))" if self.log else column
        step = f"floor(({position} - {self.low!r}) / {self.width!r})"
        return f"greatest(0, least({self.bins - 1}, {step}))::INTEGER"


def histograms(
    db: duckdb.DuckDBPyConnection, rules: Sequence[ShownRule]
) -> tuple[list[Histogram], dict[str, float]]:
    """A histogram per numeric column, those with a threshold first; and the constant columns.

    Two passes over `samples`, whatever the number of columns; memory does not grow with the rows.
    """
    described = db.execute("DESCRIBE samples").fetchall()
    types = {str(row[0]): str(row[1]).upper() for row in described}
    columns = [
        name
        for name, kind in types.items()
        if any(word in kind for word in _NUMERIC) and "[" not in kind and name not in _PLACES
    ]
    lines: dict[str, list[tuple[Threshold, str]]] = {}
    for rule in rules:
        for line in rule.thresholds:
            lines.setdefault(line.column, []).append((line, rule.reason))
    spreads = _spreads(db, columns)
    constant = {c: s.low for c, s in spreads.items() if s.low == s.high and c not in lines}
    axes = [
        _axis(name, spreads[name], "INT" in types[name], [line for line, _ in lines.get(name, [])])
        for name in columns
        if name in spreads and name not in constant
    ]
    counts = _count(db, axes)
    found = [_histogram(axis, counts[axis.column], lines.get(axis.column, [])) for axis in axes]
    order = list(lines)
    found.sort(key=lambda h: order.index(h.column) if h.column in order else len(order))
    return found, constant


def _finite(column: str) -> str:
    return f"{quote(column)} IS NOT NULL AND isfinite({quote(column)}::DOUBLE)"


@dataclass(frozen=True)
class _Spread:
    low: float
    middle: float
    high: float
    nulls: int
    cut: bool


def _spreads(db: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> dict[str, _Spread]:
    """The range worth drawing of each column that has values; NaN and infinities count as null."""
    if not columns:
        return {}
    rows = (db.execute("SELECT count(*) FROM samples").fetchone() or (0,))[0]
    every = max(1, rows // SAMPLED)  # shards lie in the order of hashes, so these are drawn fairly
    parts = []
    for name in columns:
        column, only = f"{quote(name)}::DOUBLE", f"FILTER (WHERE {_finite(name)})"
        some = f"FILTER (WHERE row % {every} = 0 AND {_finite(name)})"
        parts.append(
            f"count(*) {only}, min({column}) {only}, "
            f"approx_quantile({column}, [0.002, 0.5, 0.998]) {some}, max({column}) {only}"
        )
    row = db.execute(f"SELECT count(*), {', '.join(parts)} FROM samples").fetchone() or (0,)
    total, rest = row[0], row[1:]
    found = {}
    for i, name in enumerate(columns):
        count, least, quantiles, most = rest[4 * i : 4 * i + 4]
        if count:
            low, middle, high = quantiles or (least, least, most)
            # A column with a long tail is cut at its last 0.2 %; any other is shown whole.
            cut = high > low and most - least > 4 * (high - low)
            low, high = (low, high) if cut else (least, most)
            found[name] = _Spread(low, middle, high, total - count, cut)
    return found


def _axis(name: str, spread: _Spread, whole: bool, lines: Sequence[Threshold]) -> _Axis:
    low, high, nulls, cut = spread.low, spread.high, spread.nulls, spread.cut
    log = whole and low >= 0 and high > LONG_TAIL * max(spread.middle, 1)
    for line in lines:
        low, high = min(low, line.value), max(high, line.value)
    if log:
        start, end = math.log10(max(low, 1)), math.log10(max(high, 2))
        width, bins = (end - start) / (BINS - 1), BINS
    elif whole:
        width = float(max(1, math.ceil((high - low + 1) / BINS)))
        start, bins = low - 0.5, math.ceil((high - low + 1) / width)
    else:
        start, bins = low, BINS
        width = ((high - low) or max(abs(high), 1.0) * 0.1) / (BINS - 1)
    return _aligned(_Axis(name, start, width, bins, log, whole, nulls, cut), lines)


def divide(line: Threshold, whole: bool) -> float:
    """Where a threshold parts the values: between two whole numbers, or at the number itself."""
    if not whole:
        return line.value
    return line.value + (0.5 if line.op in ("<=", ">") else -0.5)


def _aligned(axis: _Axis, lines: Sequence[Threshold]) -> _Axis:
    """The axis moved so that the first threshold is an edge: no bar lies on both sides of it."""
    if not lines:
        return axis
    at = divide(lines[0], axis.whole)
    if axis.log:
        at = math.log10(max(at, 0.5))
    steps = math.ceil((at - axis.low) / axis.width - 1e-9)
    low = at - steps * axis.width
    extra = 1 if low < axis.low - 1e-12 and axis.whole and not axis.log else 0
    return replace(axis, low=low, bins=axis.bins + extra)


def _count(
    db: duckdb.DuckDBPyConnection, axes: Sequence[_Axis]
) -> dict[str, dict[bool, Mapping[int, int]]]:
    found: dict[str, dict[bool, Mapping[int, int]]] = {axis.column: {} for axis in axes}
    if not axes:
        return found
    parts = [f"histogram({a.sql}) FILTER (WHERE {_finite(a.column)})" for a in axes]
    query = f"SELECT verdict = 'kept', {', '.join(parts)} FROM samples GROUP BY 1"
    for kept, *counts in db.execute(query).fetchall():
        for axis, bins in zip(axes, counts, strict=True):
            found[axis.column][bool(kept)] = bins or {}
    return found


def _histogram(
    axis: _Axis, counts: Mapping[bool, Mapping[int, int]],
    lines: Sequence[tuple[Threshold, str]],
) -> Histogram:  # fmt: skip
    def per_bin(kept: bool) -> tuple[int, ...]:
        bins = counts.get(kept, {})
        return tuple(bins.get(i, 0) for i in range(axis.bins))

    texts = tuple((divide(line, axis.whole), f"{reason}: {line}") for line, reason in lines)
    return Histogram(
        axis.column, tuple(axis.value(i) for i in range(axis.bins + 1)), per_bin(True),
        per_bin(False), axis.nulls, axis.log, texts, axis.whole, axis.cut,
    )  # fmt: skip
