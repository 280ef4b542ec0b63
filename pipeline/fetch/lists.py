"""The user's lists: domains that opted out, and hashes of pictures that must not be kept."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.words.domains import domain_above, parse_domain
from pipeline.words.errors import InputError

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

    def entry_of_bytes(self, sha256: str, md5: str | None) -> str | None:
        """The entry that names a picture by its bytes, as `_entry` hides it; None if none does."""
        if sha256 in self.sha256:
            return _entry("sha256", sha256)
        return _entry("md5", md5) if md5 is not None and md5 in self.md5 else None

    def entry_of_picture(self, *hashes: bytes) -> str | None:
        """The entry nearest to any of a picture's PDQ hashes (32 bytes), if it is near enough."""
        for one in hashes if len(self.pdq) else ():
            bits = np.bitwise_count(np.frombuffer(one, np.uint64) ^ self.pdq).sum(axis=1)
            if int(bits.min()) <= self.distance:
                return _entry("pdq", self.pdq[int(bits.argmin())].tobytes().hex())
        return None

    @cached_property
    def entries(self) -> frozenset[str]:
        """All entries, as `_entry` hides them."""
        pdq = (row.tobytes().hex() for row in self.pdq)
        return frozenset(
            _entry(kind, digits)
            for kind, found in (("sha256", self.sha256), ("md5", self.md5), ("pdq", pdq))
            for digits in found
        )


def _entry(kind: str, digits: str) -> str:
    """A digest of a blocklist's entry, which can be recognised only with the list.

    It is stored in the row that the entry refused, so that with another list it is known without
    a new fetch whether the picture is still listed.
    """
    return f"blocklist:{hashlib.sha256(f'{kind}:{digits}'.encode()).hexdigest()[:16]}"


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
            # The line itself is not shown, since these lists are confidential.
            raise InputError(
                f"download.blocklist: {path}, line {number}: `sha256:` or `pdq:` and 64 hex digits "
                "are expected, or `md5:` and 32"
            )
        found[kind].add(digits)
    packed = b"".join(bytes.fromhex(digits) for digits in sorted(found["pdq"]))
    pdq = np.frombuffer(packed, np.uint64).reshape(-1, 4)
    return HashList(frozenset(found["sha256"]), frozenset(found["md5"]), pdq, distance)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)


def _lines(path: str | None, key: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank or comments, with their numbers."""
    if path is None:
        return
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{key}: cannot read {path}: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            yield number, entry
