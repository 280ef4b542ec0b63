"""What a site says about the use of its pictures: the X-Robots-Tag and TDM-Reservation headers.

Sources: Google's description of X-Robots-Tag; DeviantArt's `noai` and `noimageai`; W3C Community
Group, "TDM Reservation Protocol". img2dataset's own reading takes everything before a colon for a
robot's name, so `max-image-preview:large, noai` passes it (rom1504/img2dataset, `is_disallowed`).
Neither has a grammar that sites keep to, so both are read for what was probably meant: where it is
in doubt, use is forbidden.
"""

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Iterator

OPT_OUT = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none", "noml"})
_VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_FOR_ALL = frozenset(
    {"*", "all", "any", "robots", "robot", "bots", "bot", "crawlers", "crawler", "spiders", "ai",
     "user-agent", "useragent", "x-robots-tag", "robots-tag", "content", "directive", "directives",
     "default", "index", "follow", "true"}
)  # fmt: skip
"""Words before a colon that name no robot of their own."""
_DENIED = frozenset({"0", "no", "off", "false"})
_ROBOT = re.compile(r"[a-z*_][\w.*/-]*")  # not `25-Jun-10 15`, which dates hold before a colon
_MARKS = re.compile(r"""["'`()\[\]{}<>]""")
_SPLIT_NO = re.compile(r"\bno[ \t_-]+(?=(?:ai|ml|index|image[ _-]?ai|image[ _-]?index)\b)")


def opt_out(lines: Iterable[str], robot: str) -> str | None:
    """The first directive in a response's X-Robots-Tag lines that forbids use, or None.

    A line may hold several directives and may start, or go on, with a robot's name and a colon:
    what follows applies only to that robot, until the next name or the end of the line.
    `robot` is our product token; `*` applies to all. Quotation marks, other separators, wide
    letters and hyphens (`no-ai`) do not matter.
    """
    robot = robot.lower()
    for line in lines:
        for_us = True
        for item in re.split(r"[,;|\n]", _plain(line)):
            name, colon, rest = (part.strip() for part in item.partition(":"))
            if colon and name not in _VALUED and _word(name) in OPT_OUT:
                # `noai: true` says it as well as `noai` does.
                if for_us and not set(rest.split()) & _DENIED:
                    return _word(name)
                continue
            if not colon:
                words = name.split()
            elif name in _VALUED:
                words = rest.split()[1:]  # `max-image-preview: none` forbids previews, not use
            elif _ROBOT.fullmatch(name):
                named = name.partition("/")[0]
                for_us = named == robot or named in _FOR_ALL
                words = _directives(rest)
            else:
                words = rest.split()
            if for_us:
                for word in words:
                    if _word(word) in OPT_OUT:
                        return _word(word)
    return None


def _plain(line: str) -> str:
    """A line in lower case and compatible letters, without quotation marks and brackets.

    Headers come decoded as Latin-1; where the bytes are UTF-8 they are read as that.
    """
    if not line.isascii():
        with contextlib.suppress(UnicodeError):
            line = line.encode("latin-1").decode()
        line = unicodedata.normalize("NFKC", line)
        line = "".join("-" if unicodedata.category(c) == "Pd" else c for c in line
                       if unicodedata.category(c) != "Cf")  # fmt: skip
    return _SPLIT_NO.sub("no", _MARKS.sub(" ", line.lower())).strip()


def _directives(rest: str) -> Iterator[str]:
    """The words after a robot's name; what follows may have a colon of its own."""
    inner, colon, value = (part.strip() for part in rest.partition(":"))
    if not colon:
        yield from rest.split()
    elif inner in _VALUED:
        yield from value.split()[1:]
    else:
        yield from inner.split()
        yield from value.split()


def _word(word: str) -> str:
    """A directive without the punctuation that is often written into or after it."""
    return word.partition("=")[0].replace("-", "").replace("_", "").strip(".!:/\\")


def reserves_mining(values: Iterable[str]) -> bool:
    """Whether a TDM-Reservation header reserves text and data mining.

    The protocol knows 1 and 0. What is neither (`true`, `yes`, `1; policy`) reserves too, since
    nobody states a reservation to say that there is none; nothing at all does not.
    """
    for value in values:
        for item in re.split(r"[,\n]", _plain(value)):
            words = re.split(r"[;=]", item)[0].split()
            if words and words[0] not in _DENIED and not re.fullmatch(r"0+(\.0*)?", words[0]):
                return True
    return False
