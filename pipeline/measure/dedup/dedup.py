"""Repeats over all shards: same bytes, near PDQ hashes, near CLIP vectors.

The leader of a group is the row with the smallest uid; its members are the rows near the leader,
not those near other members. So a chain of small steps does not join pictures that have nothing in
common, and every run finds the same groups.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.job import Job, Rule
from pipeline.measure.dedup.groups import Likeness, classes_of, solve
from pipeline.measure.dedup.neighbours import NO_PAIRS, Pairs, cosine_pairs, hamming_pairs
from pipeline.measure.stage import Output, Prepared, WholeStage
from pipeline.table.columns import Column
from pipeline.table.shard import ShardData

PHASH, THUMB = 32, 12 * 12 * 3
"""Bytes of a PDQ hash and of a thumbnail."""


class DedupStage(WholeStage):
    """`dup_group`: null for a picture without repeats, else the leader's uid."""

    name = "dedup"
    version = 2
    rank = 40
    step = "Repeated pictures"

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "DedupStage | None":
        return cls(job)

    def default_rules(self) -> tuple[Rule, ...]:
        """One picture of each group."""
        return (Rule(reason="duplicate", when="dup_group is not null"),)

    @property
    def reads(self) -> tuple[str, ...]:
        base = ("status", "sha256", "phash", "phash_quality", "thumb")
        return (*base, "clip_score") if self._by_vectors else base

    @property
    def _by_vectors(self) -> bool:
        return bool(self.job.embed.model) and self.job.dedup.vector_similarity is not None

    @property
    def after(self) -> tuple[str, ...]:
        return ("embed",) if self._by_vectors else ()

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column("dup_group", pa.string(), "uid of the group's leader; null: no repeat."),
            Column("dup_sim", pa.float32(), "Likeness to the leader (its own: to its nearest)."),
            Column("dup_kind", pa.string(), "What joined the row: bytes, phash or vector."),
        )

    @property
    def packages(self) -> tuple[str, ...]:
        near = self.job.dedup.phash_distance is not None or self._by_vectors
        return ("faiss-cpu",) if near else ()

    def settings(self) -> dict[str, Any]:
        settings = self.job.dedup.recipe()
        settings.pop("prefer", None)  # `decide` chooses the survivor
        if not self._by_vectors:
            settings.pop("vector_similarity", None)
            settings.pop("thumbnail_similarity", None)
        return settings

    def prepare(self, shard: ShardData) -> Prepared:
        table = shard.table(*self.reads)
        row = pa.array(np.arange(table.num_rows), pa.int32())
        dealt = table.append_column("row", row).filter(pc.equal(table["status"], "success"))
        return Prepared(table.select(["uid"]), dealt)

    def merge(self, shards: Sequence[ShardData], rows: pa.Table) -> pa.Table:
        rows = rows.sort_by("uid")
        likenesses = self._likenesses(rows, shards)
        leader, similarity, kind = solve(rows.num_rows, list(likenesses.values()))
        names = np.array([*likenesses, None], object)
        uids = rows["uid"].combine_chunks()
        merged = pa.table(
            {
                "shard": rows["shard"],
                "uid": uids,
                "dup_group": uids.take(pa.array(np.maximum(leader, 0))),
                "dup_sim": pa.array(similarity, pa.float32()),
                "dup_kind": pa.array(names[kind], pa.string()),
            }
        )
        return merged.filter(pa.array(leader >= 0))

    def _likenesses(self, rows: pa.Table, shards: Sequence[ShardData]) -> dict[str, Likeness]:
        """The configured kinds by name, the most reliable first."""
        config, found = self.job.dedup, {}
        if config.bytes:
            found["bytes"] = same_bytes(rows)
        if config.phash_distance is not None:
            found["phash"] = near_hashes(
                rows, config.phash_distance, config.phash_quality, config.phash_thumbnail_similarity
            )
        if self._by_vectors:
            found["vector"] = self._near_vectors(rows, shards)
        return found

    def _near_vectors(self, rows: pa.Table, shards: Sequence[ShardData]) -> Likeness:
        config = self.job.dedup
        assert config.vector_similarity is not None
        index = np.flatnonzero(rows["clip_score"].is_valid().to_numpy())
        vectors = _vectors(rows.take(pa.array(index)), shards)
        keys = vectors.view(np.uint8)
        thumbs = None
        if config.thumbnail_similarity is not None:
            thumbs = _bytes(rows["thumb"].take(pa.array(index)), THUMB)
            keys = np.concatenate([keys, thumbs], axis=1)
        own, first = classes_of(keys)
        pairs = cosine_pairs(_normalised(vectors[first]), config.vector_similarity)
        if thumbs is not None and config.thumbnail_similarity is not None:
            pairs = _confirmed(pairs, thumbs[first], config.thumbnail_similarity)
        return Likeness(_placed(rows.num_rows, index, own), pairs)

    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        uids = prepared["uid"]
        place = pc.index_in(uids, value_set=merged["uid"].combine_chunks())
        columns = {c.name: merged[c.name].take(place) for c in self.writes}
        return Output(pa.table({"uid": uids, **columns}), summary={"in groups": merged.num_rows})


