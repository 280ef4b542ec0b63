"""Makes text from the web safe to show: no control characters, listed words or personal data."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.words.personal.find import KINDS, MASK, masked
from pipeline.words.reasons import UNSHOWN

HIDDEN = "[not shown]"
PERSONAL = tuple(f"pii_{kind}" for kind in KINDS)
"""Columns that count personal data."""
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SPACE = re.compile(r"\s+")


def plain(text: Any, limit: int = 300) -> str:
    """One line without control, format or bidirectional characters, cut to `limit` characters.

    Such characters could change a terminal's colours, reverse the text, or hide a part of it.
    """
    cut = str(text)[: limit * 4]
    line = _SPACE.sub(" ", cut)
    line = "".join(c if unicodedata.category(c) not in _HIDDEN else "\ufffd" for c in line).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_hidden(row: Mapping[str, Any]) -> bool:
    """Whether a row may only be counted and none of its cells shown."""
    words = {row.get("reason"), row.get("fetch_reason"), row.get("input_error")}
    return not UNSHOWN.isdisjoint(words.union(row.get("reasons") or ()))


def shown_caption(row: Mapping[str, Any], limit: int = 300) -> str:
    """The caption as a reader may see it.

    Captions that use the job's word list are withheld, because the list's words are never shown,
    and so are those of hidden rows; personal data that were found are masked.
    """
    if is_hidden(row):
        return HIDDEN
    if row.get("vocabulary_hits"):
        return f"[withheld: uses the job's word list, {row['vocabulary_hits']}×]"
    caption = row.get("caption")
    if caption is None:
        return "[no caption]"
    if not str(caption).strip():
        return "[empty caption]"
    text = str(caption)[: limit * 4]
    if any(row.get(name) for name in PERSONAL):
        text = masked(text)
    return plain(text, limit)


def shown_url(row: Mapping[str, Any], limit: int = 160) -> str:
    """The URL as a reader may see it; only its host where the caption is withheld."""
    if is_hidden(row):
        return HIDDEN
    url = row.get("url")
    if url is None:
        return "[no URL]"
    if row.get("vocabulary_hits"):
        return f"{host_of(str(url))}/{MASK}"
    if not str(url).strip():
        return "[empty URL]"
    return plain(url, limit)


def host_of(url: str) -> str:
    """The URL's host, or "?" where it has none."""
    try:
        return plain(urlsplit(url).hostname or "?", 80)
    except ValueError:
        return "?"


def rows(number: int) -> str:
    return f"{number:,} row" + ("" if number == 1 else "s")


def number(value: Any) -> str:
    """A measurement as text: thousands separated, floats to four significant digits."""
    if value is None:
        return "null"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(value, 80)
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and (abs(value) >= 10_000 or abs(value) < 0.001):
        return f"{value:.3g}"
    return f"{value:.4f}".rstrip("0").rstrip(".")
