"""The list of files that an erasure has to change, written before it changes any.

After half an erasure it is no longer known which parts were up to date before it. So this is
noted first, and an erasure that was killed is continued from the note.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.engine.erase.kinds import kinds
from pipeline.table.run import Run
from pipeline.table.sealed import seal, unseal

NAME = "forgetting.json"


@dataclass(frozen=True)
class Journal:
    """The rows to erase, and for each kind of product what its files hold of them."""

    uids: list[str]
    held: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What the erasure does not remove, in words for a user."""
        noted = (kind.erasure_notes(self.held[name]) for name, kind in kinds().items())
        return [note for some in noted for note in some]

    @property
    def touches(self) -> dict[str, Any]:
        """Counts of the `shards` and `parts` that hold some of the rows, and the `exports`."""
        return {
            "shards": len(self.held["ingest"]),
            "parts": sum(map(len, self.held["stages"]["parts"].values())),
            "exports": sorted(self.held["export"]["exports"]),
        }

    @property
    def takes_something(self) -> bool:
        return any(self.touches.values())

    @classmethod
    def of(cls, run: Run, uids: Sequence[str]) -> "Journal":
        """Look for the rows in every file that may hold them. Changes nothing."""
        return cls(sorted(uids), {name: one.holding(run, uids) for name, one in kinds().items()})

    @classmethod
    def read(cls, run: Run) -> "Journal | None":
        try:
            return cls(**unseal(run.folder.read(NAME)))
        except FileNotFoundError:
            return None

    def write(self, run: Run) -> None:
        run.folder.write(NAME, seal(asdict(self)))
