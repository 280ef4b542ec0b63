"""The user's own lists: domains that opted out, and hashes of pictures that nobody may keep."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.fetch.web.domains import domain_above, parse_domain

_DIGITS = {"sha256": 64, "md5": 32, "pdq": 64}
"""Hex digits of a hash, by kind."""


@dataclass(frozen=True)
class DomainList:
    """Domains, each with all below it."""

    domains: frozenset[str]

    def match(self, host: str) -> str | None:
        """The listed domain that a host belongs to, or None."""
        return domain_above(host, self.domains)


@dataclass(frozen=True)
class HashList:
    """sha256 and md5 in hex, lower case; PDQ hashes as uint64, shape (hashes, 4)."""

    sha256: frozenset[str]
    md5: frozenset[str]
    pdq: npt.NDArray[np.uint64]
    distance: int

    def has_bytes(self, sha256: str, md5: str | None) -> bool:
        return sha256 in self.sha256 or md5 in self.md5

    def has_picture(self, *hashes: bytes) -> bool:
        """Whether any of a picture's PDQ hashes (32 bytes) is near a listed one."""
        for one in hashes:
            bits = np.frombuffer(one, np.uint64) ^ self.pdq
            if len(bits) and int(np.bitwise_count(bits).sum(axis=1).min()) <= self.distance:
                return True
        return False


def read_domains(path: str | None) -> DomainList:
    """The list of `download.opted_out_domains`; InputError names the line that is no domain."""
    found = set()
    for number, line in _lines(path, "download.opted_out_domains"):
        try:
            found.add(parse_domain(line.removeprefix("*.")))
        except ValueError as error:
            place = f"download.opted_out_domains: {path}, line {number}"
            raise InputError(f"{place}: {error}") from None
    return DomainList(frozenset(found))


def read_hashes(path: str | None, distance: int) -> HashList | None:
    """The list of `download.blocklist`, None without one; InputError names the line at fault."""
    if path is None:
        return None
    found: dict[str, set[str]] = {kind: set() for kind in _DIGITS}
    for number, line in _lines(path, "download.blocklist"):
        kind, _, digits = line.lower().partition(":")
        digits = digits.strip()
        if kind not in _DIGITS or len(digits) != _DIGITS[kind] or not _is_hex(digits):
            # The line itself is not shown: these lists are not for every eye.
            raise InputError(
                f"download.blocklist: {path}, line {number}: `sha256:` or `pdq:` and 64 hex digits "
                "are due, or `md5:` and 32"
            )
        found[kind].add(digits)
    packed = b"".join(bytes.fromhex(digits) for digits in sorted(found["pdq"]))
    pdq = np.frombuffer(packed, np.uint64).reshape(-1, 4)
    return HashList(frozenset(found["sha256"]), frozenset(found["md5"]), pdq, distance)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)


def _lines(path: str | None, key: str) -> Iterator[tuple[int, str]]:
    """Lines that say something, with their numbers."""
    if path is None:
        return
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{key}: cannot read {path}: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        told = line.partition("#")[0].strip()
        if told:
            yield number, told
