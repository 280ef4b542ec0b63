"""The search over all pictures: same bytes, same pixels, near hashes; and by vectors, proposals."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.dedup import DedupConfig
from pipeline.measure.dedup.colours import colour_agreements
from pipeline.measure.dedup.descriptors import TURNS
from pipeline.measure.dedup.edges import PROPOSED, UNCHECKED, Found, Indices, tabled
from pipeline.measure.dedup.groups import Edges, classes_of, solve
from pipeline.measure.dedup.neighbours import cosine_pairs, hamming_pairs, normalised
from pipeline.measure.dedup.proposals import propose
from pipeline.table.arrays import from_numbers
from pipeline.table.shard import ShardData

_NEARLY, _NEARLY_COLOUR = 16, 0.95
"""Bits by which hashes differ at most, and the agreement of thumbnails, of nearly the same."""
PHASH, SIDE = 32, 12
"""Bytes of a PDQ hash, and pixels of a thumbnail's side."""
Thumbs = npt.NDArray[np.uint8]


def search(
    rows: pa.Table, shards: Sequence[ShardData], config: DedupConfig, *, by_clip: bool
) -> pa.Table:
    """Edges between the rows, which are in the order of their uids, as `edges.tabled`.

    What must still be aligned has the kind `proposed`, what the budget does not reach `unchecked`.
    """
    found = []
    if config.bytes:
        found.append(Found.equal("bytes", _codes(rows["sha256"])))
    if config.pixels:
        found.append(Found.equal("pixels", _codes(rows["pixel_hash"])))
    equal = found
    if config.phash_distance is not None:
        same, near = _near_hashes(rows, _first_of_each(rows.num_rows, found), config)
        equal, found = [*found, same], [*found, same, near]
    if by_clip or config.verify:
        index, vectors = _vectors(rows, equal, shards, by_clip=by_clip)
        if config.verify:
            return _with_proposals(tabled(found), index, vectors, rows.num_rows, config)
        assert config.vector_floor is not None
        pairs = cosine_pairs(normalised(vectors), config.vector_floor)
        thumbs = _thumbs(rows, index)
        colour = colour_agreements(thumbs[pairs[0]], thumbs[pairs[1]])
        found.append(Found("vector", *pairs, colour, np.zeros(len(colour), bool)).among(index))
    return tabled(found)


def _codes(column: pa.ChunkedArray) -> Indices:
    codes = column.combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(codes, -1), np.int64)


def _first_of_each(
    rows: int, found: Sequence[Found], there: npt.NDArray[np.bool_] | None = None
) -> Indices:
    """Of each class that the edges join the first row that is `there`, ascending."""
    none = np.zeros(0, np.int64)
    left, right = (
        np.concatenate([none, *(getattr(f, side) for f in found)]) for side in ("left", "right")
    )
    classes = classes_of(rows, left, right)
    own = np.arange(rows) if there is None else np.flatnonzero(there)
    return np.sort(own[np.unique(classes[own], return_index=True)[1]])


def _near_hashes(rows: pa.Table, first: Indices, config: DedupConfig) -> list[Found]:
    """Of the rows `first`: those of one hash and thumbnail, and those of near hashes."""
    part = rows.take(from_numbers(first))
    usable = pc.and_(
        part["phash"].is_valid(), pc.greater_equal(part["phash_quality"], config.phash_quality)
    )
    if config.turned:  # null in a row on which the process died
        usable = pc.and_(usable, part["phash_turned"].is_valid())
    index = first[np.flatnonzero(np.asarray(pc.fill_null(usable, False)))]
    hashes, thumbs = _bytes(rows["phash"], index, PHASH), _thumbs(rows, index)
    keys = np.concatenate([hashes, thumbs.reshape(len(index), SIDE * SIDE * 3)], axis=1)
    same = Found.equal("phash", _classes(keys))
    own = _first_of_each(len(index), [same])
    same = same.among(index)
    hashes, thumbs, index = hashes[own], thumbs[own], index[own]
    distance = config.phash_floor
    left, right, similarity = hamming_pairs(hashes, distance)
    colour = colour_agreements(thumbs[left], thumbs[right])
    ones = [(left, right, similarity, colour, np.zeros(len(left), bool))]
    if config.turned:
        turned = _bytes(rows["phash_turned"], index, PHASH * TURNS).reshape(-1, TURNS, PHASH)
        for turn in range(TURNS):
            left, right, similarity = hamming_pairs(
                hashes, distance, np.ascontiguousarray(turned[:, turn])
            )
            colour = colour_agreements(turn_of(thumbs[left], turn), thumbs[right])
            ones.append((left, right, similarity, colour, np.ones(len(left), bool)))
    near = Found("phash", *(np.concatenate(parts) for parts in zip(*ones, strict=True)))
    return [same, near.among(index)]


