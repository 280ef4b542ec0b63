"""tdmrep.json: what a site reserves from text and data mining, by path; asked once per origin.

W3C TDM Reservation Protocol (Final Community Group Report, 2024), section 6.1. The paths are
patterns as in robots.txt (RFC 9309, 2.2.3). Where several rules match, a reservation by the first
or by the longest of them counts.
"""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from urllib3.util import Url

from pipeline.fetch.web.memo import Memo
from pipeline.fetch.web.robots_txt import KEPT, KEPT_FAILURE, Answer, decoded
from pipeline.fetch.web.sockets import clock
from pipeline.fetch.web.status import is_success
from pipeline.words.failure import FetchError

PATH = "/.well-known/tdmrep.json"
_MOST_RULES = 1_000
_SAID = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
_STATED = re.compile(r"""tdm[-_]reservation["']?\s*[:=]\s*["']?\s*(?:1|true)\b""", re.IGNORECASE)
Rules = list[tuple[str, bool]]
"""Patterns of paths, and whether they are reserved."""


class TdmRep:
    """What each origin (scheme, host, port) reserves. A file that is not there or cannot be read
    reserves nothing."""

    def __init__(self, get: Callable[[Url], Answer]) -> None:
        self._get = get
        self._memo: Memo[tuple[str, str, int | None], Rules] = Memo(10_000)

    def reserves(self, url: Url) -> bool | None:
        """Whether the URL is reserved; None if nothing is said of it. Raises FetchError: what a
        connection can."""
        origin = (url.scheme or "", url.host or "", url.port)
        rules = self._memo.get(origin, lambda: self._ask(url))
        path = normal(url.request_uri)
        found = [(pattern, reserved) for pattern, reserved in rules if matches(pattern, path)]
        if not found:
            return None
        return found[0][1] or max(found, key=lambda rule: len(rule[0]))[1]

    def _ask(self, url: Url) -> tuple[Rules, float]:
        try:
            status, body = self._get(Url(url.scheme, None, url.host, url.port, PATH))
        except FetchError:
            if clock.waiting == "connection":
                raise  # the picture cannot be fetched either, so it gets the same reason
            return [], KEPT_FAILURE
        if status >= 500:
            return [], KEPT_FAILURE
        return (parse_rules(body) if is_success(status) else []), KEPT


def parse_rules(body: bytes) -> Rules:
    """The rules, at most 1,000, of a file that may be written carelessly: one object in place of a
    list, several locations in a rule or none, which is every path, and `"1"` or `true` for 1.

    A file that is no JSON reserves everything if it states a reservation at all, else nothing.
    """
    text = decoded(body)
    try:
        values = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return [("/", True)] if _STATED.search(text) else []
    found: Rules = []
    for rule in (values if isinstance(values, list) else [values])[:_MOST_RULES]:
        if isinstance(rule, dict):
            found += _rules_of(rule)
    return found[:_MOST_RULES]


def _rules_of(rule: dict[str, Any]) -> Rules:
    rule = {name.lower().replace("_", "-").strip(): value for name, value in rule.items()}
    said = _SAID.get(str(rule.get("tdm-reservation")).lower().strip())
    if said is None:
        return []
    places = rule.get("location", "/")
    places = places if isinstance(places, list) else [places]
    return [(normal(at), said) for at in places if isinstance(at, str) and at]


def normal(path: str) -> str:
    """A path or pattern as RFC 9309, 2.2.2 compares them: other than ASCII percent-encoded, what
    needs no encoding decoded, hexadecimal digits in capitals."""

    def of(match: re.Match[str]) -> str:
        letter = chr(int(match[1], 16))
        return (
            letter
            if letter.isascii() and (letter.isalnum() or letter in "-._~")
            else match[0].upper()
        )

    quoted = quote(path.encode(errors="replace"), safe="%/*$?&=+,;:@!'()~[]#")
    return re.sub("%([0-9A-Fa-f]{2})", of, quoted)


def matches(pattern: str, path: str) -> bool:
    """Whether a path begins as the pattern says: `*` is any run of characters, a last `$` the end.

    Linear in the path, whatever the pattern.
    """
    ends = pattern.endswith("$")
    first, *others = (pattern[:-1] if ends else pattern).split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    if ends and not others:
        return at == len(path)
    if ends:
        *others, last = others
        if len(path) - len(last) < at or not path.endswith(last):
            return False
        path = path[: len(path) - len(last)]
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True
