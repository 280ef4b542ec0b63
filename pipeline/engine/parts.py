"""The parts that are up to date: for each product of the last run, which keys are committed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.merging import (
    MERGED,
    NOTHING,
    Partition,
    merged_digest,
    partitions_like,
    prepared_name,
)
from pipeline.engine.product import ONE, Keys, Status
from pipeline.export.finish import Manifest
from pipeline.table.freshness import INGEST, Expected, why_stale
from pipeline.table.part import Sidecar, part_folder, read_sidecar, read_sidecars, shard_name
from pipeline.table.run import Run, ShardIndex
from pipeline.table.sealed import unseal
from pipeline.table.storage import Folder
from pipeline.words.errors import InputError


@dataclass(frozen=True)
class Parts:
    """One product's parts under the last run's fingerprint; `sidecars` holds only current ones.

    `shared` are the other sidecars of a stage over all shards: prepared tables and partitions.
    """

    name: str
    keys: Keys
    fingerprint: str
    folder: str
    cached: bool
    sidecars: Mapping[int, Sidecar]
    total: int
    """The number of parts of the complete product."""
    shared: tuple[Sidecar, ...] = ()
    whole: str | None = None
    """See `Status.whole`."""

    @property
    def rows(self) -> int:
        return sum(sidecar.rows for sidecar in self.sidecars.values())

    @property
    def counts(self) -> dict[str, int]:
        """The counts in the sidecars' summaries, added up."""
        found: dict[str, int] = {}
        for sidecar in self.sidecars.values():
            for name, value in sidecar.summary.items():
                if isinstance(value, int) and not isinstance(value, bool):
                    found[name] = found.get(name, 0) + value
        return found

    @property
    def bytes(self) -> int:
        """Size of the files that the sidecars name."""
        return sum(size for sidecar in self.sidecars.values() for size in sidecar.files.values())

    @property
    def seconds(self) -> float:
        """Time worked, summed over shards; more than wall-clock time where they ran in parallel."""
        return round(sum(s.seconds for s in (*self.sidecars.values(), *self.shared)), 3)

    @property
    def peak_memory_mb(self) -> float:
        sidecars = (*self.sidecars.values(), *self.shared)
        return max((sidecar.peak_memory_mb for sidecar in sidecars), default=0.0)


def index_of(run: Run) -> ShardIndex:
    """The run's shards; InputError where the input has not been dealt yet."""
    index = run.index
    if index is None:
        raise InputError(
            f"{run.folder.url} has no shards yet (shards/index.json); "
            "let `winnow run` finish reading the input first"
        )
    return index


def product_parts(run: Run) -> list[Parts]:
    """The current parts of every product of the last run, in order.

    A part is current if its sidecar is valid, its files have their sizes, its rows are the shard's,
    and it was made from the shard and the earlier parts as they are today.
    """
    found: dict[str, Parts] = {}
    with run.folder.hold():
        index = run.index
        for name, noted in run.state.get("products", {}).items():
            read = {"export shards": _export, "one": _single}.get(noted["keys"], _by_shard)
            parts = _ingest(run, noted) if name == INGEST else read(run, name, noted, found)
            if parts is not None:
                found[name] = parts
    return [] if index is None else list(found.values())


def stage_parts(run: Run) -> list[Parts]:
    """Those of `product_parts` that add columns to the shards'."""
    return columns_of(product_parts(run))


def columns_of(products: Sequence[Parts]) -> list[Parts]:
    """The products that add columns to the shards'."""
    return [part for part in products if part.keys == "shards" and part.name != INGEST]


def recorded(run: Run) -> dict[str, Status]:
    """The status of every product of the last run, from its files alone."""
    return {
        part.name: Status(
            {key: sidecar.digest for key, sidecar in part.sidecars.items()},
            part.total, part.keys == "export shards" and part.whole is None, part.whole,
        )
        for part in product_parts(run)
    }  # fmt: skip


def _reader(place: Folder) -> Callable[..., dict[Any, Sidecar]]:
    here = set(place.names())

    def read(keys: Iterable[int | str]) -> dict[Any, Sidecar]:
        """The valid sidecars of these shards or names."""
        names = {key: shard_name(key) if isinstance(key, int) else key for key in keys}
        found = {key: name for key, name in names.items() if f"{name}.json" in here}
        sidecars = read_sidecars(place, found.values())
        return {key: s for key, s in zip(found, sidecars, strict=True) if s is not None}

    return read


