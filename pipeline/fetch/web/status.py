"""What a response's status and the headers that belong to it mean (RFC 9110, 15)."""

import re

import urllib3

from pipeline.words.failure import FetchError

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes 0-(\d{1,18})/(\d{1,18})")


def is_success(status: int) -> bool:
    """Of the class "successful"."""
    return 200 <= status < 300


def has_whole_body(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the answer is of the class "successful" and its body what was asked for.

    A partial one (206), which was not asked for, may hold the whole all the same.
    """
    if response.status == 206:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        return match is not None and int(match[1]) + 1 == int(match[2])
    return is_success(response.status) and response.status not in (204, 205)


def location_of(response: urllib3.BaseHTTPResponse) -> str | None:
    """The target of a redirect, if one is named. FetchError if two that differ are."""
    if response.status not in REDIRECTS:
        return None
    named = set(response.headers.getlist("Location"))
    if len(named) > 1:
        raise FetchError("http_malformed", "more than one Location")
    return named.pop() if named else None
