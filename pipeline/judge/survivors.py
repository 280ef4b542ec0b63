"""Who survives in a group of duplicates, and what becomes of the others' captions."""

import unicodedata

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.arrays import Flags, from_flags, from_numbers, to_flags, to_numbers, whole

RANK = "rank_"
"""Prefix of the columns that rank the members, greatest value first."""
CAPTION, SAME, SCORE = "caption", "same_caption", "score"
MOST_CAPTIONS = 100
Indices = npt.NDArray[np.int64]


def same_caption(caption: str) -> str:
    """What is equal for captions that differ in case and white space alone."""
    return " ".join(unicodedata.normalize("NFC", caption).casefold().split())


def survivors(rows: pa.Table) -> pa.Table:
    """For each member the `best` of its group, `shard` and `uid`; null if no member is clean.

    `rows` have `shard`, `uid`, `group`, `clean` (bool) and ranks. With a column `same_caption` only
    members whose captions are the same compete. With a column `caption` the best one gets the
    `captions` of all clean members, each once, and `caption_uids`, whose they are.
    """
    keys = [name for name in ("group", SAME) if name in rows.column_names]
    ranks = [name for name in rows.column_names if name.startswith(RANK)]
    down = [(name, "descending") for name in ("clean_first", *ranks)]
    rows = rows.append_column("clean_first", rows["clean"].cast(pa.int8()))
    rows = rows.sort_by([*((name, "ascending") for name in keys), *down, ("uid", "ascending")])
    changes = np.zeros(rows.num_rows, bool)
    changes[:1] = True
    for name in keys:
        column = whole(rows[name])
        changes[1:] |= to_flags(pc.not_equal(column[1:], column[:-1]))
    starts, of = np.flatnonzero(changes), np.cumsum(changes) - 1
    clean = to_flags(rows["clean"])
    best = starts[of] if len(starts) else np.zeros(0, np.int64)
    found = pa.table(
        {
            "shard": rows["shard"],
            "uid": rows["uid"],
            "best": whole(rows["uid"]).take(from_numbers(best, clean[best])),
        }
    )
    if CAPTION not in rows.column_names:
        return found
    return _with_captions(found, rows, of, clean)


def _with_captions(found: pa.Table, rows: pa.Table, of: Indices, clean: Flags) -> pa.Table:
    """`found` with the captions of all clean members on the best one, if they differ: those with
    the greatest scores first, of equal ones those of the best ranked."""
    place = np.flatnonzero(clean)
    own, texts = of[place], whole(rows[CAPTION]).take(from_numbers(place))
    same = to_numbers(texts.dictionary_encode().indices).astype(np.int64)
    score = np.nan_to_num(to_numbers(rows[SCORE])[place], nan=-np.inf)
    order = np.lexsort((place, -score, own))
    order = order[_first_of_each(own[order], same[order])]
    number = _numbers(own[order])
    order = order[number < MOST_CAPTIONS]
    sizes = np.bincount(own[order], minlength=int(of.max(initial=-1)) + 1)
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    has_several = (sizes > 1) & clean[starts] if len(starts) else np.zeros(0, bool)
    order = order[has_several[own[order]]]
    row_sizes = np.zeros(found.num_rows, np.int64)
    row_sizes[starts[has_several]] = sizes[has_several]
    offsets = np.concatenate([[0], np.cumsum(row_sizes)]).astype(np.int32)
    for name, values in (("captions", texts), ("caption_uids", None)):
        cells = whole(rows["uid"]).take(from_numbers(place)) if values is None else values
        lists = pa.ListArray.from_arrays(from_numbers(offsets), cells.take(from_numbers(order)))
        there = from_flags(row_sizes > 0)
        found = found.append_column(name, pc.if_else(there, lists, pa.scalar(None, lists.type)))
    return found


def _first_of_each(group: Indices, value: Indices) -> Indices:
    """Places, ascending, of the first of each value in its group."""
    pairs = np.stack([group, value], axis=1)
    return np.sort(np.unique(pairs, axis=0, return_index=True)[1])


def _numbers(groups: Indices) -> Indices:
    """The place of each entry in its group, of groups one after the other."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    sizes = np.diff(np.append(starts, len(groups)))
    return np.arange(len(groups)) - np.repeat(starts, sizes)
