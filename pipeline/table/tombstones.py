"""The permanent record of takedowns: `tombstones.jsonl` in the run folder, one line per takedown.

A tombstone holds its scopes and the uids of the rows that they took. uids, domains and sha256 sums
are stored as they are, a URL only as the sha256 of its normal form, so that the file does not
disclose the URLs that were taken down.
"""

import datetime
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.storage import Folder
from pipeline.words.domains import domain_above, host_of, parse_domain
from pipeline.words.errors import DamagedError, InputError
from pipeline.words.failure import FetchError
from pipeline.words.urls import check_url

NAME = "tombstones.jsonl"
KINDS = ("uid", "url", "domain", "sha256")
_HEX = {"uid": re.compile(r"[0-9a-f]{32}"), "sha256": re.compile(r"[0-9a-f]{64}")}
_FEW = 16
"""Up to this many domains, all URLs are searched for each; with more, every URL is parsed."""


@dataclass(frozen=True)
class Scope:
    """What a takedown names: `value` as it is stored, and the rows that it matched."""

    kind: str
    value: str
    uids: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.value

    @classmethod
    def parse(cls, kind: str, text: str, place: str) -> "Scope":
        """From a user's input. InputError, naming the place, for a value not of the kind."""
        text = text.strip()
        if kind not in KINDS:
            raise InputError(f"{place}: `{kind}` is no scope; the scopes are {', '.join(KINDS)}")
        if kind in _HEX:
            digits = 32 if kind == "uid" else 64
            if not _HEX[kind].fullmatch(text.lower()):
                raise InputError(f"{place}: a {kind} is {digits} hex digits, not `{text[:80]}`")
            return cls(kind, text.lower())
        if not text:
            raise InputError(f"{place}: expected a {kind}, this is empty")
        if kind == "url":
            return cls(kind, url_digest(text))
        try:
            return cls(kind, parse_domain(text))
        except ValueError as error:
            raise InputError(f"{place}: {error}") from None


@dataclass(frozen=True)
class Tombstone:
    """One takedown; `done` once nothing of its rows is left in the run folder."""

    date: str
    scopes: tuple[Scope, ...]
    done: bool = False

    @property
    def uids(self) -> frozenset[str]:
        own = {scope.value for scope in self.scopes if scope.kind == "uid"}
        return frozenset(own.union(*(scope.uids for scope in self.scopes)))


