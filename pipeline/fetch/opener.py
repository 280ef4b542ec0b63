"""The opener behind `urllib.request.urlopen`, which img2dataset calls: it does all fetching.

It has handlers for http and https only, both ours, and for the numbers that `downloader` gives to
files below allowed folders; so img2dataset cannot reach anything else (files, FTP, data URLs,
proxies).
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
from pipeline.fetch.opt_outs import OptOuts
from pipeline.fetch.web.addresses import AddressGuard
from pipeline.fetch.web.body import read_body, read_start, skim_body
from pipeline.fetch.web.hosts import HostLimiter, HostLimits
from pipeline.fetch.web.resolve import Resolver
from pipeline.fetch.web.robots_tag import opt_out, reserves_mining
from pipeline.fetch.web.robots_txt import ROBOTS_BYTES, ROBOTS_REDIRECTS, RobotsTxt
from pipeline.fetch.web.sockets import WaitLimits, clock
from pipeline.fetch.web.status import REDIRECTS, has_whole_body, is_success, location_of
from pipeline.fetch.web.tdmrep import TdmRep
from pipeline.fetch.web.transport import Transport
from pipeline.words.failure import FetchError
from pipeline.words.urls import check_url, redirect_target

T = TypeVar("T")
BACK_OFF = 0.5
"""Least seconds before the second try; doubled for each further one, and for jitter."""
_PASSING = frozenset({408, 425, 429, *range(500, 600)})


class Fetcher:
    """Fetches one URL at a time per thread, under the job's limits. Lives as long as its process.

    What it learns of hosts (addresses, robots.txt, failures, connections) is kept between shards.
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
        gate = self._transport.gate
        self._robots = RobotsTxt(
            self._get_statement,
            config.user_agent_token,
            lambda url, delay: gate.slow_down(url.netloc or "", delay),
            config.max_crawl_delay,
        )
        self._tdmrep = TdmRep(self._get_statement)

    def use_limiter(self, limiter: HostLimiter | None) -> None:
        """Use a limiter shared with other processes; None: this process's own."""
        self._transport.gate.use(limiter)

    @property
    def held_back(self) -> float:
        """Seconds, over all threads, for which the job's own limits held requests back."""
        return self._transport.gate.waited

    def fetch(self, text: str, opt_outs: OptOuts | None = None) -> bytes:
        """The bytes behind a URL. `download.deadline` covers tries, pauses and redirects together.

        `opt_outs` is filled with what was said about their use, also where it is not respected.

        Raises FetchError: any reason of `reasons.FETCH` that a URL, network or server can cause.
        """
        clock.start(self._limits)
        url = check_url(text)
        opt_outs = opt_outs if opt_outs is not None else OptOuts()
        check, check_headers = (
            partial(self._check_use, opt_outs),
            partial(self._check_headers, opt_outs),
        )
        return self._try(lambda: self._follow(url, check, check_headers, self._take_picture))

    def _try(self, work: Callable[[], T]) -> T:
        """Repeat the work after passing failures, within the job's `retries` and `deadline`."""
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

    def _follow(
        self,
        url: Url,
        check: Callable[[Url], None],
        check_headers: Callable[[urllib3.BaseHTTPResponse], None],
        take: Callable[[urllib3.BaseHTTPResponse], T],
        most: int | None = None,
    ) -> T:
        """Follow redirects from `url`; what `take` makes of the first response that is none.

        `check` is called before each request, `check_headers` with each response.
        """
        most = self._config.max_redirects if most is None else most
        visited = {url.url}
        while True:
            check(url)
            with self._transport.get(url) as response:
                check_headers(response)
                location = location_of(response)
                if response.status not in REDIRECTS or location is None:
                    taken = take(response)
                    check_headers(response)  # again, for those in the trailers
                    return taken
                url = redirect_target(url, location)
                skim_body(response)
                check_headers(response)
            if url.url in visited:
                raise FetchError("redirect_limit", f"a loop over {len(visited)} addresses")
            if len(visited) > most:
                raise FetchError("redirect_limit", f"more than {most}")
            visited.add(url.url)

    def _check_use(self, opt_outs: OptOuts, url: Url) -> None:
        """FetchError if the job's list of domains or the site's robots.txt forbids the request."""
        self.refuse_host(url.host or "", opt_outs)
        if self._config.respect_robots_txt:
            try:
                self._robots.check(url)
            except FetchError as error:
                forbids = error.reason == "opted_out_robots_txt"
                opt_outs.robots_txt = "forbidden" if forbids else None
                raise
            opt_outs.robots_txt = "allowed"
        config = self._config
        if config.respect_tdm_reservation and config.tdmrep_json and self._tdmrep.reserves(url):
            opt_outs.tdm_reservation = True
            raise FetchError("opted_out_tdm", f"tdmrep.json of {url.host} reserves it")

    def refuse_host(self, host: str, opt_outs: OptOuts | None = None) -> None:
        """FetchError (opted_out_domain) if the job's list names its domain; noted in `opt_outs`."""
        if domain := self._domains.match(host):
            if opt_outs is not None:
                opt_outs.listed = f"domain:{domain}"
            raise FetchError("opted_out_domain", f"{domain} is on the job's list")

    def _take_picture(self, response: urllib3.BaseHTTPResponse) -> bytes:
        _check_status(response)
        return read_body(response, self._config.max_bytes)

    def _check_headers(self, opt_outs: OptOuts, response: urllib3.BaseHTTPResponse) -> None:
        if response.status >= 400:
            return
        config = self._config
        tags = response.headers.getlist("X-Robots-Tag")
        reserved = reserves_mining(response.headers.getlist("TDM-Reservation"))
        opt_outs.robots_tag = opt_outs.robots_tag or opt_out(tags, config.user_agent_token)
        opt_outs.tdm_reservation = opt_outs.tdm_reservation or reserved
        if config.respect_robots_tag and opt_outs.robots_tag:
            raise FetchError("opted_out_robots_tag", f"X-Robots-Tag: {opt_outs.robots_tag}")
        if config.respect_tdm_reservation and opt_outs.tdm_reservation:
            raise FetchError("opted_out_tdm", "TDM-Reservation: 1")

    def _get_statement(self, url: Url) -> tuple[int, bytes]:
        with clock.own_deadline():
            follow = partial(
                self._follow,
                url,
                lambda at: self.refuse_host(at.host or ""),
                _ignore_headers,
                _take_robots_txt,
            )
            return self._try(lambda: follow(ROBOTS_REDIRECTS))

    def close(self) -> None:
        self._transport.close()


def _ignore_headers(response: urllib3.BaseHTTPResponse) -> None:
    """Opt-outs in headers concern pictures, so those of a robots.txt are not checked."""


def _take_robots_txt(response: urllib3.BaseHTTPResponse) -> tuple[int, bytes]:
    if response.status >= 500:
        _check_status(response)
    if is_success(response.status):
        return response.status, read_start(response, ROBOTS_BYTES)
    skim_body(response)
    return response.status, b""


def _check_status(response: urllib3.BaseHTTPResponse) -> None:
    status = response.status
    if has_whole_body(response):
        return
    if status in REDIRECTS:
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
    path_open = http_open

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
