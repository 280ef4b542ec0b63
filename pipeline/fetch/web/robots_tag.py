"""What a site says about the use of its pictures: the X-Robots-Tag and TDM-Reservation headers.

Sources: Google's description of X-Robots-Tag; DeviantArt's `noai` and `noimageai`. img2dataset's
own reading takes everything before a colon for a robot's name, so `max-image-preview:large, noai`
passes it (rom1504/img2dataset, `is_disallowed`). W3C Community Group, "TDM Reservation Protocol".
"""

import re
from collections.abc import Iterable

OPT_OUT = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none", "noml"})
_VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_ROBOT = re.compile(r"[a-z*_][\w.*/-]*")  # not `25-Jun-10 15`, which dates hold before a colon


def opt_out(lines: Iterable[str], robot: str) -> str | None:
    """The first directive in a response's X-Robots-Tag lines that forbids use, or None.

    A line may hold several directives and may start, or go on, with a robot's name and a colon:
    what follows applies only to that robot, until the next name or the end of the line.
    `robot` is our product token; `*` applies to all.
    """
    robot = robot.lower()
    for line in lines:
        for_us = True
        for item in re.split(r"[,;]", line.lower()):
            name, colon, rest = (part.strip() for part in item.partition(":"))
            if not colon:
                words = name.split()
            elif name in _VALUED:
                words = rest.split()[1:]  # `max-image-preview: none` forbids previews, not use
            elif _ROBOT.fullmatch(name):
                for_us = name.partition("/")[0] in ("*", robot)
                inner, inner_colon, value = rest.partition(":")
                valued = inner_colon and inner.strip() in _VALUED
                words = value.split()[1:] if valued else rest.split()
            else:
                words = rest.split()
            if for_us:
                for word in words:
                    if word in OPT_OUT:
                        return word
    return None


def reserves_mining(values: Iterable[str]) -> bool:
    """Whether a TDM-Reservation header reserves text and data mining: it says 1."""
    return any(item.strip() == "1" for value in values for item in value.split(","))
