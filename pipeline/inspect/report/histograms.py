"""How each measurement is spread over kept and other rows, counted inside DuckDB."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from pipeline.inspect.rules import ShownRule, Threshold
from pipeline.inspect.view import quote

BINS = 40
LONG_TAIL = 20
"""A whole-number column whose upper end is this many times its median is binned by powers."""
_NUMERIC = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
    "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
)  # fmt: skip
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
class Axis:
    """Equal steps along one column, or along its logarithm."""

    column: str
    low: float
    width: float
    bins: int
    log: bool
    whole: bool
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
        return f"greatest(0, least({self.bins - 1}, {step}))::UTINYINT"


@dataclass
class Spread:
    """A column's finite values: how many rows lack one, the least, and the greatest."""

    nulls: int = 0
    least: float = math.inf
    most: float = -math.inf

    def add(self, other: "Spread") -> None:
        self.nulls += other.nulls
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)


@dataclass
class Bins:
    """What is counted for the histograms, of all rows or of a chunk."""

    spreads: dict[str, Spread] = field(default_factory=dict)
    counts: dict[str, Counter[tuple[bool, int]]] = field(default_factory=dict)
    """By column: rows by whether they are kept and their bin."""

    def has_values(self, column: str) -> bool:
        spread = self.spreads.get(column, Spread())
        return spread.least <= spread.most

    def add(self, other: "Bins") -> None:
        for name, spread in other.spreads.items():
            self.spreads.setdefault(name, Spread()).add(spread)
        for name, counts in other.counts.items():
            self.counts.setdefault(name, Counter()).update(counts)


Lines = Mapping[str, Sequence[tuple[Threshold, str]]]
"""By column: the thresholds on it, each with the reason of its rule."""


def numeric(types: Mapping[str, str]) -> list[str]:
    """The columns worth a histogram, of those with these DuckDB types."""
    return [
        name
        for name, kind in types.items()
        if any(kind.upper().startswith(word) for word in _NUMERIC) and "[" not in kind
        and name not in _PLACES
    ]  # fmt: skip


def lines_of(rules: Sequence[ShownRule]) -> Lines:
    """In the order of the rules."""
    lines: dict[str, list[tuple[Threshold, str]]] = {}
    for rule in rules:
        for line in rule.thresholds:
            lines.setdefault(line.column, []).append((line, rule.reason))
    return lines


def axes_of(db: duckdb.DuckDBPyConnection, types: Mapping[str, str], lines: Lines) -> list[Axis]:
    """An axis for each numeric column that has more than one value in the samples at hand."""
    columns = numeric(types)
    if not columns:
        return []
    parts = []
    for name in columns:
        column, only = f"{quote(name)}::DOUBLE", f"FILTER (WHERE {_finite(name)})"
        parts.append(
            f"min({column}) {only}, approx_quantile({column}, [0.002, 0.5, 0.998]) {only}, "
            f"max({column}) {only}"
        )
    (row,) = db.execute(f"SELECT {', '.join(parts)} FROM samples").fetchall()
    found = []
    for i, name in enumerate(columns):
        least, quantiles, most = row[3 * i : 3 * i + 3]
        if least is not None and least < most:
            found.append(_axis(name, least, quantiles, most, types[name], lines))
    return found


def more_axes(
    axes: Sequence[Axis], spreads: Mapping[str, Spread], types: Mapping[str, str], lines: Lines
) -> list[Axis]:
    """An axis for each column that has none yet, though all rows together have values to draw."""
    have = {axis.column for axis in axes}
    return [
        _axis(name, spread.least, None, spread.most, types[name], lines)
        for name, spread in spreads.items()
        if name not in have
        and (spread.least < spread.most or (spread.least == spread.most and name in lines))
    ]


def count_bins(
    db: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], axes: Sequence[Axis]
) -> Bins:
    """The spread of these columns over a table's rows, and their bins where there is an axis.

    NaN and infinities count as null. The table has the columns and `verdict`.
    """
    found = Bins(_spreads(db, table, columns) if columns else {})
    for axis in axes:
        rows = db.execute(
            f"SELECT verdict = 'kept', {axis.sql}, count(*) FROM {table} "
            f"WHERE {_finite(axis.column)} GROUP BY ALL"
        ).fetchall()
        found.counts[axis.column] = Counter({(kept, at): count for kept, at, count in rows})
    return found


