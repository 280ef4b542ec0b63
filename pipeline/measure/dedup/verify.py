"""Which of the proposed pairs show the same: each is laid on the other once."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from itertools import groupby
from typing import Any

import pyarrow as pa

from pipeline.measure.dedup.alignment import Sketch, align, sketch
from pipeline.table.checked import read_recorded
from pipeline.table.part import shard_name
from pipeline.table.shard import ShardData
from pipeline.words.heartbeat import beat
from pipeline.words.threads import worker_threads

Checked = tuple[int, dict[str, str], dict[str, Any] | None]
"""A row of the shard, which pair was laid on each other (`CHECK`), and its edge if it has one."""

_AT_ONCE = 512
"""Pairs that are laid on each other between two signs of life."""
_KEPT = 4096
"""Sketches that a process keeps, about 60 kB each with their mirror images."""
_WHOLE, _PLAIN, _LEAST = 0.95, 0.45, 0.03
"""The share of one picture that the other shows so that it counts as all of it; the share of the
commonest colour of what is then around it so that this was added; and its least share."""


def marks_of(left: pa.Table, right: pa.Table) -> pa.Array:
    """What tells each pair of pictures from others under the same uids: a hash of both, hex."""
    pairs = zip(left["pixel_hash"].to_pylist(), right["pixel_hash"].to_pylist(), strict=True)
    marks = [blake2b(f"{a} {b}".encode(), digest_size=8).hexdigest() for a, b in pairs]
    return pa.array(marks, pa.string())


def verified(shard: ShardData, proposed: pa.Table, floor: float) -> Iterator[Checked]:
    """Lay the proposed pairs on each other, but for those of which `shard.stood` knows the result.

    The rows of `proposed` are those of `PairsStage.merge`.
    """
    known = _known(shard.stood)
    new = []
    for pair in proposed.sort_by([("other_shard", "ascending"), ("row", "ascending")]).to_pylist():
        check = {"uid": pair["other_uid"], "mark": pair["mark"]}
        key = (pair["row"], *check.values())
        if key in known:
            yield pair["row"], check, known[key]
        else:
            new.append((pair, check))
    if not new:
        return
    own = _small(shard, shard.shard)
    with ThreadPoolExecutor(worker_threads()) as pool:
        for number, of_shard in groupby(new, lambda one: one[0]["other_shard"]):
            others = own if number == shard.shard else _small(shard, number)
            part = list(of_shard)
            for start in range(0, len(part), _AT_ONCE):
                beat()
                some = part[start : start + _AT_ONCE]
                results = pool.map(
                    functools.partial(edge_of, floor=floor),
                    [own[pair["row"]] for pair, _ in some],
                    [others[pair["other_row"]] for pair, _ in some],
                )
                for (pair, check), found in zip(some, results, strict=True):
                    edge = found and {"uid": pair["other_uid"], "shard": number, **found}
                    yield pair["row"], check, edge


def _known(stood: pa.Table | None) -> dict[tuple[Any, ...], dict[str, Any] | None]:
    """The results that an earlier part holds, by row, uid and mark."""
    if stood is None:
        return {}
    known = {}
    lists = zip(stood["dup_checks"].to_pylist(), stood["dup_edges"].to_pylist(), strict=True)
    for row, (checks, edges) in enumerate(lists):
        aligned = {edge["uid"]: edge for edge in edges or () if edge["kind"] == "aligned"}
        for check in checks or ():
            known[(row, check["uid"], check["mark"])] = aligned.get(check["uid"])
    return known


def _small(shard: ShardData, number: int) -> list[bytes]:
    """The small pictures of a shard of the same run."""
    folder, name = shard.run.folder.sub(shard.folders["descriptors"]), shard_name(number)
    table = read_recorded(shard.run.folder.url, folder, name, f"{name}.parquet", ["small"])
    column: list[bytes] = table["small"].to_pylist()
    return column


@functools.lru_cache(maxsize=_KEPT)
def _sketch(jpeg: bytes) -> Sketch:
    return sketch(jpeg)


def edge_of(first: bytes, second: bytes, floor: float) -> dict[str, Any] | None:
    """The edge of two pictures made by `alignment.small`; None if they are not alike."""
    found = align(_sketch(first), _sketch(second))
    if found is None or found.similarity < floor:
        return None
    return {
        "kind": "aligned", "similarity": found.similarity, "colour": found.colour,
        "turned": found.is_mirrored,
        "added": _frame(found.share_first, found.plain_first, found.share_second),
        "other_added": _frame(found.share_second, found.plain_second, found.share_first),
    }  # fmt: skip


def _frame(share: float, plain: float, share_of_other: float) -> float:
    """What share of a picture was added around the other one."""
    around = 1 - share
    is_frame = share_of_other >= _WHOLE and around >= _LEAST and plain >= _PLAIN
    return around if is_frame else 0.0