def _bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.uint8]:
    """Fixed-size binary cells to uint8, shape (rows, width)."""
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(len(column), width)


def _placed(
    rows: int, index: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    placed = np.full(rows, -1, np.int64)
    placed[index] = classes
    return placed


def same_bytes(rows: pa.Table) -> Likeness:
    """Rows of the same sha256."""
    codes = rows["sha256"].combine_chunks().dictionary_encode().indices
    return Likeness(pc.fill_null(codes, -1).to_numpy().astype(np.int64), NO_PAIRS)


def near_hashes(
    rows: pa.Table, distance: int, quality: int, agreement: float | None = None
) -> Likeness:
    """Rows whose PDQ hashes, if both of at least `quality`, differ in at most `distance` bits.

    PDQ ignores colour: with `agreement`, thumbnails must also have that cosine.
    """
    usable = pc.and_(rows["phash"].is_valid(), pc.greater_equal(rows["phash_quality"], quality))
    index = np.flatnonzero(pc.fill_null(usable, False).to_numpy())
    hashes = _bytes(rows["phash"].take(pa.array(index)), PHASH)
    if agreement is None:
        own, first = classes_of(hashes)
        pairs = hamming_pairs(hashes[first], distance)
    else:
        thumbs = _bytes(rows["thumb"].take(pa.array(index)), THUMB)
        own, first = classes_of(np.concatenate([hashes, thumbs], axis=1))
        pairs = _confirmed(hamming_pairs(hashes[first], distance), thumbs[first], agreement)
    return Likeness(_placed(rows.num_rows, index, own), pairs)


def _vectors(rows: pa.Table, shards: Sequence[ShardData]) -> npt.NDArray[np.float16]:
    """The rows' vectors, float16 as stored, shape (rows, dim); a shard's array at a time."""
    number, place = rows["shard"].to_numpy(), rows["row"].to_numpy()
    vectors = np.zeros((rows.num_rows, 0), np.float16)
    for shard in shards:
        mine = np.flatnonzero(number == shard.shard)
        if len(mine) == 0:
            continue
        part = shard.array("embed", "img.npy")
        if vectors.shape[1] == 0:
            vectors = np.zeros((rows.num_rows, part.shape[1]), np.float16)
        vectors[mine] = part[place[mine]]
    return vectors


def _normalised(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Float32 of length 1: float16 is off by up to 1e-3, too much for thresholds near 1."""
    wide = vectors.astype(np.float32)
    wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)
    return wide


def _confirmed(pairs: Pairs, thumbs: npt.NDArray[np.uint8], least: float) -> Pairs:
    """The pairs whose thumbnails agree."""
    left, right, similarity = pairs
    agree = _agreement(thumbs, pairs) >= least
    return left[agree], right[agree], similarity[agree]


def _agreement(thumbs: npt.NDArray[np.uint8], pairs: Pairs) -> npt.NDArray[np.float32]:
    """Cosine of the pairs' thumbnails about their means (Torralba et al., 2008, use 32×32)."""
    left, right, _ = pairs
    wide = thumbs.astype(np.float32)
    wide -= wide.mean(axis=1, keepdims=True)
    wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)
    result: npt.NDArray[np.float32] = np.einsum("nd,nd->n", wide[left], wide[right])
    return result
