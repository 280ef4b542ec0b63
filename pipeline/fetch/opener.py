"""The opener that img2dataset's `urllib.request.urlopen` finds: all fetching goes through here.

It has handlers for http and https only, and they are ours, so nothing else (files, FTP, data
URLs, proxies) can be reached, also by img2dataset.
"""

import contextlib
import email.message
import email.utils
import io
import threading
import time
import urllib.request
import urllib.response
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.util import Url

from pipeline.config.download import DownloadConfig
from pipeline.fetch.failure import FetchError
from pipeline.fetch.web.addresses import AddressGuard
from pipeline.fetch.web.body import read_body, skim_body
from pipeline.fetch.web.robots_tag import opt_out
from pipeline.fetch.web.sockets import clock
from pipeline.fetch.web.transport import Transport
from pipeline.fetch.web.urls import check_url, redirect_target

BACK_OFF = 0.5
"""Seconds before the second try; doubled for each further one."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, *range(500, 600)})


class Fetcher:
    """Fetches one URL at a time per thread, under the job's limits. Close it at the end."""

    def __init__(self, config: DownloadConfig) -> None:
        self._config = config
        agent = f"compatible; {config.user_agent_token}"
        if config.user_agent_contact:
            agent += f"; +{config.user_agent_contact}"
        headers = {
            "User-Agent": f"Mozilla/5.0 ({agent})",
            "Accept": "image/webp,image/png,image/jpeg,image/gif;q=0.9,*/*;q=0.1",
            "Accept-Encoding": "identity",
        }
        self._transport = Transport(AddressGuard(config.allow_addresses), headers, config.per_host)

    def fetch(self, text: str) -> bytes:
        """The bytes behind a URL. `download.deadline` covers tries, pauses and redirects together.

        Raises FetchError: any reason of `reasons.FETCH` that a URL, network or server can cause.
        """
        config = self._config
        clock.start(config.deadline, config.timeout)
        url = check_url(text)
        for attempt in range(config.retries + 1):
            try:
                return self._follow(url)
            except FetchError as error:
                if not error.passing or attempt == config.retries:
                    raise
                pause = max(BACK_OFF * 2**attempt, error.wait)
                if pause >= clock.end - time.monotonic():
                    raise
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _follow(self, url: Url) -> bytes:
        seen = {url.url}
        while True:
            with self._transport.get(url) as response:
                self._check_opt_out(response)
                if response.status not in _REDIRECTS:
                    _check_status(response)
                    return read_body(response, self._config.max_bytes)
                location = response.headers.get("Location")
                if location is None:
                    raise FetchError("http_client_error", f"{response.status} without Location")
                url = redirect_target(url, location)
                skim_body(response)
            if url.url in seen:
                raise FetchError("redirect_limit", f"a loop over {len(seen)} addresses")
            if len(seen) > self._config.max_redirects:
                raise FetchError("redirect_limit", f"more than {self._config.max_redirects}")
            seen.add(url.url)

    def _check_opt_out(self, response: urllib3.BaseHTTPResponse) -> None:
        if not self._config.respect_robots_tag or response.status >= 400:
            return
        lines = response.headers.getlist("X-Robots-Tag")
        if word := opt_out(lines, self._config.user_agent_token):
            raise FetchError("opted_out_robots_tag", f"X-Robots-Tag: {word}")

    def close(self) -> None:
        self._transport.close()


def _check_status(response: urllib3.BaseHTTPResponse) -> None:
    status = response.status
    if status == 200:
        return
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
    # What the body of a refusal does is not worth another reason.
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
    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def http_open(self, request: urllib.request.Request) -> Any:
        body = self._fetcher.fetch(request.full_url)
        return urllib.response.addinfourl(
            io.BytesIO(body), email.message.Message(), request.full_url, 200
        )

    https_open = http_open

    def unknown_open(self, request: urllib.request.Request) -> Any:
        raise FetchError("scheme_forbidden", f"`{request.type}`: only http and https are fetched")


_installed = threading.Lock()


@contextlib.contextmanager
def installed(fetcher: Fetcher) -> Iterator[None]:
    """Make every `urllib.request.urlopen` of this process go through the fetcher.

    The opener is the process's, so one shard at a time is fetched in a process (a `net` worker has
    one Dask thread); a second one waits here for the first to end.
    """
    with _installed:
        before = getattr(urllib.request, "_opener", None)
        opener = urllib.request.OpenerDirector()
        opener.add_handler(_Handler(fetcher))
        urllib.request.install_opener(opener)
        try:
            yield
        finally:
            urllib.request.install_opener(before)
