"""robots.txt (RFC 9309), by Protego: asked once per origin, before the first picture."""

import codecs
from collections.abc import Callable

from protego import Protego
from urllib3.util import Url

from pipeline.fetch.web.memo import Memo
from pipeline.fetch.web.sockets import clock
from pipeline.fetch.web.status import is_success
from pipeline.words.failure import FetchError

ROBOTS_BYTES = 500 * 1024
"""Section 2.5: crawlers must read at least 500 KiB; what follows is not read."""
ROBOTS_REDIRECTS = 5
"""Section 2.3.1.2: crawlers should follow at least five."""
KEPT = 86_400.0
"""Seconds that a robots.txt is kept (section 2.4: at most a day)."""
KEPT_FAILURE = 300.0
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
Answer = tuple[int, bytes]
"""Status and the body's first `ROBOTS_BYTES`."""


def decoded(body: bytes) -> str:
    """The text of a file that should be UTF-8, and may say by its first bytes that it is UTF-16."""
    for mark, coding in _MARKS:
        if body.startswith(mark) and b"\0" in body[:40]:
            return body[len(mark) :].decode(coding, errors="replace")
    return body.decode("utf-8-sig", errors="replace")


class RobotsTxt:
    """What each origin (scheme, host, port) allows our product token."""

    def __init__(
        self,
        get: Callable[[Url], Answer],
        token: str,
        slow_down: Callable[[Url, float], None] = lambda url, delay: None,
        max_delay: float | None = None,
    ) -> None:
        """`slow_down` is told of a host's Crawl-delay, in seconds between requests; one of more
        than `max_delay` forbids all. If that is None, Crawl-delay is ignored."""
        self._get = get
        self._token = token
        self._slow_down, self._max_delay = slow_down, max_delay
        self._memo: Memo[tuple[str, str, int | None], Protego | FetchError | None] = Memo(10_000)

    def check(self, url: Url) -> None:
        """Raises FetchError: opted_out_robots_txt; robots_txt_unreachable; what a connection can.

        A 4xx allows all (2.3.1.3); a 5xx or no response forbids all (2.3.1.4).
        """
        origin = (url.scheme or "", url.host or "", url.port)
        rules = self._memo.get(origin, lambda: self._ask(url))
        if isinstance(rules, FetchError):
            raise FetchError(rules.reason, rules.detail)
        if rules is not None and not rules.can_fetch(url.url, self._token):
            raise FetchError("opted_out_robots_txt", f"robots.txt of {url.host} forbids it")

    def _ask(self, url: Url) -> tuple[Protego | FetchError | None, float]:
        robots = Url(url.scheme, None, url.host, url.port, "/robots.txt")
        try:
            status, body = self._get(robots)
        except FetchError as error:
            if error.reason in ("redirect_limit", "url_invalid", "scheme_forbidden"):
                return None, KEPT  # section 2.3.1.2: as if there were none
            if clock.waiting == "connection":
                # The picture cannot be fetched either, so it gets the same reason. The failure is
                # not kept here: the state of the host says when to try again.
                raise
            detail = f"robots.txt of {url.host}: {error}"
            return FetchError("robots_txt_unreachable", detail), KEPT_FAILURE
        if status >= 500:
            detail = f"robots.txt of {url.host}: {status}"
            return FetchError("robots_txt_unreachable", detail), KEPT_FAILURE
        if not is_success(status):  # section 2.3.1.1
            return None, KEPT
        rules = Protego.parse(decoded(body).replace("\0", ""))
        delay = rules.crawl_delay(self._token) or 0.0
        if self._max_delay is not None and delay > self._max_delay:
            detail = f"robots.txt of {url.host} asks for {delay:g} s between requests"
            return FetchError("opted_out_robots_txt", detail), KEPT
        if self._max_delay is not None and delay > 0:
            self._slow_down(url, delay)
        return rules, KEPT
