"""Repeats over all shards: same bytes, near PDQ hashes, near CLIP vectors.

A group is led by its smallest uid and holds what is near its leader, so that a chain of small
steps does not join pictures that have nothing in common, and every run finds the same groups.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.neighbours import Pairs, cosine_pairs, hamming_pairs
from pipeline.stage import Output, ShardData, WholeStage
from pipeline.table import Column

KINDS = ("bytes", "phash", "vector")


class DedupStage(WholeStage):
    """`dup_group`: null for a picture without repeats, else the leader's uid."""

    name = "dedup"

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

    def settings(self) -> dict[str, Any]:
        settings = self.job.dedup.recipe()
        settings.pop("prefer")  # `decide` chooses the survivor
        if not self._by_vectors:
            settings.pop("vector_similarity")
            settings.pop("thumbnail_similarity")
        return settings

    def prepare(self, shard: ShardData) -> pa.Table:
        table = shard.table(*self.reads)
        row = pa.array(np.arange(table.num_rows), pa.int32())
        return table.append_column("row", row).filter(pc.equal(table["status"], "success"))

    def merge(
        self, shards: Sequence[ShardData], prepared: Callable[[ShardData], pa.Table]
    ) -> pa.Table:
        tables = [
            t.append_column("shard", pa.array(np.full(t.num_rows, s.shard), pa.int32()))
            for s, t in ((shard, prepared(shard)) for shard in shards)
        ]
        rows = pa.concat_tables(tables).sort_by("uid")
        groups = _Groups(rows.num_rows)
        config = self.job.dedup
        if config.bytes:
            groups.add("bytes", same_bytes(rows))
        if config.phash_distance is not None:
            groups.add("phash", self._near_hashes(rows, config.phash_distance))
        if self._by_vectors and config.vector_similarity is not None:
            groups.add("vector", self._near_vectors(rows, shards, config.vector_similarity))
        leader, similarity, kind = groups.solve()
        grouped = pa.array(leader >= 0)
        uids = rows["uid"].combine_chunks()
        return pa.table(
            {
                "shard": rows["shard"],
                "uid": uids,
                "dup_group": uids.take(pa.array(np.maximum(leader, 0))),
                "dup_sim": pa.array(similarity, pa.float32()),
                "dup_kind": pa.array(np.array(KINDS, object)[np.maximum(kind, 0)], pa.string()),
            }
        ).filter(grouped)

    def _near_hashes(self, rows: pa.Table, distance: int) -> Pairs:
        quality = rows["phash_quality"].to_numpy(zero_copy_only=False)
        index = np.flatnonzero(quality >= self.job.dedup.phash_quality)
        hashes = _bytes(rows["phash"].take(pa.array(index)), 32)
        left, right, similarity = hamming_pairs(hashes, distance)
        return index[left], index[right], similarity

    def _near_vectors(
        self, rows: pa.Table, shards: Sequence[ShardData], similarity: float
    ) -> Pairs:
        known = rows["clip_score"].is_valid().to_numpy(zero_copy_only=False)
        index = np.flatnonzero(known)
        if len(index) == 0:
            return index, index, np.zeros(0, np.float32)
        number = rows["shard"].to_numpy()[index]
        place = rows["row"].to_numpy()[index]
        parts = [shard.array("embed", "img.npy") for shard in shards]
        dim = max(part.shape[1] for part in parts)
        vectors = np.zeros((len(index), dim), np.float32)
        for shard, part in zip(shards, parts, strict=True):
            mine = number == shard.shard
            if mine.any():
                vectors[mine] = part[place[mine]]
        left, right, cosine = cosine_pairs(vectors, similarity)
        left, right = index[left], index[right]
        if self.job.dedup.thumbnail_similarity is not None:
            agree = thumbnail_cosine(rows, left, right) >= self.job.dedup.thumbnail_similarity
            left, right, cosine = left[agree], right[agree], cosine[agree]
        return left, right, cosine

    def run(self, shard: ShardData, prepared: pa.Table, merged: pa.Table) -> Output:
        uids = shard.table()["uid"]
        place = pc.index_in(uids, value_set=merged["uid"].combine_chunks())
        columns = {c.name: merged[c.name].take(place) for c in self.writes}
        return Output(pa.table({"uid": uids, **columns}), summary={"in groups": merged.num_rows})


def _bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.uint8]:
    """Fixed-size binary cells to uint8, shape (rows, width)."""
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(len(column), width)


def same_bytes(rows: pa.Table) -> Pairs:
    """Each row whose sha256 stands earlier, with the first that has it."""
    codes = rows["sha256"].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.full(codes.max(initial=-1) + 1, -1, np.int64)
    order = np.arange(len(codes))[::-1]
    first[codes[order]] = order
    right = np.flatnonzero(first[codes] != np.arange(len(codes)))
    return first[codes[right]], right, np.ones(len(right), np.float32)


def thumbnail_cosine(
    rows: pa.Table, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Cosine of 12×12 RGB thumbnails about their means (Torralba et al., 2008, use 32×32)."""
    if len(left) == 0:
        return np.zeros(0, np.float32)
    thumbs = _bytes(rows["thumb"], 432).astype(np.float32)
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    thumbs /= np.maximum(np.linalg.norm(thumbs, axis=1, keepdims=True), 1e-6)
    result: npt.NDArray[np.float32] = np.einsum("nd,nd->n", thumbs[left], thumbs[right])
    return result


class _Groups:
    """Leaders and followers from pairs, the surest kind first."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._pairs: list[tuple[int, Pairs]] = []

    def add(self, kind: str, pairs: Pairs) -> None:
        self._pairs.append((KINDS.index(kind), pairs))

    def solve(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int8]]:
        """Leader (−1: no group), likeness and kind per row; rows are in uid order."""
        near: dict[int, dict[int, tuple[int, float]]] = {}
        for kind, (left, right, similarity) in self._pairs:
            for a, b, s in zip(left.tolist(), right.tolist(), similarity.tolist(), strict=True):
                near.setdefault(a, {}).setdefault(b, (kind, s))
                near.setdefault(b, {}).setdefault(a, (kind, s))
        leader = np.full(self._rows, -1, np.int64)
        likeness = np.full(self._rows, np.nan, np.float32)
        kinds = np.full(self._rows, -1, np.int8)
        for row in sorted(near):
            if leader[row] >= 0:
                continue
            followers = {b: near[row][b] for b in near[row] if b > row and leader[b] < 0}
            if not followers:
                continue
            leader[row] = row
            kinds[row], likeness[row] = min(followers.values(), key=lambda e: (e[0], -e[1]))
            for b, (kind, similarity) in followers.items():
                leader[b], kinds[b], likeness[b] = row, kind, similarity
        return leader, likeness, kinds
