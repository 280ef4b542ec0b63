"""The search over all pictures: same bytes, same pixels, near hashes; and by vectors, proposals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.dedup import DedupConfig
from pipeline.measure.dedup.colours import colour_agreements
from pipeline.measure.dedup.descriptors import TURNS
from pipeline.measure.dedup.edges import PROPOSED, UNCHECKED, Found, Indices, tabled
from pipeline.measure.dedup.groups import Edges, classes_of, solve
from pipeline.measure.dedup.hamming import Hamming
from pipeline.measure.dedup.neighbours import SearchPlan, cosine_pairs, marked
from pipeline.measure.dedup.pictures import Pictures
from pipeline.measure.dedup.proposals import propose
from pipeline.measure.dedup.stored import Vectors
from pipeline.table.arrays import from_numbers

_NEARLY, _NEARLY_COLOUR = 16, 0.95
"""Bits by which hashes differ at most, and the agreement of thumbnails, of nearly the same."""
_ASKED = 2**18
"""Pictures whose turned hashes are held, and looked up, at once: each time all are sorted anew."""
_AT_ONCE = 16_384
"""Pairs whose thumbnails are held at once."""
PHASH, SIDE = 32, 12
"""Bytes of a PDQ hash, and pixels of a thumbnail's side."""
Thumbs = npt.NDArray[np.uint8]


def search(
    pictures: Pictures, config: DedupConfig, scratch: Path | None, *, by_clip: bool
) -> pa.Table:
    """Edges between the pictures, as `edges.tabled`.

    What must still be aligned has the kind `proposed`, what the budget does not reach `unchecked`.
    """
    found, rows = [], len(pictures)
    if config.bytes:
        found.append(Found.equal("bytes", pictures.codes("sha256")))
    if config.pixels:
        found.append(Found.equal("pixels", pictures.codes("pixel_hash")))
    equal = found
    if config.phash_distance is not None:
        same, near = _near_hashes(pictures, _first_of_each(rows, found), config)
        equal, found = [*found, same], [*found, same, near]
    if config.verify or (config.vector_floor is not None and (by_clip or config.descriptor)):
        place = ("embed", "img.npy") if by_clip else ("descriptors", "layer.npy")
        there = pictures.there("pixel_hash", *(["clip_score"] if by_clip else []))
        index = _first_of_each(rows, equal, there)
        if config.verify:
            sure = tabled(found)
            index = index[~np.isin(index, _nearly_the_same(sure, index, rows))]
            vectors = pictures.vectors(*place, index)
            return _with_proposals(sure, index, vectors, rows, config, scratch)
        assert config.vector_floor is not None
        own, least = Vectors(pictures.vectors(*place, index)), config.vector_floor
        plan = SearchPlan(config.cells, config.cells_searched)
        left, right, cosine, marks = marked(own, plan, cosine_pairs(own, plan, least), least)
        colour = _colours(pictures, index[left], index[right])
        none = np.zeros(len(colour), bool)
        found.append(Found("vector", left, right, cosine, colour, none).among(index))
        return _with_marks(tabled(found), index[left], index[right], marks, rows)
    return tabled(found)


def _with_marks(
    edges: pa.Table, left: Indices, right: Indices, marks: npt.NDArray[np.int8], rows: int
) -> pa.Table:
    """The edges with the column `sampled`: the marks of those among the pairs, 0 for others."""
    pairs = np.minimum(left, right) * rows + np.maximum(left, right)
    own = np.asarray(edges["left"]) * rows + np.asarray(edges["right"])
    order = np.argsort(pairs)
    place = np.minimum(np.searchsorted(pairs[order], own), max(len(pairs) - 1, 0))
    found = np.zeros(len(own), np.int8)
    if len(pairs):
        found = np.where(pairs[order][place] == own, marks[order][place], 0).astype(np.int8)
    return edges.append_column("sampled", from_numbers(found))


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


def _near_hashes(pictures: Pictures, first: Indices, config: DedupConfig) -> list[Found]:
    """Of the rows `first`: those of one hash and thumbnail, and those of near hashes."""
    usable = pictures.there("phash", *(["pixel_hash"] if config.turned else []))
    quality = pc.fill_null(pictures.rows["phash_quality"], -1)
    usable &= np.asarray(quality) >= config.phash_quality
    index = first[usable[first]]
    same = Found.equal("phash", _alike(pictures, index))
    own = _first_of_each(len(index), [same])
    same, index = same.among(index), index[own]
    distance = config.phash_floor
    hashes = Hamming(pictures.cells("phash", index, PHASH), distance)
    left, right, similarity = hashes.pairs()
    colour = _colours(pictures, index[left], index[right])
    ones = [(left, right, similarity, colour, np.zeros(len(left), bool))]
    if config.turned:
        for turn, (left, right, similarity) in enumerate(_turned(pictures, index, hashes)):
            colour = _colours(pictures, index[left], index[right], turn)
            ones.append((left, right, similarity, colour, np.ones(len(left), bool)))
    near = Found("phash", *(np.concatenate(parts) for parts in zip(*ones, strict=True)))
    return [same, near.among(index)]


