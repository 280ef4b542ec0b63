"""Who survives in a group, and the captions of the others: `dedup.captions`."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.judge.survivors import MOST_CAPTIONS, same_caption, survivors


def member(uid: str, group: str = "g", clean: bool = True, size: float = 1.0, **more) -> dict:
    return {"uid": uid, "group": group, "clean": clean, "rank_size": size, "shard": 0, **more}


def of(rows: list[dict]) -> dict[str, dict]:
    table = pa.Table.from_pylist(rows).cast(
        pa.schema([(n, pa.int32() if n == "shard" else t) for n, t in _types(rows)])
    )
    return {row["uid"]: row for row in survivors(table).to_pylist()}


def _types(rows: list[dict]):
    types = {str: pa.string(), bool: pa.bool_(), float: pa.float64(), int: pa.int32()}
    return [(name, types[type(value)]) for name, value in rows[0].items()]


def test_the_best_clean_member_survives():
    rows = [member("a", size=9.0, clean=False), member("b", size=2.0), member("c", size=3.0)]
    assert {uid: row["best"] for uid, row in of(rows).items()} == dict.fromkeys("abc", "c")


def test_equals_are_told_apart_by_uid_and_a_group_without_a_clean_member_has_none():
    rows = [member("b"), member("a"), member("x", "h", clean=False)]
    assert {uid: row["best"] for uid, row in of(rows).items()} == {"a": "a", "b": "a", "x": None}


def test_only_members_of_one_caption_compete():
    rows = [
        member("a", size=3.0, same_caption="a cat"), member("b", size=9.0, same_caption="a dog"),
        member("c", size=5.0, same_caption="a cat"), member("d", "h", same_caption="a cat"),
    ]  # fmt: skip
    best = {uid: row["best"] for uid, row in of(rows).items()}
    assert best == {"a": "c", "b": "b", "c": "c", "d": "d"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A cat", "a  cat ", True), ("a cat", "a cat.", False),
        ("caf\u00e9", "cafe\u0301", True), ("stra\u00dfe", "STRASSE", True), ("", " ", True),
    ],
)  # fmt: skip
def test_captions_are_the_same_but_for_case_and_white_space(one, other, same):
    assert (same_caption(one) == same_caption(other)) is same


def test_the_best_gets_the_captions_of_all_clean_members():
    rows = [
        member("a", size=9.0, caption="a cat", score=0.2),
        member("b", caption="a red cat on a mat", score=0.4),
        member("c", caption="an insult", score=0.9, clean=False),
        member("d", caption="a cat", score=0.1),
        member("e", caption="cat", score=float("nan")),
        member("f", "h", caption="alone", score=0.3),
        member("g", "i", caption="same", score=0.3), member("h", "i", caption="same", score=0.1),
    ]  # fmt: skip
    found = of(rows)
    assert found["a"]["captions"] == ["a red cat on a mat", "a cat", "cat"]
    assert found["a"]["caption_uids"] == ["b", "a", "e"]
    others = [row["captions"] for uid, row in found.items() if uid != "a"]
    assert others == [None] * 7  # one caption alone is the row's own


def test_without_scores_the_kept_ones_own_caption_is_first():
    rows = [
        member("b", size=9.0, caption="its own", score=0.0),
        member("a", caption="x", score=0.0),
    ]
    assert of(rows)["b"]["captions"] == ["its own", "x"]


def test_a_group_has_at_most_a_hundred_captions():
    rows = [member(f"{i:03d}", caption=f"number {i}", score=i / 1000) for i in range(150)]
    assert of(rows)["000"]["captions"] == [
        f"number {i}" for i in range(149, 149 - MOST_CAPTIONS, -1)
    ]


CAPTIONS = st.sampled_from(["a cat", "a dog", "two cats"])
MEMBERS = st.lists(
    st.tuples(st.sampled_from("ghi"), st.booleans(), st.integers(0, 2), CAPTIONS), max_size=12
)


@settings(max_examples=200, deadline=None)
@given(MEMBERS, st.randoms())
def test_captions_are_merged_as_a_plain_loop_does(cells, rng):
    rows = [
        member(f"{i:02d}", group, clean, float(size), caption=caption, score=size / 2)
        for i, (group, clean, size, caption) in enumerate(cells)
    ]
    rng.shuffle(rows)
    if not rows:
        return
    found = of(rows)
    assert set(found) == {row["uid"] for row in rows}
    for group in {row["group"] for row in rows}:
        clean = [row for row in rows if row["group"] == group and row["clean"]]
        clean.sort(key=lambda row: (-row["rank_size"], row["uid"]))
        texts = list(dict.fromkeys(r["caption"] for r in sorted(clean, key=lambda r: -r["score"])))
        for row in (row for row in rows if row["group"] == group):
            best = clean[0]["uid"] if clean else None
            assert found[row["uid"]]["best"] == best
            wanted = texts if row["uid"] == best and len(texts) > 1 else None
            assert found[row["uid"]]["captions"] == wanted
