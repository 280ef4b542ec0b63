"""urllib3 pools (keep-alive) whose connections go only to addresses that the guard has checked."""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url

from pipeline.fetch.web.addresses import AddressGuard
from pipeline.fetch.web.answer import Answer
from pipeline.fetch.web.hosts import HostGate, HostLimits
from pipeline.fetch.web.sockets import clock, connect, tls_context
from pipeline.words.failure import FetchError


class _Guarded:
    """Mixin for urllib3's connections: resolve once, check, connect to what was checked.

    Host header, SNI and the certificate's name stay those of the URL. Proxies from the
    environment are not used: behind one, no address could be checked.
    """

    response_class: type[Any] = Answer
    guard: AddressGuard
    host: str
    port: int

    def _new_conn(self) -> socket.socket:
        clock.connecting()
        clock.is_fresh = True
        addresses = self.guard.resolve(self.host.strip("[]"), self.port)
        with faults(self.host):
            return connect(addresses, self.port)

    def getresponse(self) -> Any:
        clock.asked()
        response = super().getresponse()  # type: ignore[misc]
        response._original_response.later = response.headers
        clock.answered()
        return response


class _PlainConnection(_Guarded, HTTPConnection):
    def __init__(self, *args: Any, guard: AddressGuard, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guard = guard


class _TLSConnection(_Guarded, HTTPSConnection):
    def __init__(self, *args: Any, guard: AddressGuard, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guard = guard


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class Transport:
    """One GET at a time per thread, no redirects, under the job's limits for each host."""

    def __init__(self, guard: AddressGuard, headers: dict[str, str], limits: HostLimits) -> None:
        self._headers = headers
        self.gate = HostGate(limits)
        self._manager = urllib3.PoolManager(
            num_pools=256, maxsize=limits.per_host, ssl_context=tls_context(), retries=False
        )
        self._manager.pool_classes_by_scheme = {
            "http": partial(_PlainPool, guard=guard),  # type: ignore[dict-item]
            "https": partial(_TLSPool, guard=guard),  # type: ignore[dict-item]
        }

    @contextlib.contextmanager
    def get(self, url: Url) -> Iterator[urllib3.BaseHTTPResponse]:
        """The response, its body not yet read or decoded; after the block the connection is free.

        Raises FetchError for every error of the network, also in the block.
        """
        clock.connecting()
        with self.gate.permit(url.netloc or ""), faults(url.host or ""):
            response = self._ask(url)
            # If the body was read to its end the connection is back in the pool, and closing the
            # response leaves it there; with bytes unread the connection is closed.
            with contextlib.closing(response):
                yield response

    def _ask(self, url: Url) -> urllib3.BaseHTTPResponse:
        pool = self._manager.connection_from_host(url.host, url.port, url.scheme)
        while True:
            clock.is_fresh = False
            wait = urllib3.Timeout(connect=clock.step(), read=clock.step())
            try:
                return pool.urlopen(
                    "GET", url.request_uri, headers=self._headers, timeout=wait, redirect=False,
                    retries=False, preload_content=False, decode_content=False,
                )  # fmt: skip
            except exceptions.ProtocolError:
                # A server may close an idle connection just when we reuse it. That is not a failure
                # (RFC 9112, 9.3.1): the request is sent again on another connection.
                if clock.is_fresh or clock.waiting == "further byte":
                    raise

    def close(self) -> None:
        self._manager.clear()


@contextlib.contextmanager
def faults(host: str) -> Iterator[None]:
    """Turns the errors of urllib3, http.client, ssl and sockets into FetchError with a reason."""
    try:
        yield
    except (exceptions.TimeoutError, TimeoutError):
        clock.left()  # raises its own error if the total deadline has passed
        raise FetchError("timeout", f"{host}: {clock.describe_wait()}", passing=True) from None
    except (exceptions.SSLError, ssl.SSLError) as error:
        raise FetchError("tls_error", f"{host}: {_innermost(error)}") from None
    except (exceptions.ProtocolError, OSError) as error:
        cause = _innermost(error)
        if isinstance(cause, exceptions.IncompleteRead | http.client.IncompleteRead):
            raise FetchError("http_malformed", f"{host}: {cause}") from None
        if isinstance(cause, OSError):
            broke = isinstance(
                cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError
            )
            # Which of these errors the system reports depends on when the server's packets come.
            said = "the server closed the connection without a whole answer" if broke else cause
            raise FetchError("connection_failed", f"{host}: {said}", passing=broke) from None
        raise FetchError("http_malformed", f"{host}: {cause!r}") from None
    except (exceptions.HTTPError, http.client.HTTPException, UnicodeError) as error:
        raise FetchError("http_malformed", f"{host}: {error!r}") from None


def _innermost(error: BaseException) -> BaseException:
    """The exception that urllib3 wrapped, whose message is more specific."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    return error
