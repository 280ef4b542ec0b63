"""Groups of repeats, of the pairs that the search noted: the thresholds, and who is the centre."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job, Rule
from pipeline.measure.dedup.edges import KINDS, Indices
from pipeline.measure.stage import Output
from pipeline.measure.whole import Prepared, WholeStage
from pipeline.table.columns import Column
from pipeline.table.shard import ShardData

_BITS = 256
_FRAMED = 0.25
"""What the pixels of a framed picture count: a screenshot may show it enlarged, and what trains on
it learns the frame."""


_SIZE = ("original_pixels", "original_width", "original_height")


class DedupStage(WholeStage):
    """`dup_group`: null for a picture without repeats, else the leader's uid."""

    name = "dedup"
    version = 3
    keeps_own = False
    rank = 41
    step = "Repeated pictures"

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "DedupStage | None":
        return cls(job)

    def default_rules(self) -> tuple[Rule, ...]:
        """One picture of each group."""
        return (Rule(reason="duplicate", when="dup_group is not null"),)

    @property
    def reads(self) -> tuple[str, ...]:
        own = ("samples",) if self.job.dedup.needs_descriptors else ()
        return ("dup_edges", *_SIZE, *own)

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column("dup_group", pa.string(), "uid of the group's leader; null: no repeat."),
            Column("dup_sim", pa.float32(), "Likeness to the leader (its own: to its nearest)."),
            Column(
                "dup_kind",
                pa.string(),
                "What joined the row: `bytes`, `pixels`, `phash`, `aligned` or `vector`.",
            ),
            Column(
                "dup_pixels",
                pa.float32(),
                "`original_pixels`; of a picture with a frame, bar or border around what another "
                "member shows, a quarter of the pixels within.",
            ),
            Column(
                "dup_centrality",
                pa.float32(),
                "Minus its mean distance (0–255) from the median of the group's members of its "
                "size; 0 for the nearest, for those about as near, and if fewer than three differ.",
            ),
        )

    def settings(self) -> dict[str, Any]:
        return self.job.dedup.threshold_settings()

    def prepare(self, shard: ShardData) -> Prepared:
        """To the merge go the edges that pass the thresholds, and the rows that may be in one."""
        table = shard.table(*self.reads)
        lists = table["dup_edges"].combine_chunks()
        edges = lists.flatten()
        found = pa.table(
            {
                "uid": table["uid"].take(pc.list_parent_indices(lists)),
                **{f"other_{name}": edges.field(name) for name in ("uid", "shard")},
                "other_added": edges.field("other_added"),
                **{
                    name: edges.field(name)
                    for name in ("kind", "similarity", "colour", "turned", "added")
                },
            }
        )
        # A row without edges may be the other end of one.
        facts = [name for name in ("samples", *_SIZE[1:]) if name in table.column_names]
        ends = table.select(["uid", *facts]).filter(lists.is_valid())
        dealt = pa.concat_tables(
            [found.filter(self._counts(found)), ends], promote_options="default"
        )
        return Prepared(table.select(["uid"]), dealt)

    def _counts(self, edges: pa.Table) -> pa.Array:
        """Which edges pass the thresholds of their kind."""
        config = self.job.dedup
        off = 2.0
        lines = {
            "bytes": (0.0 if config.bytes else off, None),
            "pixels": (0.0 if config.pixels else off, None),
            "phash": (
                off if config.phash_distance is None else 1 - config.phash_distance / _BITS,
                config.phash_thumbnail_similarity,
            ),
            "aligned": (config.verify_similarity, config.verify_colour),
            "vector": (config.vector_similarity or off, config.thumbnail_similarity),
        }
        passed = pa.array(np.zeros(edges.num_rows, bool))
        for kind, (similarity, colour) in lines.items():
            own = pc.and_(
                pc.equal(edges["kind"], kind),
                pc.greater_equal(edges["similarity"], np.float32(similarity)),
            )
            if colour is not None:
                own = pc.and_(own, pc.greater_equal(edges["colour"], np.float32(colour)))
            passed = pc.or_(passed, own)
        return passed

    def merge(self, shards: Sequence[ShardData], rows: pa.Table) -> pa.Table:
        from pipeline.measure.dedup.groups import Edges, solve

        of_pictures = rows.filter(rows["kind"].is_null())
        rows = rows.filter(rows["kind"].is_valid())
        ends = pa.concat_tables(
            [
                rows.select(["uid", "shard"]),
                rows.select(["other_uid", "other_shard"]).rename_columns(["uid", "shard"]),
            ]
        )
        nodes = ends.group_by(["uid", "shard"]).aggregate([]).sort_by("uid")
        uids = nodes["uid"].combine_chunks()
        left, right = (
            np.asarray(pc.index_in(rows[name], value_set=uids), np.int64)
            for name in ("uid", "other_uid")
        )
        kind = np.asarray(pc.index_in(rows["kind"], value_set=pa.array(KINDS)), np.int64)
        values = (np.asarray(rows[name]) for name in ("similarity", "colour", "turned"))
        edges = Edges(left, right, kind, *values)
        found = solve(nodes.num_rows, edges)
        added = np.zeros(nodes.num_rows, np.float32)
        np.maximum.at(added, left, np.asarray(rows["added"], np.float32))
        np.maximum.at(added, right, np.asarray(rows["other_added"], np.float32))
        merged = pa.table(
            {
                "shard": nodes["shard"].cast(pa.int32()),
                "uid": uids,
                "dup_group": uids.take(pa.array(np.maximum(found.leader, 0))),
                "dup_sim": pa.array(found.similarity, pa.float32()),
                "dup_kind": pa.array(np.array([*KINDS, None], object)[found.kind], pa.string()),
                "dup_centrality": _centralities(of_pictures, uids, found.leader),
                "added": pa.array(added),
            }
        )
        return merged.filter(pa.array(found.leader >= 0))

    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        uids = prepared["uid"]
        place = pc.index_in(uids, value_set=merged["uid"].combine_chunks())
        cells = {name: merged[name].take(place) for name in merged.column_names}
        facts = shard.table("original_pixels")
        pixels = _own_pixels(facts["original_pixels"], cells["added"])
        columns = {c.name: cells[c.name] for c in self.writes if c.name in cells}
        table = pa.table({"uid": uids, **columns, "dup_pixels": pixels})
        return Output(
            table.select(["uid", *(c.name for c in self.writes)]),
            summary={"in groups": merged.num_rows},
        )


def _centralities(pictures: pa.Table, uids: pa.Array, leader: Indices) -> pa.Array:
    """Those of the rows; `pictures` are all that may be in a group."""
    from pipeline.measure.dedup.typical import centralities

    if "samples" not in pictures.column_names:
        return pa.nulls(len(uids), pa.float32())
    own = pictures.take(pc.index_in(uids, value_set=pictures["uid"].combine_chunks()))
    width, height = (np.asarray(pc.fill_null(own[name], 0), np.int64) for name in _SIZE[1:])
    found = centralities(leader, width, height, own["samples"])
    return pa.array(found, pa.float32(), from_pandas=True)


def _own_pixels(pixels: pa.ChunkedArray, added: pa.ChunkedArray) -> pa.Array:
    """Null where `added` is."""
    share: npt.NDArray[np.float32] = np.asarray(pc.fill_null(added, 0), np.float32)
    own = np.asarray(pc.fill_null(pixels, 0), np.float64) * (1 - share)
    own = np.where(share > 0, own * _FRAMED, own)
    return pa.array(own.astype(np.float32), mask=np.asarray(added.is_null()))
