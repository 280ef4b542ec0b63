"""Which pictures of all shards are alike: the search, and the check of what it only proposes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job
from pipeline.measure.dedup.edges import CHECK, EDGE, KINDS, MISSED, PROPOSED, UNCHECKED
from pipeline.measure.stage import Output
from pipeline.measure.whole import Prepared, WholeStage
from pipeline.table.columns import Column
from pipeline.table.shard import ShardData

_SKETCH, _CHECK = 0.009, 0.01
"""Seconds of a core for a picture's keypoints, and about the most for a pair."""
_FACTS = ("status", "sha256", "phash", "phash_quality")


class PairsStage(WholeStage):
    """`dup_edges`: on the row with the smaller uid, the pictures that are like it."""

    name = "pairs"
    rank = 40
    reads_own = True
    keeps_own = False

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "PairsStage | None":
        return cls(job)

    @property
    def reads(self) -> tuple[str, ...]:
        config = self.job.dedup
        own = ("pixel_hash",) if config.needs_descriptors else ()
        return (*_FACTS, *own, *(("clip_score",) if self.by_clip else ()), *self._looked_up)

    @property
    def _looked_up(self) -> tuple[str, ...]:
        """What the search reads of few rows, or shard by shard: too much to be held for all."""
        return ("thumb", "phash_turned") if self.job.dedup.needs_descriptors else ("thumb",)

    @property
    def by_clip(self) -> bool:
        """Whether the vectors of CLIP are searched."""
        config = self.job.dedup
        own = bool(self.job.embed.model) and config.descriptor is None
        return own and (config.verify or config.vector_similarity is not None)

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
        checks = (
            "On the row with the smaller uid: the pictures that it was laid on, with a mark of "
            "both pictures, so that it is not done again."
        )
        return (
            Column("dup_edges", pa.list_(EDGE), text),
            Column("dup_checks", pa.list_(CHECK), checks),
        )

    @property
    def packages(self) -> tuple[str, ...]:
        if self.job.dedup.verify:
            return ("faiss-cpu", "opencv-python-headless")
        return ("faiss-cpu",) if self.by_clip or self.job.dedup.phash_distance is not None else ()

    def settings(self) -> dict[str, Any]:
        return self.job.dedup.search_settings(by_clip=self.by_clip)

    def outlook(self, rows: int | None) -> str | None:
        from pipeline.measure.dedup.neighbours import SearchPlan

        config, said = self.job.dedup, []
        if rows is not None and (self.by_clip or config.verify or config.descriptor):
            plan = SearchPlan(config.cells, config.cells_searched)
            said.append(f"pairs: {plan.describe(rows)}")
        if config.verify:
            each = _SKETCH + _CHECK * config.verify_budget
            cost = f"for each picture, up to {1000 * each:.0f} ms of a core"
            most = f"{config.verify_budget:g} pairs"
            if rows is not None:
                cost = f"in all, up to {rows * each / 3600:,.1f} hours of a core"
                most = f"{int(config.verify_budget * rows):,} pairs"
            said.append(f"at most {most} are laid on each other {cost} (dedup.verify_budget)")
        return "; ".join(said) or None

    def prepare(self, shard: ShardData) -> Prepared:
        table = shard.table(*(name for name in self.reads if name not in self._looked_up))
        row = pa.array(np.arange(table.num_rows), pa.int32())
        dealt = table.append_column("row", row).filter(pc.equal(table["status"], "success"))
        return Prepared(table.select(["uid"]), dealt.drop_columns(["status"]))

    def merge(self, shards: Sequence[ShardData], rows: pa.Table) -> pa.Table:
        from pipeline.measure.dedup.pictures import Pictures
        from pipeline.measure.dedup.search import search
        from pipeline.measure.dedup.verify import marks_of

        pictures, scratch = Pictures(rows, shards), shards[0].scratch if shards else None
        found = search(pictures, self.job.dedup, scratch, by_clip=self.by_clip)
        own = [name for name in ("shard", "uid", "row", "pixel_hash") if name in pictures.names]
        rows = pictures.rows.select(own)
        left, right = rows.take(found["left"]), rows.take(found["right"])
        marks = marks_of(left, right) if self.job.dedup.verify else pa.nulls(len(left), pa.string())
        pairs = pa.table(
            {
                **{name: left[name] for name in ("shard", "uid", "row")},
                **{f"other_{name}": right[name] for name in ("uid", "shard", "row")},
                **{name: found[name] for name in ("kind", "similarity", "colour", "turned")},
                "mark": marks,
                **{name: found[name] for name in ("sampled",) if name in found.column_names},
            }
        )
        # The other ends, so that their shards know that they may be in a group.
        ends = rows.take(pc.unique(found["right"])).select(["shard", "uid", "row"])
        return pa.concat_tables([pairs, ends], promote_options="default")

    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        from pipeline.measure.dedup.verify import verified

        kind = merged["kind"]
        proposed = merged.filter(pc.equal(kind, PROPOSED))
        edges: dict[int, list[dict[str, Any]]] = {row: [] for row in merged["row"].to_pylist()}
        for edge in merged.filter(pc.is_in(kind, pa.array(KINDS))).to_pylist():
            edges[edge["row"]].append(_sure(edge))
        checks: dict[int, list[dict[str, str]]] = {}
        aligned = 0
        for row, check, edge in verified(shard, proposed, self.job.dedup.floor.verify_similarity):
            checks.setdefault(row, []).append(check)
            if edge is not None:
                edges[row].append(edge)
                aligned += 1
        table = pa.table(
            {
                "uid": prepared["uid"],
                "dup_edges": _by_row(edges, prepared.num_rows, EDGE),
                "dup_checks": _by_row(checks, prepared.num_rows, CHECK),
            }
        )
        summary = {"edges": sum(map(len, edges.values()))}
        if self.job.dedup.verify:
            summary |= {
                "checked": proposed.num_rows, "aligned": aligned,
                "unchecked": pc.sum(pc.equal(kind, UNCHECKED)).as_py() or 0,
            }  # fmt: skip
        if "sampled" in merged.column_names:
            marks = np.asarray(pc.fill_null(merged["sampled"], 0))
            summary |= {"sampled": int((marks > 0).sum()), "missed": int((marks == MISSED).sum())}
        return Output(table, summary=summary)


def _by_row(cells: Mapping[int, list[dict[str, Any]]], rows: int, kind: pa.DataType) -> pa.Array:
    """A column of lists, by uid; null for a row that is not among the cells."""
    lists = (cells.get(row) for row in range(rows))
    ordered = [None if one is None else sorted(one, key=lambda x: str(x["uid"])) for one in lists]
    return pa.array(ordered, pa.list_(kind))


def _sure(edge: dict[str, Any]) -> dict[str, Any]:
    return {
        "uid": edge["other_uid"], "shard": edge["other_shard"],
        **{name: edge[name] for name in ("kind", "similarity", "colour", "turned")},
        "added": 0.0, "other_added": 0.0,
    }  # fmt: skip
