"""Hosts and the domains that they belong to, for lists of domains that opted out."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from pipeline.words.failure import FetchError
from pipeline.words.urls import check_url

_PLAIN = re.compile(r"[^\s/@?#:\\%*]+|\[[0-9A-Fa-f:.]+\]")


def host_of(url: str) -> str | None:
    """The URL's host in normal form, for any scheme; None if it has none."""
    try:
        host = check_url(url).host
    except FetchError:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            host = None
    return host.lower().rstrip(".") if host else None


def domain_above(host: str | None, domains: Collection[str]) -> str | None:
    """The domain among these that is the host or that the host is a subdomain of."""
    name = (host or "").rstrip(".").lower()
    while name:
        if name in domains:
            return name
        name = name.partition(".")[2]
    return None


def parse_domain(text: str) -> str:
    """A domain as a user writes it, in the form in which hosts are compared.

    ValueError for anything else.
    """
    host = host_of(f"http://{text}/") if _PLAIN.fullmatch(text) else None
    if not host or ".." in host or host.startswith("."):
        raise ValueError(f"a domain is e.g. example.org, without scheme, not `{text[:80]}`")
    return host