def _alike(pictures: Pictures, index: Indices) -> Indices:
    """The class of each row among those of the same hash and thumbnail; −1 if it is alone."""
    codes = pictures.codes("phash")[index]
    _, where, counts = np.unique(codes, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[where.reshape(-1)] > 1)
    classes = np.full(len(index), -1, np.int64)
    if len(several):
        thumbs = pictures.cells("thumb", index[several], SIDE * SIDE * 3)
        number = codes[several].astype("<i8").reshape(-1, 1).view(np.uint8)
        keys = np.ascontiguousarray(np.concatenate([number, thumbs], axis=1))
        words = keys.view(f"V{keys.shape[1]}").ravel()
        classes[several] = np.unique(words, return_inverse=True)[1].reshape(-1)
    return classes


def _turned(
    pictures: Pictures, index: Indices, hashes: Hamming
) -> list[tuple[Indices, Indices, npt.NDArray[np.float32]]]:
    """For each way of turning: rows whose turned hash is near to another row's hash."""
    found: list[list[tuple[Indices, ...]]] = [[] for _ in range(TURNS)]
    for mine in pictures.in_parts(index, _ASKED):
        cells = pictures.cells("phash_turned", index[mine], PHASH * TURNS)
        for turn in range(TURNS):
            turned = cells[:, turn * PHASH : (turn + 1) * PHASH]
            left, right, similarity = hashes.matches(turned)
            keep = mine[left] != right
            found[turn].append((mine[left[keep]], right[keep], similarity[keep]))
    none = np.zeros(0, np.int64)
    return [
        (
            np.concatenate([none, *(one[0] for one in ones)]),
            np.concatenate([none, *(one[1] for one in ones)]),
            np.concatenate([np.zeros(0, np.float32), *(one[2] for one in ones)]),
        )
        for ones in found
    ]


def turn_of(thumbs: Thumbs, turn: int) -> Thumbs:
    """Pictures (rows, side, side, 3) turned as the hash of this number in `phash_turned` says."""
    if turn < 3:
        return np.rot90(thumbs, turn + 1, axes=(1, 2))
    if turn < 5:
        return np.flip(thumbs, axis=turn - 2)
    across = np.swapaxes(thumbs, 1, 2)
    return across if turn == 5 else np.rot90(across, 2, axes=(1, 2))


def _with_proposals(
    sure: pa.Table, index: Indices, vectors: npt.NDArray[np.float16], rows: int,
    config: DedupConfig, scratch: Path | None,
) -> pa.Table:  # fmt: skip
    """The sure edges and the pairs that the vectors propose, but for those that are sure."""
    plan = SearchPlan(config.cells, config.cells_searched)
    left, right, cosine, marks = propose(vectors, plan, config.verify_neighbours, scratch)
    left, right = index[left], index[right]
    known = np.asarray(sure["left"]) * rows + np.asarray(sure["right"])
    new = ~np.isin(left * rows + right, known)
    left, right, cosine, marks = left[new], right[new], cosine[new], marks[new]
    reached = np.arange(len(left)) < int(config.verify_budget * rows)
    words = pa.array([UNCHECKED, PROPOSED], pa.string())
    columns = {
        "left": from_numbers(left),
        "right": from_numbers(right),
        "kind": words.take(from_numbers(reached.astype(np.int32))),
        "similarity": from_numbers(cosine.astype(np.float32)),
        "colour": pa.nulls(len(left), pa.float32()),
        "turned": pa.nulls(len(left), pa.bool_()),
        "sampled": from_numbers(marks),
    }
    return pa.concat_tables([sure, pa.table(columns)], promote_options="default")


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


def _colours(
    pictures: Pictures, left: Indices, right: Indices, turn: int | None = None
) -> npt.NDArray[np.float32]:
    """How much the colours of pairs agree; the left ones are turned before."""
    needed, own = np.unique(np.concatenate([left, right]), return_inverse=True)
    cells = pictures.cells("thumb", needed, SIDE * SIDE * 3)
    thumbs = cells.reshape(-1, SIDE, SIDE, 3)
    first, second = np.split(own.reshape(-1), 2)
    found = np.zeros(len(left), np.float32)
    for start in range(0, len(left), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        own_thumbs = thumbs[first[part]]
        turned = own_thumbs if turn is None else turn_of(own_thumbs, turn)
        found[part] = colour_agreements(turned, thumbs[second[part]])
    return found
