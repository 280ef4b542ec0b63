"""Whether a part stands: one answer for planning, running, reading and taking down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.table import Sidecar

SHARD = "shards"
"""The name under which a part's inputs hold the digest of its shard's own rows."""


@dataclass(frozen=True)
class Due:
    """What a part must have been made from to stand today.

    `policy` is what decides which rows are measured, and how a stage deals with a row that it
    refused: it is no part of the fingerprint, for another policy makes only some rows due.
    """

    fingerprint: str
    inputs: Mapping[str, str]
    policy: Mapping[str, Any] | None = None


def why_stale(sidecar: Sidecar | None, due: Due) -> str | None:
    """None if the part stands; else why not, in words for a user."""
    if sidecar is None:
        return "missing or unfinished"
    if sidecar.fingerprint != due.fingerprint:
        return "its settings changed"
    if changed := changed_inputs(sidecar, due):
        told = ["the list" if name == SHARD else name for name in changed]
        return f"follows {', '.join(told)}"
    if (sidecar.policy or None) != (due.policy or None):
        return "other rows are let in"
    return None


def changed_inputs(sidecar: Sidecar, due: Due) -> list[str]:
    """Names of the inputs that are others than those that the part was made from."""
    names = [*due.inputs, *(name for name in sidecar.inputs if name not in due.inputs)]
    return [name for name in names if sidecar.inputs.get(name) != due.inputs.get(name)]
