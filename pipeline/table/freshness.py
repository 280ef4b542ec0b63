"""Whether something stands: one answer for planning, running, reading and taking down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

SHARD = "ingest"
"""The product that deals the shards: under its name a part's inputs hold the digest of its shard's
own rows."""


@dataclass(frozen=True)
class Due:
    """What something must have been made from to stand today.

    `policy` is what decides which rows are measured, and how a stage deals with a row that it
    refused: it is no part of the fingerprint, for another policy makes only some rows due.
    """

    fingerprint: str
    inputs: Mapping[str, str]
    policy: Mapping[str, Any] | None = None


class Record(Protocol):
    """What is on record of how something was made: a sidecar, a manifest, the shards' index."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def inputs(self) -> Mapping[str, str]: ...

    @property
    def policy(self) -> Mapping[str, Any] | None: ...


def why_stale(record: Record | None, due: Due) -> str | None:
    """None if what was made stands; else why not, in words for a user."""
    if record is None:
        return "missing or unfinished"
    if record.fingerprint != due.fingerprint:
        return "its settings changed"
    if changed := changed_inputs(record, due):
        told = ["the list" if name == SHARD else name for name in changed]
        return f"follows {', '.join(told)}"
    if (record.policy or None) != (due.policy or None):
        return "other rows are let in"
    return None


def changed_inputs(record: Record, due: Due) -> list[str]:
    """Names of the inputs that are others than those on record."""
    names = [*due.inputs, *(name for name in record.inputs if name not in due.inputs)]
    return [name for name in names if record.inputs.get(name) != due.inputs.get(name)]