def turn_of(thumbs: Thumbs, turn: int) -> Thumbs:
    """Pictures (rows, side, side, 3) turned as the hash of this number in `phash_turned` says."""
    if turn < 3:
        return np.rot90(thumbs, turn + 1, axes=(1, 2))
    if turn < 5:
        return np.flip(thumbs, axis=turn - 2)
    across = np.swapaxes(thumbs, 1, 2)
    return across if turn == 5 else np.rot90(across, 2, axes=(1, 2))


def _with_proposals(
    sure: pa.Table, index: Indices, vectors: npt.NDArray[np.float16], rows: int, config: DedupConfig
) -> pa.Table:
    """The sure edges and the pairs that the vectors propose, but for those that are sure."""
    keep = ~np.isin(index, _nearly_the_same(sure, index, rows))
    index, vectors = index[keep], vectors[keep]
    left, right, cosine = propose(vectors, config.verify_neighbours)
    left, right = index[left], index[right]
    known = np.asarray(sure["left"]) * rows + np.asarray(sure["right"])
    new = ~np.isin(left * rows + right, known)
    left, right, cosine = left[new], right[new], cosine[new]
    reached = np.arange(len(left)) < int(config.verify_budget * rows)
    words = pa.array([UNCHECKED, PROPOSED], pa.string())
    columns = {
        "left": from_numbers(left),
        "right": from_numbers(right),
        "kind": words.take(from_numbers(reached.astype(np.int32))),
        "similarity": from_numbers(cosine.astype(np.float32)),
        "colour": pa.nulls(len(left), pa.float32()),
        "turned": pa.nulls(len(left), pa.bool_()),
    }
    return pa.concat_tables([sure, pa.table(columns)])


def _nearly_the_same(sure: pa.Table, index: Indices, rows: int) -> Indices:
    """Rows of `index` whose hashes are so near to another's that that one is searched for them.

    Else the nearest neighbours of a picture that was often recompressed would all be such copies,
    and none would be the crop."""
    near = pc.and_(
        pc.greater_equal(sure["similarity"], np.float32(1 - _NEARLY / (8 * PHASH))),
        pc.greater_equal(sure["colour"], np.float32(_NEARLY_COLOUR)),
    )
    searched = pa.array(index)
    for end in ("left", "right"):
        near = pc.and_(near, pc.is_in(sure[end], searched))
    part = sure.filter(near)
    columns = [np.asarray(part[name]) for name in ("left", "right", "similarity", "colour")]
    kinds = np.zeros(part.num_rows, np.int64)
    left, right, similarity, colour = columns
    edges = Edges(left, right, kinds, similarity, colour, np.asarray(part["turned"]))
    leader = solve(rows, edges).leader
    return np.flatnonzero((leader >= 0) & (leader != np.arange(rows)))


def _vectors(
    rows: pa.Table, equal: Sequence[Found], shards: Sequence[ShardData], *, by_clip: bool
) -> tuple[Indices, npt.NDArray[np.float16]]:
    """One row of each class of equal ones, and its vector: float16 as stored, (rows, dim)."""
    stage, name = ("embed", "img.npy") if by_clip else ("descriptors", "layer.npy")
    there = np.asarray(rows["clip_score" if by_clip else "pixel_hash"].is_valid())
    if "pixel_hash" in rows.column_names:  # null also where there is no small picture
        there = there & np.asarray(rows["pixel_hash"].is_valid())
    index = _first_of_each(rows.num_rows, equal, there)
    number, place = (np.asarray(rows[column])[index] for column in ("shard", "row"))
    vectors = np.zeros((len(index), 0), np.float16)
    for shard in shards:
        mine = np.flatnonzero(number == shard.shard)
        if len(mine) == 0:
            continue
        part = shard.array(stage, name)
        if vectors.shape[1] == 0:
            vectors = np.zeros((len(index), part.shape[1]), np.float16)
        vectors[mine] = part[place[mine]]
    return index, vectors


def _thumbs(rows: pa.Table, index: Indices) -> Thumbs:
    return _bytes(rows["thumb"], index, SIDE * SIDE * 3).reshape(-1, SIDE, SIDE, 3)


def _bytes(column: pa.ChunkedArray, index: Indices, width: int) -> npt.NDArray[np.uint8]:
    """Fixed-size binary cells to uint8, shape (rows, width)."""
    joined = b"".join(column.take(from_numbers(index)).to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(len(index), width)


def _classes(keys: npt.NDArray[np.uint8]) -> Indices:
    """Rows of bytes (rows, width) to the class of each, shape (rows,)."""
    if len(keys) == 0:
        return np.zeros(0, np.int64)
    words = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel()
    return np.unique(words, return_inverse=True)[1].reshape(-1).astype(np.int64)
