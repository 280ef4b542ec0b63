"""Pictures that are in other sets: earlier exports, and those that models are evaluated on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.dedup import AgainstSet
from pipeline.config.job import Job, Rule
from pipeline.measure.dedup.looking import Look
from pipeline.measure.dedup.reference import (
    Reference,
    check_reference,
    digest,
    job_width,
    read_reference,
)
from pipeline.measure.stage import Output, TableStage
from pipeline.table.columns import Column
from pipeline.table.shard import Rows, ShardData
from pipeline.words.heartbeat import beat

_DISTANCE, _COLOUR = 31, 0.9
_NEAREST, _ALIGNED, _ALIGNED_COLOUR = 5, 0.3, 0.75
_VECTOR = 0.96
_SETTINGS = ("verify", "turned", "phash_quality", "vector_similarity")
_AT_ONCE = 1024
Best = dict[int, tuple[str, str, str, str, float]]
"""By row: the set, its use, the entry's name, the kind of likeness and how much."""


class AgainstStage(TableStage):
    """`against_set` and what in it is the same picture; null: in none of the sets."""

    name = "against"
    rank = 38
    step = "Repeated pictures"

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "AgainstStage | None":
        return cls(job) if job.dedup.against else None

    def default_rules(self) -> tuple[Rule, ...]:
        """Everything that was found."""
        rules = {"eval": "in_eval_set", "earlier": "in_earlier_set"}
        used = [use for use in rules if any(one.use == use for one in self._sets)]
        line = self.job.dedup.verify_similarity
        sure = f"(against_kind <> 'aligned' or against_sim >= {line:g})"
        return tuple(
            Rule(reason=rules[use], when=f"against_use = '{use}' and {sure}") for use in used
        )

    def notice(self) -> str | None:
        if self.job.rules is None or any("against_" in rule.when for rule in self.job.rules):
            return None
        use = self._sets[0].use
        reason = {"eval": "in_eval_set", "earlier": "in_earlier_set"}[use]
        return (
            "no rule reads what `dedup.against` finds, so that nothing is dropped for it; add "
            f"{{reason: {reason}, when: \"against_use = '{use}'\"}}"
        )

    @property
    def _sets(self) -> tuple[AgainstSet, ...]:
        return self.job.dedup.against

    @property
    def reads(self) -> tuple[str, ...]:
        base = ("status", "sha256", "phash", "phash_quality", "thumb")
        own = ("phash_turned", "small") if self.job.dedup.needs_descriptors else ()
        return (*base, *own, *(("clip_score",) if self.job.embed.model else ()))

    @property
    def after(self) -> tuple[str, ...]:
        own = ("descriptors",) if self.job.dedup.needs_descriptors else ()
        return (*own, "embed") if self.job.embed.model else own

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column(
                "against_set", pa.string(), "The set of `dedup.against` that it is in, or null."
            ),
            Column("against_use", pa.string(), "What that set is: `eval` or `earlier`."),
            Column(
                "against_id",
                pa.string(),
                "Which picture of the set: its uid in an export, its file in a folder, its row.",
            ),
            Column("against_kind", pa.string(), "`bytes`, `phash`, `aligned` or `vector`."),
            Column("against_sim", pa.float32(), "How alike the two are, 0–1."),
        )

    @property
    def only_if(self) -> str | None:
        return None

    @property
    def packages(self) -> tuple[str, ...]:
        return ("faiss-cpu", "pdqhash", "opencv-python-headless")

    def settings(self) -> dict[str, Any]:
        return {
            "sets": [[digest(Path(one.path)), one.use] for one in self._sets],
            **{name: getattr(self.job.dedup, name) for name in _SETTINGS},
        }

    def check(self) -> None:
        for i, one in enumerate(self._sets):
            check_reference(Path(one.path), job_width(self.job), f"dedup.against[{i}]")

    def run(self, shard: ShardData, rows: Rows) -> Output:
        table = shard.table(*self.reads)
        there = np.flatnonzero(rows & np.asarray(table["phash"].is_valid()))
        pictures = _Rows(self.job, shard, table, there)
        best: Best = {}
        for one in self._sets:
            path = Path(one.path)
            reference = read_reference(path, digest(path), Look(self.job))
            for row, name, kind, similarity in _found(pictures, reference, self.job):
                best.setdefault(row, (one.path, one.use, name, kind, similarity))
        columns = [[None] * table.num_rows for _ in self.writes]
        for row, cells in best.items():
            for column, cell in zip(columns, cells, strict=True):
                column[row] = cell  # type: ignore[call-overload]
        arrays = [
            pa.array(column, kind.type) for column, kind in zip(columns, self.writes, strict=True)
        ]
        names = [column.name for column in self.writes]
        result = pa.table([table["uid"], *arrays], ["uid", *names])
        return Output(result, summary={"in other sets": len(best)})


