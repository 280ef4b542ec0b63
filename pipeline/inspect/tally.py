"""Counts over the files of shards and verdicts, and a look at every part's uids: shard by shard."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.parts import Parts
from pipeline.table.part import read_parquet, shard_name
from pipeline.table.run import Run
from pipeline.words.reasons import kind_of
from pipeline.words.threads import worker_threads


@dataclass
class Tally:
    """Rows of a run, each counted once by its verdict."""

    verdicts: Counter[str] = field(default_factory=Counter)
    """kept, dropped, failed, unfinished."""
    first: Counter[str] = field(default_factory=Counter)
    """By the first reason."""
    anywhere: Counter[str] = field(default_factory=Counter)
    """By every reason that a row carries, so a row may count more than once."""
    alone: Counter[str] = field(default_factory=Counter)
    """By a reason that is a row's only one."""
    repeats: int = 0
    """Rows of the input that were merged into others."""
    misaligned: int = 0
    """Rows beside which a part holds another uid."""

    def add(self, other: "Tally") -> None:
        for name in ("verdicts", "first", "anywhere", "alone"):
            getattr(self, name).update(getattr(other, name))
        self.repeats += other.repeats
        self.misaligned += other.misaligned


def tally(run: Run, shards: Sequence[int], parts: Sequence[Parts]) -> Tally:
    """Count the rows of these shards; one shard's columns are held at a time, per core."""
    found = Tally()
    with ThreadPoolExecutor(worker_threads()) as pool:
        for one in pool.map(lambda shard: _shard(run, shard, parts), shards):
            found.add(one)
    return found


def _shard(run: Run, shard: int, parts: Sequence[Parts]) -> Tally:
    own = run.shard(shard, ["uid", "repeats"])
    uids = own["uid"].combine_chunks()
    found = Tally(repeats=(pc.sum(own["repeats"]).as_py() or 0) - len(uids))
    wrong = np.zeros(len(uids), bool)
    decided = False
    for part in (part for part in parts if shard in part.sidecars):
        verdicts = ["reason", "reasons"] if part.name == "decide" else []
        name = f"{part.folder}/{shard_name(shard)}.parquet"
        table = read_parquet(run.folder, name, ["uid", *verdicts])
        wrong = _differing(uids, table["uid"].combine_chunks(), wrong)
        if verdicts:
            decided = True
            _judged(found, table["reason"], table["reasons"].combine_chunks())
    if not decided:
        found.verdicts["unfinished"] = len(uids)
    found.misaligned = int(wrong.sum())
    return found


def _differing(
    uids: pa.Array, theirs: pa.Array, wrong: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """`wrong` and the places where the uids differ; a row too many or too few is one too."""
    if theirs.equals(uids):
        return wrong
    common = min(len(uids), len(theirs))
    longer = np.ones(max(len(wrong), len(theirs)), bool)
    longer[: len(wrong)] = wrong
    same = pc.equal(uids[:common], theirs[:common]).fill_null(False)
    longer[:common] |= ~same.to_numpy(zero_copy_only=False)
    longer[common : len(uids)] = True
    return longer


def _judged(found: Tally, reason: pa.ChunkedArray, reasons: pa.ListArray) -> None:
    for word, rows in _counts(reason.combine_chunks()):
        if word is None:
            found.verdicts["kept"] += rows
        else:
            found.first[word] += rows
            found.verdicts["failed" if kind_of(word) == "failed" else "dropped"] += rows
    # By DLPack, since `to_numpy` imports pandas, which takes half a second.
    values = reasons.flatten().dictionary_encode()
    words = values.dictionary.to_pylist()
    row = np.repeat(np.arange(len(reasons)), np.diff(np.from_dlpack(reasons.offsets)))
    pairs = np.unique(row * len(words) + np.from_dlpack(values.indices))  # each word once a row
    row, code = np.divmod(pairs, len(words)) if words else (pairs, pairs)
    alone = code[np.bincount(row)[row] == 1]
    for found_of, codes in ((found.anywhere, code), (found.alone, alone)):
        for word, rows in zip(words, np.bincount(codes, minlength=len(words)), strict=True):
            if rows:
                found_of[word] += int(rows)


def _counts(words: pa.Array) -> Iterator[tuple[Any, int]]:
    found = pc.value_counts(words)  # whose own `to_pylist` imports pandas too
    return zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)
