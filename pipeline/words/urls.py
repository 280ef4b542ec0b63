"""Checks and normalises the URLs that may be fetched."""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from pipeline.words.failure import FetchError

if TYPE_CHECKING:
    from urllib3.util import Url

SCHEMES = ("http", "https")
MAX_URL = 8_000
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PATH = re.compile(r"([^?#]*)([?#]?)(.*)", re.DOTALL)


@lru_cache(maxsize=1 << 15)
def check_url(text: str) -> Url:
    """A URL in normal form (RFC 3986: case, percent-encoding, dots; IDNA host), no fragment.

    Credentials in it are left out: they are not sent. Raises FetchError: url_invalid,
    scheme_forbidden.
    """
    from urllib3.exceptions import LocationParseError
    from urllib3.util import Url, parse_url

    text = text.strip()
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise FetchError("url_invalid", "no http:// or https:// before it")
    if scheme[1].lower() not in SCHEMES:
        raise FetchError("scheme_forbidden", f"`{scheme[1][:40]}`: only http and https are fetched")
    if len(text) > MAX_URL:
        raise FetchError("url_invalid", f"{len(text)} characters (at most {MAX_URL})")
    try:
        url = parse_url(text)
    except LocationParseError as error:
        raise FetchError("url_invalid", str(error)) from None
    if not url.host:
        raise FetchError("url_invalid", "no host")
    return Url(url.scheme, None, url.host, url.port, url.path or "/", url.query)


def redirect_target(base: Url, location: str) -> Url:
    """The URL of a `Location` header, relative to `base`; the same checks as for any URL.

    Its bytes, decoded as Latin-1 in `location`, are UTF-8 where they can be, and backslashes in the
    path are slashes (WHATWG URL standard, 4.4), as in browsers.
    """
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode()
    path, mark, rest = _PATH.fullmatch(location.strip()).groups()  # type: ignore[union-attr]
    try:
        joined = urljoin(base.url, path.replace("\\", "/") + mark + rest)
    except ValueError as error:
        raise FetchError("url_invalid", f"redirect to {location!r}: {error}") from None
    try:
        return check_url(joined)
    except FetchError as error:
        raise FetchError(error.reason, f"redirect to {location!r}: {error.detail}") from None
