"""A stage over all shards on disk: what it prepared of each shard, and its merged partitions.

Rows for the merge are stored in the order of a hash of their key, and a partition is a range of
hashes. So what is prepared does not depend on the number of partitions, and reading one partition
skips the row groups of the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from pipeline.table.arrays import from_numbers, to_numbers, whole
from pipeline.table.checked import checked, read_recorded
from pipeline.table.freshness import Expected, why_stale
from pipeline.table.parquet import ROW_GROUP, Filter, read_file
from pipeline.table.part import Sidecar, digest_of, read_sidecar, recorded_sums, shard_name
from pipeline.table.run import Run
from pipeline.table.storage import Folder
from pipeline.table.sums import to_tell
from pipeline.words.errors import DamagedError

MERGED, PREPARED = "merged", "prepared"
NOTHING = "nothing"
"""In place of the merged partitions' digest among the inputs of a part of whose shard no row went
to the merge: no merge changes it, and it is made without one."""
PARTITIONS = "partitions"
"""The name under which a merged partition's inputs hold how many there are."""
_DEALT, _HASH, _HASHES = "dealt", "_hash", 2**32
_SMALLEST_GROUP = 5_000


@dataclass(frozen=True)
class Partition:
    """One partition of a merge: number `number` (from 0) of `count`."""

    number: int
    count: int

    @property
    def name(self) -> str:
        return f"{MERGED}-{self.number:03d}"

    @property
    def bounds(self) -> tuple[int, int]:
        """The range of its hashes: first (included) and last (excluded)."""
        return self.number * _HASHES // self.count, (self.number + 1) * _HASHES // self.count

    @property
    def row_group(self) -> int:
        """Rows of a row group. A shard's task reads at least one group of each partition, so the
        groups are smaller where there are more partitions."""
        return max(ROW_GROUP // self.count, _SMALLEST_GROUP)


def partitions_for(count: int) -> list[Partition]:
    return [Partition(number, count) for number in range(count)]


def prepared_name(shard: int) -> str:
    """The name of the sidecar of a shard's prepared tables, and of the table that `run` reads."""
    return f"{shard_name(shard)}.{PREPARED}"


def dealt_file(shard: int) -> str:
    """The file of a shard's rows that go to the merge."""
    return f"{shard_name(shard)}.{_DEALT}.parquet"


def empty_partition(dealt: pa.Table) -> pa.Table:
    """A partition without rows, as `read_partition` would give it; `dealt` has the columns."""
    rows = dealt.slice(0, 0).append_column("shard", pa.nulls(0, pa.int32()))
    return rows.drop_columns([_HASH]) if _HASH in rows.column_names else rows


def deal(rows: pa.Table, key: str | None) -> pa.Table:
    """The rows whose key is not null, sorted by its hash, which is stored with them; without a
    `key` all rows as they are."""
    if key is None:
        return rows
    rows = rows.filter(rows[key].is_valid())
    codes = whole(rows[key]).dictionary_encode()
    values = np.array([_hash(value) for value in codes.dictionary.to_pylist()], np.int64)
    hashes = values[to_numbers(codes.indices)]
    order = np.argsort(hashes, kind="stable")
    return rows.take(from_numbers(order)).append_column(_HASH, from_numbers(hashes[order]))


def _hash(value: object) -> int:
    """A hash that is the same in every process and version, unlike Python's `hash`."""
    return int.from_bytes(blake2b(str(value).encode(), digest_size=4).digest(), "big")


def read_prepared(
    run: Run, folder: Folder, shard: int, name: str, filters: Sequence[Filter] = (),
    *, sum_: str | None = None,
) -> pa.Table:  # fmt: skip
    """One of the two tables that a stage prepared of a shard; `sum_` is its sha256, if it is known
    without its record. DamagedError if it is not as it was written."""
    if sum_ is None:
        sum_ = recorded_sums(folder, prepared_name(shard)).get(name)
    with checked(run.folder.url, folder, name, sum_) as path:
        return read_file(path, filters=filters)


def tell_prepared(
    known: Mapping[int, str], digests: Mapping[int, dict[str, str]]
) -> dict[int, str]:
    """On an object store: add the checksums of what was prepared of each shard to the `digests`
    that go with its task; those of the dealt tables by shard. `known` are the prepared digests."""
    dealt = {}
    for shard, digest in known.items():
        told = to_tell({PREPARED: digest})
        if (sum_ := told.get(f"{PREPARED}/{dealt_file(shard)}")) is not None:
            dealt[shard] = sum_
            digests[shard].update(told)
    return dealt


def read_partition(
    run: Run, folder: Folder, shards: Sequence[int], partition: Partition,
    sums: Mapping[int, str],
) -> pa.Table:  # fmt: skip
    """A partition's rows of these shards, with a column `shard` (int32); one file at a time. `sums`
    are the files' sha256, as far as they are known."""
    low, high = partition.bounds
    filters = [] if partition.count == 1 else [(_HASH, ">=", low), (_HASH, "<", high)]
    tables = []
    for shard in shards:
        name, sum_ = dealt_file(shard), sums.get(shard)
        table = read_prepared(run, folder, shard, name, filters, sum_=sum_)
        if _HASH in table.column_names:
            table = table.drop_columns([_HASH])
        number = from_numbers(np.full(table.num_rows, shard, np.int32))
        tables.append(table.append_column("shard", number))
    return pa.concat_tables(tables, promote_options="default")


def by_shard(merged: pa.Table) -> pa.Table:
    """The rows sorted by `shard`, so that a reader of one shard can skip other row groups."""
    shard = to_numbers(merged["shard"])
    if (shard[1:] >= shard[:-1]).all():
        return merged
    return merged.take(from_numbers(np.argsort(shard, kind="stable")))


def read_merged(run: Run, folder: Folder, shard: int, digests: Mapping[int, str]) -> pa.Table:
    """A shard's rows of all merged partitions; `digests` are theirs by number."""
    mine, tables = [("shard", "=", shard)], []
    for one in partitions_for(len(digests)):
        name = f"{one.name}.parquet"
        # Every shard's task reads these: a process compares them once, and of an object store keeps
        # them by their checksum.
        digest = digests[one.number]
        tables.append(
            read_recorded(run.folder.url, folder, one.name, name, filters=mine, digest=digest)
        )
    return pa.concat_tables(tables, promote_options="default")


def read_stood(run: Run, folder: Folder, shard: int, fingerprint: str) -> pa.Table | None:
    """A shard's part of this fingerprint, whatever it was made from; None if it is not there, or
    not as it was written."""
    name = shard_name(shard)
    file, sidecar = f"{name}.parquet", read_sidecar(folder, name)
    if sidecar is None or sidecar.fingerprint != fingerprint:
        return None
    try:
        with checked(run.folder.url, folder, file, sidecar.digests.get(file)) as path:
            return read_file(path)
    except (DamagedError, FileNotFoundError):
        return None


@dataclass(frozen=True)
class Merge:
    """The merged partitions of a stage: what each must be made from, and which are up to date."""

    expected: Expected
    partitions: tuple[Partition, ...]
    digests: dict[int, str]
    """Digests by number; a partition that is made later is added here."""

    @classmethod
    def of(
        cls, folder: Folder, fingerprint: str, expected: Mapping[int, Expected], count: int
    ) -> "Merge":
        """For these shards; `expected` says of each what its part is made from."""
        inputs = [[shard, sorted(expected[shard].inputs.items())] for shard in sorted(expected)]
        own = Expected(fingerprint, {PREPARED: digest_of(inputs), PARTITIONS: str(count)})
        merge = cls(own, tuple(partitions_for(count)), {})
        for partition in merge.partitions:
            sidecar = read_sidecar(folder, partition.name)
            if sidecar is not None and why_stale(sidecar, own) is None:
                merge.digests[partition.number] = sidecar.digest
        return merge

    @property
    def told(self) -> dict[str, str]:
        """The partitions' checksums, as `sums.to_tell` gives them to the tasks that read them."""
        return to_tell({Partition(k, 0).name: digest for k, digest in self.digests.items()})

    @property
    def missing(self) -> list[Partition]:
        return [partition for partition in self.partitions if partition.number not in self.digests]


def with_merged(expected: Expected, merged: Mapping[int, str]) -> Expected:
    """What a shard's part must be made from; `merged` are the partitions' digests by number."""
    digests = [merged[number] for number in sorted(merged)]
    return replace(expected, inputs={**expected.inputs, MERGED: merged_digest(digests)})


def without_merge(expected: Expected) -> Expected:
    """What a part must be made from of whose shard no row went to the merge."""
    return replace(expected, inputs={**expected.inputs, MERGED: NOTHING})


def merged_digest(digests: Sequence[str]) -> str:
    """One digest over all merged partitions, by number."""
    return digest_of(digests)


def partitions_like(sidecar: Sidecar) -> list[Partition]:
    """All partitions of the merge that the partition of this sidecar belongs to."""
    return partitions_for(int(sidecar.inputs[PARTITIONS]))


def is_of_whole(name: str) -> bool:
    """Whether a file of this name is one that only stages over all shards have."""
    return name.startswith(MERGED) or f".{PREPARED}." in name