def _merged(read: Callable[..., dict[Any, Sidecar]]) -> list[Sidecar]:
    """The merged partitions of a stage over all shards, by number; none if not all are there."""
    first = Partition(0, 1).name
    found: dict[str, Sidecar] = read([first])
    if first not in found:
        return []
    inputs, names = found[first].inputs, [one.name for one in partitions_like(found[first])]
    found |= read(names[1:])
    made = [found[name] for name in names if name in found and found[name].inputs == inputs]
    return made if len(made) == len(names) else []


def _upstream(place: Folder, earlier: list[str]) -> list[str]:
    """The stages whose parts this one's are made from, in their order."""
    try:
        recipe = unseal(place.read("recipe.json"))
    except (FileNotFoundError, ValueError):
        return []
    return [name for name in earlier if name in recipe.get("upstream", {})]


def _by_shard(run: Run, name: str, noted: Mapping[str, Any], found: Mapping[str, Parts]) -> Parts:
    shards = found[INGEST].sidecars if INGEST in found else {}
    place = run.folder.sub(noted["folder"])
    read = _reader(place)
    upstream = [INGEST, *_upstream(place, list(found))]
    merged = _merged(read)
    today = merged_digest([one.digest for one in merged]) if merged else None
    sidecars = {}
    for shard, sidecar in read(shards).items():
        if any(shard not in found[one].sidecars for one in upstream):
            continue
        inputs = {one: found[one].sidecars[shard].digest for one in upstream}
        if sidecar.inputs.get(MERGED) == NOTHING:
            inputs[MERGED] = NOTHING
        elif today is not None:
            inputs[MERGED] = today
        # The policy is not compared: rows measured under an earlier one can still be read.
        expected = Expected(noted["fingerprint"], inputs, sidecar.policy)
        if sidecar.rows == shards[shard].rows and why_stale(sidecar, expected) is None:
            sidecars[shard] = sidecar
    shared = list(merged)
    if merged:
        shared += read([prepared_name(shard) for shard in shards]).values()
    return Parts(
        name, noted["keys"], noted["fingerprint"], noted["folder"], bool(noted.get("cached")),
        sidecars, len(shards), tuple(shared),
    )  # fmt: skip


def _ingest(run: Run, noted: Mapping[str, Any]) -> Parts | None:
    index = run.index
    if index is None:
        return None

    def record(shard: int, rows: int, digest: str, seconds: float) -> Sidecar:
        return Sidecar(
            INGEST, index.fingerprint, shard, rows, {}, digest, {}, {}, seconds,
            index.peak_memory_mb,
        )  # fmt: skip

    return Parts(
        INGEST, noted["keys"], index.fingerprint, noted["folder"], bool(noted.get("cached")),
        {k: record(k, rows, digest, 0.0) for k, (rows, digest) in enumerate(index.shards)},
        len(index), (record(-1, 0, "", index.seconds),),
    )  # fmt: skip


def _export(run: Run, name: str, noted: Mapping[str, Any], found: Mapping[str, Parts]) -> Parts:
    fingerprint, data = noted["fingerprint"], run.folder.sub(noted["folder"])
    place = run.folder.sub(part_folder(name, fingerprint))
    names = [n.removesuffix(".json") for n in place.names() if n.endswith(".json")]
    numbers = [n for n in names if n.isdecimal()]
    read = read_sidecars(place, numbers, data=data)
    sidecars = {int(n): one for n, one in zip(numbers, read, strict=True) if one is not None}
    manifest = Manifest.read(data)
    whole = manifest.whole if manifest is not None else None
    return Parts(
        name, noted["keys"], fingerprint, noted["folder"], bool(noted.get("cached")), sidecars,
        len(sidecars), whole=whole,
    )  # fmt: skip


def _single(run: Run, name: str, noted: Mapping[str, Any], found: Mapping[str, Parts]) -> Parts:
    sidecar = read_sidecar(run.folder.sub(noted["folder"]), name)
    fits = sidecar is not None and sidecar.fingerprint == noted["fingerprint"]
    return Parts(
        name, noted["keys"], noted["fingerprint"], noted["folder"], bool(noted.get("cached")),
        {ONE: sidecar} if sidecar is not None and fits else {}, 1,
    )  # fmt: skip


def schema_of(run: Run, file: str) -> pa.Schema:
    """A Parquet file's schema, read from its footer."""
    with run.folder.local(file) as path:
        return pq.read_schema(path)
