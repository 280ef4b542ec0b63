"""The opener behind `urllib.request.urlopen`, which img2dataset calls: all fetching passes here.

It has handlers for http and https only, and they are ours, so nothing else (files, FTP, data
URLs, proxies) can be reached, also by img2dataset.
"""

import contextlib
import email.message
import email.utils
import io
import random
import time
import urllib.request
import urllib.response
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import urllib3
from urllib3.util import Url

from pipeline.config.download import DownloadConfig
from pipeline.fetch.lists import read_domains
from pipeline.fetch.seen import Seen
from pipeline.fetch.web.addresses import AddressGuard
from pipeline.fetch.web.body import read_body, read_start, skim_body
from pipeline.fetch.web.hosts import HostLimiter, HostLimits
from pipeline.fetch.web.resolve import Resolver
from pipeline.fetch.web.robots_tag import opt_out, reserves_mining
from pipeline.fetch.web.robots_txt import ROBOTS_BYTES, ROBOTS_REDIRECTS, RobotsTxt
from pipeline.fetch.web.sockets import WaitLimits, clock
from pipeline.fetch.web.transport import Transport
from pipeline.words.failure import FetchError
from pipeline.words.urls import check_url, redirect_target

T = TypeVar("T")
BACK_OFF = 0.5
"""Least seconds before the second try; doubled for each further one, and for jitter."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, *range(500, 600)})


class Fetcher:
    """Fetches one URL at a time per thread, under the job's limits. Lives as long as its process.

    What it learns of hosts (addresses, robots.txt, failures, open connections) serves all shards.
    InputError for a list of domains that cannot be read.
    """

    def __init__(self, config: DownloadConfig) -> None:
        self._config = config
        self._limits = WaitLimits.of(config)
        agent = f"compatible; {config.user_agent_token}"
        if config.user_agent_contact:
            agent += f"; +{config.user_agent_contact}"
        headers = {
            "User-Agent": f"Mozilla/5.0 ({agent})",
            "Accept": ",".join([*(f"image/{form}" for form in config.formats), "*/*;q=0.1"]),
            "Accept-Encoding": "identity",
        }
        resolver = Resolver(config.nameservers, config.connect_timeout)
        guard = AddressGuard(resolver, config.allow_addresses)
        self._transport = Transport(guard, headers, HostLimits.of(config))
        self._domains = read_domains(config.opted_out_domains)
        self._robots = RobotsTxt(self._get_robots_txt, config.user_agent_token)

    def use_limiter(self, limiter: HostLimiter | None) -> None:
        """Ask a limiter shared with other processes; None: this process's own."""
        self._transport.gate.use(limiter)

    @property
    def held_back(self) -> float:
        """Seconds, over all threads, for which the job's own limits held requests back."""
        return self._transport.gate.waited

    def fetch(self, text: str, seen: Seen | None = None) -> bytes:
        """The bytes behind a URL. `download.deadline` covers tries, pauses and redirects together.

        `seen` is filled with what was said about their use, also where that is not heeded.

        Raises FetchError: any reason of `reasons.FETCH` that a URL, network or server can cause.
        """
        clock.start(self._limits)
        url = check_url(text)
        seen = seen if seen is not None else Seen()
        check, heed = partial(self._check_use, seen), partial(self._heed, seen)
        return self._try(lambda: self._walk(url, check, heed, self._take_picture))

    def _try(self, work: Callable[[], T]) -> T:
        """Do the work again after passing failures, as often and as late as the job allows."""
        for attempt in range(self._config.retries + 1):
            try:
                return work()
            except FetchError as error:
                if not error.passing or attempt == self._config.retries:
                    raise
                # The jitter spreads the retries of requests that failed at the same time.
                pause = max(BACK_OFF * 2**attempt * random.uniform(1, 2), error.wait)
                if pause >= clock.end - time.monotonic():
                    raise
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _walk(
        self,
        url: Url,
        check: Callable[[Url], None],
        heed: Callable[[urllib3.BaseHTTPResponse], None],
        take: Callable[[urllib3.BaseHTTPResponse], T],
        most: int | None = None,
    ) -> T:
        """Follow redirects from `url` to an answer that is none, and take it.

        Each address is checked before it is asked, and each answer's wishes are heeded.
        """
        most = self._config.max_redirects if most is None else most
        seen = {url.url}
        while True:
            check(url)
            with self._transport.get(url) as response:
                heed(response)
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    return take(response)
                url = redirect_target(url, location)
                skim_body(response)
            if url.url in seen:
                raise FetchError("redirect_limit", f"a loop over {len(seen)} addresses")
            if len(seen) > most:
                raise FetchError("redirect_limit", f"more than {most}")
            seen.add(url.url)

    def _check_use(self, seen: Seen, url: Url) -> None:
        """Whether the URL may be asked for at all, by the job's list and the site's robots.txt."""
        self._check_domain(url, seen)
        if self._config.respect_robots_txt:
            try:
                self._robots.check(url)
            except FetchError as error:
                forbids = error.reason == "opted_out_robots_txt"
                seen.robots_txt = "forbidden" if forbids else None
                raise
            seen.robots_txt = "allowed"

    def _check_domain(self, url: Url, seen: Seen | None = None) -> None:
        if domain := self._domains.match(url.host or ""):
            if seen is not None:
                seen.listed = f"domain:{domain}"
            raise FetchError("opted_out_domain", f"{domain} is on the job's list")

    def _take_picture(self, response: urllib3.BaseHTTPResponse) -> bytes:
        _check_status(response)
        return read_body(response, self._config.max_bytes)

    def _heed(self, seen: Seen, response: urllib3.BaseHTTPResponse) -> None:
        if response.status >= 400:
            return
        config = self._config
        tags = response.headers.getlist("X-Robots-Tag")
        reserved = reserves_mining(response.headers.getlist("TDM-Reservation"))
        seen.robots_tag = seen.robots_tag or opt_out(tags, config.user_agent_token)
        seen.tdm_reservation = seen.tdm_reservation or reserved
        if config.respect_robots_tag and seen.robots_tag:
            raise FetchError("opted_out_robots_tag", f"X-Robots-Tag: {seen.robots_tag}")
        if config.respect_tdm_reservation and seen.tdm_reservation:
            raise FetchError("opted_out_tdm", "TDM-Reservation: 1")

    def _get_robots_txt(self, url: Url) -> tuple[int, bytes]:
        with clock.aside():
            walk = partial(self._walk, url, self._check_domain, _heed_nothing, _take_robots_txt)
            return self._try(lambda: walk(ROBOTS_REDIRECTS))

    def close(self) -> None:
        self._transport.close()


