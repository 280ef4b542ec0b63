"""Finds the rows of a takedown: in the shards, and in parts and exports of earlier settings."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.erase.rows import numbers
from pipeline.engine.parts import schema_of
from pipeline.table.parquet import read_parquet
from pipeline.table.part import shard_name
from pipeline.table.run import Run
from pipeline.table.tombstones import Scope, Tombstones, candidates, url_digest
from pipeline.words.domains import domain_above, host_of

Rows = Iterator[pa.Table]
"""Tables of `uid` and of some of `url`, `sha256`."""


@dataclass
class Found:
    """The uids of the rows that each scope matches, by the scope's kind and value."""

    by_scope: dict[tuple[str, str], set[str]]

    @property
    def uids(self) -> set[str]:
        return set().union(*self.by_scope.values())

    def scopes(self) -> list[Scope]:
        return [Scope(*key, tuple(sorted(uids))) for key, uids in self.by_scope.items()]


def find(run: Run, scopes: Sequence[Scope], hosts: Iterable[str | None]) -> Found:
    """The rows that the scopes match, over shards, download parts and exports of all settings.

    `hosts` are those of the URLs named, None for one that has none: with them only few of the
    rows' URLs need to be parsed.
    """
    search = _Search(scopes, list(hosts))
    for source in (_shards(run), _downloads(run), _exports(run)):
        for table in source:
            search.add(table)
    # Rows that an earlier takedown erased under the same scope have no URL or checksum any more.
    for stone in Tombstones.read(run.folder).stones:
        for scope in stone.scopes:
            if scope.key in search.found.by_scope:
                search.found.by_scope[scope.key].update(scope.uids)
    return search.found


class _Search:
    def __init__(self, scopes: Sequence[Scope], hosts: list[str | None]) -> None:
        self.found = Found({scope.key: set() for scope in scopes})
        of: dict[str, set[str]] = {}
        for scope in scopes:
            of.setdefault(scope.kind, set()).add(scope.value)
        self._exact = {
            kind: pa.array(sorted(of[kind]), pa.string())
            for kind in ("uid", "sha256")
            if kind in of
        }
        self._urls, self._domains = frozenset(of.get("url", ())), frozenset(of.get("domain", ()))
        self._every = None in hosts
        self._hosts = self._domains | {host for host in hosts if host}

    def add(self, table: pa.Table) -> None:
        uids = table["uid"]
        for kind, values in self._exact.items():
            if kind in table.column_names:
                found = pc.is_in(table[kind], value_set=values).to_numpy(zero_copy_only=False)
                for row in np.flatnonzero(found).tolist():
                    self._take(kind, table[kind][row].as_py(), uids[row].as_py())
        if "url" in table.column_names:
            for row in candidates(table["url"], self._hosts, self._every).tolist():
                url, uid = table["url"][row].as_py(), uids[row].as_py()
                if (digest := url_digest(url)) in self._urls:
                    self._take("url", digest, uid)
                if (domain := domain_above(host_of(url), self._domains)) is not None:
                    self._take("domain", domain, uid)

    def _take(self, kind: str, value: str, uid: str) -> None:
        self.found.by_scope[kind, value].add(uid)


def _shards(run: Run) -> Rows:
    for shard in range(len(run.index or ())):
        yield run.shard(shard, ["uid", "url"])


def _downloads(run: Run) -> Rows:
    for folder in run.folder.names("parts"):
        if folder.startswith("download-"):
            yield from _tables(run, f"parts/{folder}", ("sha256",))


def _exports(run: Run) -> Rows:
    for folder in run.folder.names("export"):
        yield from _tables(run, f"export/{folder}", ("url", "sha256"))


def _tables(run: Run, folder: str, columns: tuple[str, ...]) -> Rows:
    for number in numbers(run.folder.names(folder)):
        name = f"{folder}/{shard_name(number)}.parquet"
        try:
            here = set(schema_of(run, name).names)
            if "uid" in here:
                yield read_parquet(run.folder, name, ["uid", *here.intersection(columns)])
        except pa.ArrowInvalid:
            continue  # an unfinished file, which no sidecar names; the erasure removes it
