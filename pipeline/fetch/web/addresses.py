"""Which addresses may be reached: URLs from the web must not lead to the private network."""

import ipaddress
from collections.abc import Sequence

from pipeline.fetch.web.resolve import Resolver
from pipeline.words.failure import FetchError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Networks of IANA's special-purpose registries (RFC 6890 and successors) that the standard library
# of some supported Python calls global, or that contain other addresses.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "198.18.0.0/15",  # benchmarks
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation, RFC 9637
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks in CIDR or single addresses. ValueError names the first that is neither."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet's unicast addresses.

    IPv6 addresses that carry an IPv4 one (mapped, NAT64 RFC 6052, 6to4 RFC 3056) are judged by it.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class AddressGuard:
    """Lets through only addresses that are public or on the job's list."""

    def __init__(self, resolver: Resolver, allowed: Sequence[str] = ()) -> None:
        self._resolver = resolver
        self._allowed = parse_networks(allowed)

    def permits(self, address: Address) -> bool:
        if any(a.version == address.version and address in a for a in self._allowed):
            return True
        return is_public(address)

    def resolve(self, host: str, port: int) -> list[str]:
        """The host's permitted addresses, in the resolver's order, at least one.

        Odd spellings of addresses (`0x7f.1`, `2130706433`) are parsed by the system, as they would
        be for a connection, so the check is on the real address. The caller connects to what is
        returned and never resolves again, so a name cannot change its address in between.

        Raises FetchError: dns_failure, address_forbidden.
        """
        found = self._resolver.lookup(host, port)
        permitted = [t for t in found if self.permits(ipaddress.ip_address(t.partition("%")[0]))]
        if not permitted:
            named = f"{host} is" if found == (host,) else f"{host} resolves to"
            raise FetchError("address_forbidden", f"{named} {', '.join(found[:4])}")
        return permitted
