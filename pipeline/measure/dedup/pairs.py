"""Which pictures of all shards are alike: the search, and the check of what it only proposes."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.measure.dedup.edges import EDGE, KINDS, PROPOSED, UNCHECKED
from pipeline.measure.dedup.search import search
from pipeline.measure.stage import Output, Prepared, WholeStage
from pipeline.table.columns import Column
from pipeline.table.shard import ShardData
from pipeline.words.heartbeat import beat
from pipeline.words.threads import worker_threads

AT_ONCE = 512
"""Pairs that are aligned between two signs of life."""


class PairsStage(WholeStage):
    """`dup_edges`: on the row with the smaller uid, the pictures that are like it."""

    name = "pairs"
    rank = 40

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "PairsStage | None":
        return cls(job)

    @property
    def reads(self) -> tuple[str, ...]:
        config = self.job.dedup
        base = ("status", "sha256", "phash", "phash_quality", "thumb")
        own = ("pixel_hash", "phash_turned") if config.needs_descriptors else ()
        return (*base, *own, *(("clip_score",) if self.by_clip else ()))

    @property
    def by_clip(self) -> bool:
        """Whether the vectors of CLIP are searched."""
        config = self.job.dedup
        return bool(self.job.embed.model) and (
            config.verify or config.vector_similarity is not None
        )

    @property
    def after(self) -> tuple[str, ...]:
        config = self.job.dedup
        own = ("descriptors",) if config.needs_descriptors else ()
        return (*own, "embed") if self.by_clip else own

    @property
    def writes(self) -> tuple[Column, ...]:
        text = (
            "Null for a picture that nothing is like. On the row with the smaller uid of each "
            "pair: the other row's `uid` and `shard`, the `kind` of likeness, `similarity`, "
            "`colour` (cosine of the colours), `turned` (whether one is mirrored, or turned by a "
            "quarter), and the share of this picture (`added`) and of the "
            "other one (`other_added`) that is a border, bar or frame around what both show."
        )
        return (Column("dup_edges", pa.list_(EDGE), text),)

    @property
    def packages(self) -> tuple[str, ...]:
        return ("faiss-cpu", "opencv-python-headless") if self.job.dedup.verify else ("faiss-cpu",)

    def settings(self) -> dict[str, Any]:
        return self.job.dedup.search_settings(by_clip=self.by_clip)

    def prepare(self, shard: ShardData) -> Prepared:
        table = shard.table(*self.reads)
        row = pa.array(np.arange(table.num_rows), pa.int32())
        dealt = table.append_column("row", row).filter(pc.equal(table["status"], "success"))
        return Prepared(table.select(["uid"]), dealt.drop_columns(["status"]))

    def merge(self, shards: Sequence[ShardData], rows: pa.Table) -> pa.Table:
        rows = rows.sort_by("uid")
        found = search(rows, shards, self.job.dedup, by_clip=self.by_clip)
        left, right = rows.take(found["left"]), rows.take(found["right"])
        pairs = pa.table(
            {
                **{name: left[name] for name in ("shard", "uid", "row")},
                **{f"other_{name}": right[name] for name in ("uid", "shard", "row")},
                **{name: found[name] for name in ("kind", "similarity", "colour", "turned")},
            }
        )
        # The other ends, so that their shards know that they may be in a group.
        ends = rows.take(pc.unique(found["right"])).select(["shard", "uid", "row"])
        return pa.concat_tables([pairs, ends], promote_options="default")

    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        kind = merged["kind"]
        proposed = merged.filter(pc.equal(kind, PROPOSED))
        edges: dict[int, list[dict[str, Any]]] = {row: [] for row in merged["row"].to_pylist()}
        for edge in merged.filter(pc.is_in(kind, pa.array(KINDS))).to_pylist():
            edges[edge["row"]].append(_sure(edge))
        aligned = 0
        for row, edge in self._aligned(shard, proposed):
            edges[row].append(edge)
            aligned += 1
        cells = [
            sorted(edges[row], key=lambda edge: str(edge["uid"])) if row in edges else None
            for row in range(prepared.num_rows)
        ]
        table = pa.table({"uid": prepared["uid"], "dup_edges": pa.array(cells, pa.list_(EDGE))})
        count = sum(len(cell) for cell in cells if cell)
        summary = {"edges": count}
        if self.job.dedup.verify:
            summary |= {
                "checked": proposed.num_rows, "aligned": aligned,
                "unchecked": pc.sum(pc.equal(kind, UNCHECKED)).as_py() or 0,
            }  # fmt: skip
        return Output(table, summary=summary)

    def _aligned(
        self, shard: ShardData, proposed: pa.Table
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Of the proposed pairs those that show the same: the row here, and the edge."""
        from pipeline.measure.dedup.verify import check

        if proposed.num_rows == 0:
            return
        own = _small(shard)
        floor = self.job.dedup.verify_floor
        with ThreadPoolExecutor(worker_threads()) as pool:
            for number in sorted(set(proposed["other_shard"].to_pylist())):
                part = proposed.filter(pc.equal(proposed["other_shard"], number)).sort_by("row")
                others = own if number == shard.shard else _small(sibling(shard, number))
                rows, other_rows, uids = (
                    part[name].to_pylist() for name in ("row", "other_row", "other_uid")
                )
                pairs = [(own[a], others[b]) for a, b in zip(rows, other_rows, strict=True)]
                for start in range(0, len(pairs), AT_ONCE):
                    beat()
                    results = pool.map(partial(check, floor=floor), pairs[start : start + AT_ONCE])
                    for place, edge in enumerate(results, start):
                        if edge is not None:
                            yield rows[place], {"uid": uids[place], "shard": number, **edge}


def sibling(shard: ShardData, number: int) -> ShardData:
    """Another shard of the same run, with the same columns."""
    if number == shard.shard:
        return shard
    return replace(shard, shard=number, digests={}, _let_in={}, _cells={}, _records={})


def _small(shard: ShardData) -> list[bytes | None]:
    column: list[bytes | None] = shard.table("small")["small"].to_pylist()
    return column


def _sure(edge: dict[str, Any]) -> dict[str, Any]:
    return {
        "uid": edge["other_uid"], "shard": edge["other_shard"],
        **{name: edge[name] for name in ("kind", "similarity", "colour", "turned")},
        "added": 0.0, "other_added": 0.0,
    }  # fmt: skip