def _spreads(
    db: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]
) -> dict[str, Spread]:
    parts = [
        f"count(*) FILTER (WHERE NOT ({_finite(name)})), "
        f"min({quote(name)}::DOUBLE) FILTER (WHERE {_finite(name)}), "
        f"max({quote(name)}::DOUBLE) FILTER (WHERE {_finite(name)})"
        for name in columns
    ]
    (row,) = db.execute(f"SELECT {', '.join(parts)} FROM {table}").fetchall()
    found = {}
    for i, name in enumerate(columns):
        nulls, least, most = row[3 * i : 3 * i + 3]
        found[name] = Spread(nulls) if least is None else Spread(nulls, least, most)
    return found


def histograms(
    axes: Sequence[Axis], bins: Bins, lines: Lines
) -> tuple[list[Histogram], dict[str, float]]:
    """A histogram per axis, those with a threshold first; and the columns of one value."""
    spreads = {name: s for name, s in bins.spreads.items() if s.least <= s.most}
    constant = {c: s.least for c, s in spreads.items() if s.least == s.most and c not in lines}
    found = [
        _histogram(axis, spreads[axis.column], bins.counts[axis.column], lines)
        for axis in axes
        if axis.column in spreads and axis.column not in constant
    ]
    order = list(lines)
    found.sort(key=lambda h: order.index(h.column) if h.column in order else len(order))
    return found, constant


def _finite(column: str) -> str:
    return f"({quote(column)} IS NOT NULL AND isfinite({quote(column)}::DOUBLE))"


def _axis(
    name: str, least: float, quantiles: Sequence[float] | None, most: float, kind: str,
    all_lines: Lines,
) -> Axis:  # fmt: skip
    lines = [line for line, _ in all_lines.get(name, ())]
    whole = "INT" in kind.upper()
    low, middle, high = quantiles or (least, least, most)
    # A column with a long tail is cut at its last 0.2 %; any other is shown whole.
    cut = high > low and most - least > 4 * (high - low)
    low, high = (low, high) if cut else (least, most)
    log = whole and low >= 0 and high > LONG_TAIL * max(middle, 1)
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
    return _aligned(Axis(name, start, width, bins, log, whole, cut), lines)


def divide(line: Threshold, whole: bool) -> float:
    """Where a threshold parts the values: between two whole numbers, or at the number itself."""
    if not whole:
        return line.value
    return line.value + (0.5 if line.op in ("<=", ">") else -0.5)


def _aligned(axis: Axis, lines: Sequence[Threshold]) -> Axis:
    """The axis moved so that the first threshold is an edge: no bar is on both sides of it."""
    if not lines:
        return axis
    at = divide(lines[0], axis.whole)
    if axis.log:
        at = math.log10(max(at, 0.5))
    steps = math.ceil((at - axis.low) / axis.width - 1e-9)
    low = at - steps * axis.width
    extra = 1 if low < axis.low - 1e-12 and axis.whole and not axis.log else 0
    return replace(axis, low=low, bins=axis.bins + extra)


def _histogram(
    axis: Axis, spread: Spread, counts: Mapping[tuple[bool, int], int], lines: Lines
) -> Histogram:
    def per_bin(kept: bool) -> tuple[int, ...]:
        return tuple(counts.get((kept, i), 0) for i in range(axis.bins))

    edges = tuple(axis.value(i) for i in range(axis.bins + 1))
    on_it = lines.get(axis.column, ())
    texts = tuple((divide(line, axis.whole), f"{reason}: {line}") for line, reason in on_it)
    near = 1e-9 * max(abs(edges[0]), abs(edges[-1]))
    least = max(spread.least, 1.0) if axis.log else spread.least
    cut = axis.cut or least < edges[0] - near or spread.most > edges[-1] + near
    return Histogram(
        axis.column, edges, per_bin(True), per_bin(False), spread.nulls, axis.log, texts,
        axis.whole, cut,
    )  # fmt: skip
