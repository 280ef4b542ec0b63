"""In what arithmetic a network ran, in words."""

from collections.abc import Mapping
from typing import Any


def arithmetic_lines(provenance: Mapping[str, Any]) -> list[str]:
    """A sentence for each network of `arithmetic` in a run's `provenance.json`."""
    return [_line(one) for one in provenance.get("arithmetic", ())]


def _line(one: Mapping[str, Any]) -> str:
    line = f"{one['stage']}, {one['network']}: {one['precision']} by {one['engine']}"
    if one.get("speed") is not None:
        line += f", chosen as {one['speed']:.1f} times as fast as fp32, with "
        if one.get("cosine") is not None:
            line += f"vectors whose least cosine with those of fp32 is {one['cosine']:.5f}"
        else:
            line += f"scores that differ from those of fp32 by at most {one['difference']:.4f}"
    return f"{line}. {one['note']}." if one.get("note") else f"{line}."