@dataclass(frozen=True)
class Tombstones:
    """All takedowns of a run."""

    stones: tuple[Tombstone, ...] = ()
    uids: frozenset[str] = field(init=False)
    urls: frozenset[str] = field(init=False)
    """sha256 sums of URLs in normal form."""
    domains: frozenset[str] = field(init=False)
    sha256: frozenset[str] = field(init=False)
    """sha256 sums of pictures' bytes as fetched."""

    def __post_init__(self) -> None:
        def values(kind: str) -> frozenset[str]:
            scopes = (scope for stone in self.stones for scope in stone.scopes)
            return frozenset(scope.value for scope in scopes if scope.kind == kind)

        taken: frozenset[str] = frozenset()
        set_ = object.__setattr__
        set_(self, "uids", taken.union(*(stone.uids for stone in self.stones)))
        set_(self, "urls", values("url"))
        set_(self, "domains", values("domain"))
        set_(self, "sha256", values("sha256"))

    @classmethod
    def read(cls, folder: Folder | str | os.PathLike[str]) -> "Tombstones":
        """The tombstones of a run folder; empty without the file. InputError for a broken line."""
        folder = folder if isinstance(folder, Folder) else Folder(folder)
        try:
            lines = folder.read(NAME).decode().splitlines()
        except FileNotFoundError:
            return cls()
        stones = []
        for i, line in enumerate(lines):
            try:
                stones.append(_decode(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f"{folder.url}/{NAME}, line {i + 1}: not a tombstone ({error}); repair it, "
                    "because the rows that it took down would come back"
                ) from error
        return cls(tuple(stones))

    def write(self, folder: Folder) -> None:
        lines = (json.dumps(asdict(stone)) + "\n" for stone in self.stones)
        folder.write(NAME, "".join(lines).encode())

    @property
    def erased(self) -> frozenset[str]:
        """uids of the tombstones that are done."""
        none: frozenset[str] = frozenset()
        return none.union(*(stone.uids for stone in self.stones if stone.done))

    def check_covers(self, shard: pa.Table, path: str) -> None:
        """DamagedError if rows of a shard were taken down by a tombstone that is not here.

        Without it the list would bring them back. `path` is that of the file.
        """
        taken = shard.filter(pc.equal(shard["input_error"], "forgotten"))["uid"].to_pylist()
        if lost := sorted(set(taken) - self.uids):
            raise DamagedError(
                f"{path} was cut, emptied or removed: row {lost[0]} was taken down, of which it "
                "says nothing; restore a copy, or take such rows down again by their --uid"
            )

    @property
    def undone(self) -> tuple[Tombstone, ...]:
        return tuple(stone for stone in self.stones if not stone.done)

    def with_(self, scopes: Iterable[Scope]) -> "Tombstones":
        """These and a new tombstone that is not done yet."""
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return Tombstones((*self.stones, Tombstone(date, tuple(scopes))))

    def all_done(self) -> "Tombstones":
        return Tombstones(tuple(replace(stone, done=True) for stone in self.stones))

    def took(self, uid: str) -> list[dict[str, str]]:
        """When a row was taken down and under which kinds of scope: `date`, `kind`."""
        return [
            {"date": stone.date, "kind": scope.kind}
            for stone in self.stones
            for scope in stone.scopes
            if uid in scope.uids or scope.key == ("uid", uid)
        ]

    def takes(self, uid: str, url: str | None) -> bool:
        """Whether a row of the list is taken down: by its uid, its URL or its URL's host."""
        if uid in self.uids:
            return True
        if url is None or not (self.urls or self.domains):
            return False
        return url_digest(url) in self.urls or domain_above(host_of(url), self.domains) is not None

    def mask(self, uids: pa.ChunkedArray, urls: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """`takes` for each row; bool, shape (rows,)."""
        if not self.stones:
            return np.zeros(len(uids), bool)
        taken = pc.is_in(uids, value_set=pa.array(sorted(self.uids), pa.string()))
        mask: npt.NDArray[np.bool_] = taken.to_numpy(zero_copy_only=False).copy()
        for row in candidates(urls, self.domains, bool(self.urls)):
            mask[row] = mask[row] or self.takes("", urls[row].as_py())
        return mask


def candidates(
    urls: pa.ChunkedArray, hosts: Iterable[str], every: bool = False
) -> npt.NDArray[np.int64]:
    """Rows whose URL may have one of the hosts or a host below it; a quick filter without misses.

    A host can be written with non-ASCII letters or percent-encoding, so all such URLs are included.
    With `every`, all rows that have a URL.
    """
    hosts = sorted(set(hosts))
    if every or len(hosts) > _FEW:
        found = pc.is_valid(urls)
    elif not hosts:
        return np.zeros(0, np.int64)
    else:
        found = pc.or_(pc.invert(pc.string_is_ascii(urls)), pc.match_substring(urls, "%"))
        lower = pc.ascii_lower(urls)
        for host in hosts:
            found = pc.or_(found, pc.match_substring(lower, host))
    return np.flatnonzero(pc.fill_null(found, False).to_numpy(zero_copy_only=False))


def normal_url(text: str) -> str:
    """A URL in normal form where it can be parsed, else the text itself."""
    try:
        return str(check_url(text).url)
    except FetchError:
        return text


def url_digest(text: str) -> str:
    """sha256, hex, of a URL's normal form."""
    return hashlib.sha256(normal_url(text).encode("utf-8", "surrogatepass")).hexdigest()


def _decode(values: dict[str, Any]) -> Tombstone:
    scopes = tuple(Scope(s["kind"], s["value"], tuple(s["uids"])) for s in values["scopes"])
    return Tombstone(str(values["date"]), scopes, bool(values["done"]))
