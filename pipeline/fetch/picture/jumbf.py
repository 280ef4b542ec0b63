"""What a C2PA store says of a picture's origin and of its use for training.

The store is not verified: who says that a picture must not be used, or that it was generated, is
believed. Sources: C2PA Technical Specification 2.2; CAWG Training and Data Mining Assertion 1.1;
ISO 19566-5 (JUMBF).
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.fetch.picture.sniff import boxes

_DEEPEST, _MOST_BOXES, _MOST_CBOR = 8, 5_000, 1 << 18
_TRAINING = ("cawg.training-mining", "c2pa.training-mining")
_USES = ("ai_generative_training", "ai_training", "data_mining")
"""Entries that concern the training of a model that makes pictures."""


def assertions(store: bytes) -> Iterator[tuple[str, Any]]:
    """Labels and contents of the assertions of training and of actions, as far as they are read."""
    import cbor2

    budget = [_MOST_BOXES]
    for label, body in _labelled(store, 0, len(store), 0, budget):
        if label.startswith((*_TRAINING, "c2pa.actions")) and len(body) <= _MOST_CBOR:
            with contextlib.suppress(Exception):  # hostile bytes may raise anything
                yield label, cbor2.loads(body)


def _labelled(
    data: bytes, start: int, stop: int, depth: int, budget: list[int]
) -> Iterator[tuple[str, bytes]]:
    """The CBOR boxes with the label of the superbox that they are in."""
    label = ""
    for name, at, end in boxes(data, start, stop):
        budget[0] -= 1
        if budget[0] < 0 or depth > _DEEPEST:
            return
        if name == b"jumb":
            yield from _labelled(data, at, end, depth + 1, budget)
        elif name == b"jumd" and end - at > 17 and data[at + 16] & 2:
            label = data[at + 17 : end].partition(b"\0")[0].decode(errors="replace")
        elif name == b"cbor":
            yield label, data[at:end]


def reserved_use(label: str, content: Any) -> str | None:
    """The use that an assertion of training and mining does not allow without condition."""
    entries = content.get("entries") if isinstance(content, Mapping) else None
    if not label.startswith(_TRAINING) or not isinstance(entries, Mapping):
        return None
    for use in _USES:
        for prefix in ("cawg.", "c2pa."):
            entry = entries.get(prefix + use)
            stated = entry.get("use") if isinstance(entry, Mapping) else None
            if stated in ("notAllowed", "constrained"):
                return f"{prefix}{use}: {stated}"
    return None


def source_types(label: str, content: Any) -> Iterator[str]:
    """The `digitalSourceType` of each action."""
    actions = content.get("actions") if isinstance(content, Mapping) else None
    if label.startswith("c2pa.actions") and isinstance(actions, list):
        for action in actions:
            kind = action.get("digitalSourceType") if isinstance(action, Mapping) else None
            if isinstance(kind, str):
                yield kind