@dataclass
class _Rows:
    """The pictures of a shard; `places` are their rows, and everything is in their order."""

    job: Job
    shard: ShardData
    table: pa.Table
    places: npt.NDArray[np.int64]

    def cells(self, name: str) -> list[Any]:
        cells: list[Any] = self.table[name].take(pa.array(self.places)).to_pylist()
        return cells

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(b"".join(self.cells("phash")), np.uint8).reshape(-1, 32)

    @cached_property
    def vectors(self) -> npt.NDArray[np.float32] | None:
        """None if the job makes none; zeros where a row has none."""
        config = self.job.dedup
        clip = bool(self.job.embed.model) and config.descriptor is None
        if not (clip or config.verify or config.descriptor):
            return None
        place = ("embed", "img.npy") if clip else ("descriptors", "layer.npy")
        array = self.shard.array(*place)
        return array[self.places].astype(np.float32) if array.shape[1] else None


def _found(rows: _Rows, reference: Reference, job: Job) -> list[tuple[int, str, str, float]]:
    """Rows that an entry of the set shows: the row, the entry's name, the kind, the similarity."""
    left = dict.fromkeys(range(len(rows.places)))
    found: list[tuple[int, str, str, float]] = []
    for kind, look in (("bytes", _bytes), ("phash", _hashes), ("aligned", _aligned)):
        for place, entry, similarity in look(rows, reference, job, list(left)):
            if place in left:
                del left[place]
                is_plain = kind == "aligned" and reference.small[entry] is None
                word = "vector" if is_plain else kind
                row = int(rows.places[place])
                found.append((row, reference.names[entry], word, similarity))
    return found


Found = list[tuple[int, int, float]]
"""The place of a row among the pictures, the number of the entry, and the similarity; the best
entry of a row comes first."""


def _bytes(rows: _Rows, reference: Reference, job: Job, left: Sequence[int]) -> Found:
    known = {sha: entry for entry, sha in reversed(list(enumerate(reference.sha256))) if sha}
    own = rows.cells("sha256") if known else []
    return [(place, known[own[place]], 1.0) for place in left if known and own[place] in known]


def _hashes(rows: _Rows, reference: Reference, job: Job, left: Sequence[int]) -> Found:
    """Within the bits of `phash_distance`, also mirrored and turned; the colours agree, where the
    set's are known."""
    from pipeline.measure.dedup.descriptors import TURNS
    from pipeline.measure.dedup.hamming import Hamming
    from pipeline.measure.dedup.search import PHASH

    entries = [entry for entry, phash in enumerate(reference.phash) if phash is not None]
    if not entries or not left:
        return []
    bits = np.frombuffer(b"".join(reference.phash[e] or b"" for e in entries), np.uint8)
    index = Hamming(bits.reshape(-1, 32), _DISTANCE)
    usable = [q is not None and q >= job.dedup.phash_quality for q in rows.cells("phash_quality")]
    asked = [np.array(left)[[usable[place] for place in left]]]
    hashes = [rows.hashes[asked[0]]]
    if "phash_turned" in rows.table.column_names and job.dedup.turned:
        turned = rows.cells("phash_turned")
        asked.append(np.array([p for p in asked[0] if turned[p] is not None], np.int64))
        joined = np.frombuffer(b"".join(turned[p] for p in asked[1]), np.uint8).reshape(
            -1, TURNS, PHASH
        )
        hashes += [np.ascontiguousarray(joined[:, turn]) for turn in range(TURNS)]
    found: Found = []
    for turn, own in enumerate(hashes):
        places = asked[min(turn, 1)]
        number, entry, similarity = index.matches(own)
        agree = _colours(rows, reference, places[number], [entries[e] for e in entry], turn - 1)
        for n, e, s in zip(number[agree], entry[agree], similarity[agree], strict=True):
            found.append((int(places[n]), entries[e], float(s)))
    return sorted(found, key=lambda one: (one[0], -one[2], one[1]))


