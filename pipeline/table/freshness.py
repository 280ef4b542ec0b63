"""Whether something that was made is up to date: one function for all commands that need it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

INGEST = "ingest"
"""The product whose keys are the shards. A part's inputs hold the digest of its shard's rows under
this name."""


@dataclass(frozen=True)
class Expected:
    """What a product must have been made from to be up to date today.

    `policy` holds the settings that decide which rows are measured and which are refused. They are
    not part of the fingerprint, because a change of them makes only some of the rows stale.
    """

    fingerprint: str
    inputs: Mapping[str, str]
    policy: Mapping[str, Any] | None = None


class Record(Protocol):
    """The record of what something was made from: a sidecar, a manifest, the shards' index."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def inputs(self) -> Mapping[str, str]: ...

    @property
    def policy(self) -> Mapping[str, Any] | None: ...


def why_stale(record: Record | None, expected: Expected) -> str | None:
    """None if what was made is up to date; otherwise the reason, in words for a user."""
    if record is None:
        return "missing or unfinished"
    if record.fingerprint != expected.fingerprint:
        return "its settings changed"
    if changed := changed_inputs(record, expected):
        shown = ["the list" if name == INGEST else name for name in changed]
        return f"{', '.join(shown)} changed"
    if (record.policy or None) != (expected.policy or None):
        return "other rows are to be measured"
    return None


def changed_inputs(record: Record, expected: Expected) -> list[str]:
    """Names of the inputs that differ from those on record."""
    names = [*expected.inputs, *(name for name in record.inputs if name not in expected.inputs)]
    return [name for name in names if record.inputs.get(name) != expected.inputs.get(name)]
