"""Resolves names to addresses, once within an answer's time to live, for all connections.

The system's resolver does not report the time to live, so DNS servers are queried directly
(dnspython). The system still resolves what is not DNS: numeric addresses in all their spellings,
the hosts file, `localhost` and names without a dot.
"""

import logging
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from pipeline.config.download import split_nameserver
from pipeline.fetch.web.memo import Memo
from pipeline.words.failure import FetchError

HOSTS_FILE = Path("/etc/hosts")
MAX_TTL = 86_400.0
NO_SUCH_NAME = 300.0
"""Seconds that a name's absence is remembered at most (RFC 2308 lets its zone say how long)."""
_REREAD = 10.0
_LOCAL = ("localhost", "local")
Found = tuple[str, ...]


class Resolver:
    """Looks names up and keeps the answers, for all threads of the process."""

    def __init__(self, nameservers: Sequence[str], lifetime: float) -> None:
        self._dns = _dns(nameservers, lifetime)
        self._memo: Memo[str, Found] = Memo(100_000)
        self._hosts: frozenset[str] = frozenset()
        self._reread = 0.0

    def lookup(self, host: str, port: int) -> Found:
        """Addresses of a host, at least one; IPv6 ones only where there is no IPv4 one.

        Raises FetchError (dns_failure).
        """
        try:
            return _system(host, port, socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass  # not a numeric address
        except (UnicodeError, ValueError) as error:
            raise FetchError("dns_failure", f"{host}: {error}") from None
        name = host.rstrip(".").lower()
        if self._dns is None or "." not in name or name in self._hosts_file() or _is_local(name):
            try:
                return _system(host, port, 0)
            except socket.gaierror as error:
                passing = error.errno == socket.EAI_AGAIN
                detail = f"{host}: {error.strerror}"
                raise FetchError("dns_failure", detail, passing=passing) from None
            except (UnicodeError, ValueError) as error:
                raise FetchError("dns_failure", f"{host}: {error}") from None
        found = self._memo.get(name, lambda: self._ask(name))
        if not found:
            raise FetchError("dns_failure", f"{host}: no such name, or no address")
        return found

    def _ask(self, name: str) -> tuple[Found, float]:
        """Addresses and how many seconds they hold; none where the name has none."""
        keep = MAX_TTL
        for kind in ("A", "AAAA"):
            try:
                answer = self._dns.resolve(
                    dns.name.from_text(name), kind, search=False, raise_on_no_answer=False
                )
            except dns.resolver.NXDOMAIN as error:
                return (), min(NO_SUCH_NAME, _negative_ttl(error))
            except (dns.exception.DNSException, OSError, UnicodeError) as error:
                raise FetchError("dns_failure", f"{name}: {_said(error)}", passing=True) from None
            chain = answer.chaining_result
            keep = min(keep, float(chain.minimum_ttl))
            if answer.rrset:
                return tuple(str(record) for record in answer.rrset), keep
        return (), min(NO_SUCH_NAME, keep)

    def _hosts_file(self) -> frozenset[str]:
        """Names of the hosts file, read again now and then."""
        if time.monotonic() >= self._reread:
            self._reread = time.monotonic() + _REREAD
            self._hosts = _names_of(HOSTS_FILE)
        return self._hosts


def _said(error: Exception) -> str:
    """What went wrong, without the servers' addresses and the time that it took."""
    if isinstance(error, dns.exception.Timeout):
        return "no DNS server answered in time"
    if isinstance(error, dns.resolver.NoNameservers):
        answers = {str(entry[3]).rstrip(".") for entry in error.kwargs.get("errors", ())}
        return f"the DNS servers gave no answer: {', '.join(sorted(answers))}"
    return " ".join(str(error).split()) or type(error).__name__


def _names_of(file: Path) -> frozenset[str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        name.rstrip(".").lower() for line in lines for name in line.partition("#")[0].split()[1:]
    )


def _is_local(name: str) -> bool:
    return name.rpartition(".")[2] in _LOCAL


def _system(host: str, port: int, flags: int) -> Found:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _dns(nameservers: Sequence[str], lifetime: float) -> Any:
    """dnspython's resolver; None, with a warning, if this machine has no DNS server configured."""
    if nameservers:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(*split_nameserver(text)) for text in nameservers
        ]
    else:
        try:
            resolver = dns.resolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            logging.getLogger("winnow").warning(
                "no DNS server is configured here: names go to the system's resolver, uncached"
            )
            return None
    resolver.lifetime = lifetime
    resolver.timeout = max(lifetime / 2, 0.1)
    return resolver


def _negative_ttl(error: Any) -> float:
    """Seconds that a zone lets its "no such name" be remembered (RFC 2308, section 5)."""
    try:
        responses = list(error.responses().values())
        return min(float(r.resolve_chaining().minimum_ttl) for r in responses)
    except (dns.exception.DNSException, ValueError):
        return 0.0