def _colours(
    rows: _Rows, reference: Reference, places: npt.NDArray[np.int64], entries: Sequence[int],
    turn: int,
) -> npt.NDArray[np.bool_]:  # fmt: skip
    from pipeline.measure.dedup.colours import colour_agreements
    from pipeline.measure.dedup.search import SIDE, turn_of

    thumbs, agree = rows.cells("thumb"), np.ones(len(places), bool)
    known = [i for i, e in enumerate(entries) if reference.thumbs[e] is not None]
    if known:
        cells = b"".join(thumbs[places[i]] for i in known)
        others = b"".join(reference.thumbs[entries[i]] or b"" for i in known)
        one, other = (
            np.frombuffer(joined, np.uint8).reshape(-1, SIDE, SIDE, 3) for joined in (cells, others)
        )
        one = one if turn < 0 else turn_of(one, turn)
        agree[known] = colour_agreements(one, other) >= _COLOUR
    return agree


def _aligned(rows: _Rows, reference: Reference, job: Job, left: Sequence[int]) -> Found:
    """Of the nearest entries by vectors the one that shows the same when it is laid on the picture;
    of a set of vectors alone the nearest one above `dedup.vector_similarity`."""
    from pipeline.measure.dedup.proposals import LEAST_ROWS, Whitening
    from pipeline.measure.dedup.stored import normalised
    from pipeline.measure.dedup.verify import edge_of

    own, theirs = rows.vectors, reference.vectors
    if own is None or theirs is None or not left or len(theirs) == 0:
        return []
    if not any(small is not None for small in reference.small):
        line = job.dedup.vector_similarity or _VECTOR
        one, other = normalised(own[list(left)]), normalised(theirs)
        return [(left[i], e, s) for i, e, s in _nearest(one, other, 1, line)]
    if not job.dedup.verify:
        return []
    known = own[list(left)]
    if len(theirs) >= LEAST_ROWS:
        whitening = Whitening.of(theirs)
        one, other, line = whitening.apply(known), whitening.apply(theirs), 0.2
    else:
        one, other, line = normalised(known), normalised(theirs), -1.0
    small, found = rows.cells("small"), []
    for i, entry, _ in _nearest(one, other, _NEAREST, line):
        beat()
        picture, shown = small[left[i]], reference.small[entry]
        if picture is None or shown is None or not own[left[i]].any():
            continue
        edge = edge_of(picture, shown, _ALIGNED)
        if edge is not None and edge["colour"] >= _ALIGNED_COLOUR:
            found.append((left[i], entry, float(edge["similarity"])))
    return sorted(found, key=lambda one: (one[0], -one[2], one[1]))


def _nearest(
    rows: npt.NDArray[np.float32], entries: npt.NDArray[np.float32], count: int, least: float
) -> list[tuple[int, int, float]]:
    """Of each row the nearest entries with a cosine of at least `least`, the nearest first."""
    found = []
    for start in range(0, len(rows), _AT_ONCE):
        beat()
        cosine = np.round(rows[start : start + _AT_ONCE] @ entries.T, 4)
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
        for i, best in enumerate(order):
            found += [
                (start + i, int(e), float(cosine[i, e])) for e in best if cosine[i, e] >= least
            ]
    return found
