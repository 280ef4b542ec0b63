"""Rows as the readers give them, before their cells are converted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.ingest.samples import ADDRESS
from pipeline.table.stored import INTERNAL

OWN = (INTERNAL, ADDRESS)
"""The columns that files with pictures have by themselves."""


@dataclass(frozen=True)
class Raw:
    """Rows as read: values by column (Arrow arrays from Parquet, texts as bytes), and the lines
    that could not be parsed."""

    rows: int
    columns: Mapping[str, Sequence[Any]]
    broken: list[str]
    own: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of files that hold pictures: their places (INTERNAL) and addresses (ADDRESS). Kept apart, so
    that no key of a list can pass for them."""

    cut: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Rows of which a column's cell was beyond `bounds.LONGEST`, so that only its start is here."""

    def column(self, name: str) -> Sequence[Any]:
        """The cells of a column, null where the file has none."""
        found = self.own if name in OWN else self.columns
        return found.get(name, [None] * self.rows)


class ByKey(Mapping[str, Sequence[Any]]):
    """The columns of rows with keys, each made when it is asked for: rows may have any number of
    keys, of which a list uses few."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows
        self._names: dict[str, None] | None = None

    def __getitem__(self, name: str) -> Sequence[Any]:
        if name not in self._keys():
            raise KeyError(name)
        return [row.get(name) for row in self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> dict[str, None]:
        if self._names is None:
            self._names = dict.fromkeys(name for row in self._rows for name in row)
        return self._names