def _heed_nothing(response: urllib3.BaseHTTPResponse) -> None:
    """Opt-outs in headers concern pictures; a robots.txt is read whatever its headers say."""


def _take_robots_txt(response: urllib3.BaseHTTPResponse) -> tuple[int, bytes]:
    if response.status >= 500:
        _check_status(response)
    return response.status, read_start(response, ROBOTS_BYTES)


def _check_status(response: urllib3.BaseHTTPResponse) -> None:
    status = response.status
    if status == 200:
        return
    if status in _REDIRECTS:
        raise FetchError("http_client_error", f"{status} without Location")
    if status in (404, 410):
        reason = "http_not_found"
    elif status in (401, 403, 451):
        reason = "http_forbidden"
    elif status == 429:
        reason = "http_rate_limited"
    elif status >= 500:
        reason = "http_server_error"
    else:
        reason = "http_client_error"
    wait = retry_after(response.headers.get("Retry-After", ""))
    # The status is the row's reason, whatever goes wrong in reading the body.
    with contextlib.suppress(FetchError, urllib3.exceptions.HTTPError, OSError):
        skim_body(response)
    said = f"{status} {response.reason or ''}".strip()
    raise FetchError(reason, said, passing=status in _PASSING, wait=wait)


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header (RFC 9110 10.2.3: seconds or a date) asks for, else 0."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        then = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, then.timestamp() - time.time())


class _Handler(urllib.request.BaseHandler):
    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch

    def http_open(self, request: urllib.request.Request) -> Any:
        body = self._fetch(request.full_url)
        return urllib.response.addinfourl(
            io.BytesIO(body), email.message.Message(), request.full_url, 200
        )

    https_open = http_open

    def unknown_open(self, request: urllib.request.Request) -> Any:
        raise FetchError("scheme_forbidden", f"`{request.type}`: only http and https are fetched")


@contextlib.contextmanager
def installed(fetch: Callable[[str], bytes]) -> Iterator[None]:
    """Make every `urllib.request.urlopen` of this process go through `fetch`."""
    before = getattr(urllib.request, "_opener", None)
    opener = urllib.request.OpenerDirector()
    opener.add_handler(_Handler(fetch))
    urllib.request.install_opener(opener)
    try:
        yield
    finally:
        urllib.request.install_opener(before)
