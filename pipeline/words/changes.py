"""Since when things are as they are."""

from collections.abc import Mapping
from typing import Any


class Changes:
    """How long each of several things has been as it is now."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Any, float]] = {}

    def note(self, now: float, values: Mapping[str, Any]) -> bool:
        """Whether anything has changed; things that are not in `values` are forgotten."""
        before = self._seen
        self._seen = {
            key: before[key] if key in before and before[key][0] == value else (value, now)
            for key, value in values.items()
        }
        return before != self._seen

    def since(self, key: str) -> float:
        return self._seen[key][1]
