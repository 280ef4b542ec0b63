"""The parts that stand: for each stage of the last run, which shards it has committed."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.freshness import SHARD, Due, why_stale
from pipeline.merging import MERGED, Share, answer_digest, prepared_name, shares_like
from pipeline.plan import READERS
from pipeline.run import Run, ShardIndex
from pipeline.storage import Folder
from pipeline.table import Sidecar, part_folder, read_sidecar, shard_name


@dataclass(frozen=True)
class StageParts:
    """One stage's parts under the last run's fingerprint; `sidecars` holds those that fit only.

    `shared` are a whole-run stage's other sidecars: what it prepared per shard, and the merge.
    """

    name: str
    fingerprint: str
    folder: str
    cached: bool
    sidecars: Mapping[int, Sidecar]
    shared: tuple[Sidecar, ...] = ()

    @property
    def rows(self) -> int:
        return sum(sidecar.rows for sidecar in self.sidecars.values())

    @property
    def seconds(self) -> float:
        """Work, summed over shards; not wall-clock where shards ran side by side."""
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


def stage_parts(run: Run) -> list[StageParts]:
    """Every stage that has parts, in the order of the last run.

    A part counts if its sidecar is whole, its files have their sizes, its rows are the shard's,
    and it was made from the shard and the earlier parts as they are today.
    """
    state, index = run.state, run.index
    stages = state.get("stages", {})
    names = [name for name in state.get("order", stages) if stages.get(name, {}).get("fingerprint")]
    shards = index.shards if index else ()
    found: dict[str, StageParts] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for name in names:
            fingerprint = stages[name]["fingerprint"]
            folder = part_folder(name, fingerprint)
            place = run.folder.sub(folder)
            read = _reader(place, pool)
            upstream = _upstream(place, list(found))
            merged = _merged(read)
            sidecars = {}
            for shard, sidecar in read(range(len(shards))).items():
                inputs = _inputs(shard, shards[shard][1], upstream, found, merged)
                # The policy is left aside: what was measured under an earlier one is there to read.
                due = inputs and Due(fingerprint, inputs, sidecar.policy)
                if due and sidecar.rows == shards[shard][0] and why_stale(sidecar, due) is None:
                    sidecars[shard] = sidecar
            shared = list(merged)
            if merged:
                shared += read([prepared_name(k) for k in range(len(shards))]).values()
            cached = bool(stages[name].get("cached"))
            found[name] = StageParts(name, fingerprint, folder, cached, sidecars, tuple(shared))
    return list(found.values())


def export_parts(run: Run) -> StageParts | None:
    """The last run's export shards (numbered on their own), or None without an export."""
    export = run.state.get("export")
    if not export:
        return None
    fingerprint = export["fingerprint"]
    place, data = (
        run.folder.sub(part_folder("export", fingerprint)),
        run.folder.sub(export["folder"]),
    )
    names = [n.removesuffix(".json") for n in place.names() if n.endswith(".json")]
    read = ((int(n), read_sidecar(place, n, data=data)) for n in names if n.isdecimal())
    sidecars = {number: sidecar for number, sidecar in read if sidecar is not None}
    cached = bool(export.get("cached"))
    return StageParts("export", fingerprint, export["folder"], cached, sidecars)


def _reader(place: Folder, pool: ThreadPoolExecutor) -> Callable[..., dict[Any, Sidecar]]:
    here = set(place.names())

    def read(keys: Iterable[int | str]) -> dict[Any, Sidecar]:
        """The whole sidecars among these shards or names."""
        names = {key: shard_name(key) if isinstance(key, int) else key for key in keys}
        due = {key: name for key, name in names.items() if f"{name}.json" in here}
        sidecars = pool.map(lambda name: read_sidecar(place, name), due.values())
        return {key: s for key, s in zip(due, sidecars, strict=True) if s is not None}

    return read


def _merged(read: Callable[..., dict[Any, Sidecar]]) -> list[Sidecar]:
    """The merged partitions of a stage over all shards, by number; none if not all are there."""
    first = Share(0, 1).name
    found: dict[str, Sidecar] = read([first])
    if first not in found:
        return []
    inputs, names = found[first].inputs, [share.name for share in shares_like(found[first])]
    found |= read(names[1:])
    made = [found[name] for name in names if name in found and found[name].inputs == inputs]
    return made if len(made) == len(names) else []


def _upstream(place: Folder, earlier: list[str]) -> list[str]:
    """The stages that this one stands on, in their order."""
    try:
        recipe = json.loads(place.read("recipe.json"))
    except (FileNotFoundError, ValueError):
        return []
    return [name for name in earlier if name in recipe.get("upstream", {})]


def _inputs(
    shard: int, digest: str, upstream: list[str], found: Mapping[str, StageParts],
    merged: Sequence[Sidecar],
) -> dict[str, str] | None:  # fmt: skip
    """What a part must have been made from; None if an earlier part is not there."""
    if any(shard not in found[name].sidecars for name in upstream):
        return None
    inputs = {SHARD: digest, **{name: found[name].sidecars[shard].digest for name in upstream}}
    return inputs | ({MERGED: answer_digest([one.digest for one in merged])} if merged else {})


def schema_of(run: Run, file: str) -> pa.Schema:
    """A Parquet file's schema, read from its footer."""
    with run.folder.local(file) as path:
        return pq.read_schema(path)
