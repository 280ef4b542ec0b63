import pyarrow as pa
import pytest

from pipeline.demo.dirt import TRUTH
from pipeline.demo.truth import KindScore, ReasonScore, score

Verdicts = dict[str, tuple[str | None, list[str]]]


def truth(*rows: tuple[str, str | None, str, str | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"uid": uid, "url": uid, "caption": uid, "reason": reason, "kind": kind, "of": of,
             "times": 1}
            for uid, reason, kind, of in rows
        ],
        schema=TRUTH,
    )  # fmt: skip


def verdicts(table: pa.Table, **taken: tuple[str, ...]) -> pa.Table:
    rows = [
        {"uid": uid, "reason": (*taken.get(uid, ()), None)[0], "reasons": list(taken.get(uid, ()))}
        for uid in reversed(table["uid"].to_pylist())
    ]
    kinds = {"uid": pa.string(), "reason": pa.string(), "reasons": pa.list_(pa.string())}
    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))


def scores(table: pa.Table, **taken: tuple[str, ...]) -> dict[str, ReasonScore]:
    return {s.reason: s for s in score(table, verdicts(table, **taken))}


SINGLES = truth(
    ("a", None, "clean", None),
    ("b", None, "clean", None),
    ("c", None, "clean", None),
    ("d", "timeout", "late", None),
    ("e", "timeout", "dripping", None),
    ("f", "pii", "email", None),
    ("g", "pii", "email", None),
)


def test_precision_and_recall_of_single_rows() -> None:
    found = scores(SINGLES, b=("pii",), d=("timeout",), e=("not_an_image",), f=("pii",))
    pii, timeout, stray, kept = (found[r] for r in ("pii", "timeout", "not_an_image", "kept"))
    assert (pii.planted, pii.found, pii.wrong, pii.precision, pii.recall) == (2, 1, 1, 0.5, 0.5)
    assert (timeout.planted, timeout.found, timeout.precision, timeout.recall) == (2, 1, 1.0, 0.5)
    assert timeout.kinds == (KindScore("dripping", 1, 0), KindScore("late", 1, 1))
    assert (stray.planted, stray.wrong, stray.precision, stray.recall) == (0, 1, 0.0, None)
    assert (kept.planted, kept.found, kept.wrong) == (3, 2, 1)
    assert kept.precision == pytest.approx(2 / 3)


def test_a_reason_without_rows_has_no_precision() -> None:
    found = scores(SINGLES)
    assert found["pii"].precision is None
    assert found["pii"].recall == 0
    assert [s.reason for s in score(SINGLES, verdicts(SINGLES))] == ["pii", "timeout", "kept"]


def test_a_planted_reason_after_another_counts_as_found_and_the_other_not_as_wrong() -> None:
    found = scores(SINGLES, f=("toxic_caption", "pii"), g=("pii",))
    assert (found["pii"].found, found["pii"].recall) == (2, 1.0)
    assert "toxic_caption" not in found


def test_only_the_first_of_several_wrong_reasons_counts_as_wrong() -> None:
    found = scores(SINGLES, a=("nsfw", "pii"))
    assert found["nsfw"].wrong == 1
    assert found["pii"].wrong == 0


GROUP = truth(
    ("o", None, "clean", None),
    ("r", "duplicate", "resized", "o"),
    ("s", "duplicate", "cropped", "o"),
    ("x", None, "clean", None),
    ("p", None, "clean", None),
    ("q", "duplicate", "same_bytes", "p"),
)


@pytest.mark.parametrize("kept", ["o", "r", "s"])
def test_any_one_member_of_a_group_may_be_kept(kept: str) -> None:
    taken = {uid: ("duplicate",) for uid in "orsq" if uid != kept}
    found = scores(GROUP, **taken)
    duplicate = found["duplicate"]
    assert (duplicate.planted, duplicate.found, duplicate.wrong) == (3, 3, 0)
    assert [k.recall for k in duplicate.kinds] == [1.0, 1.0, 1.0]
    assert (found["kept"].planted, found["kept"].found, found["kept"].wrong) == (3, 3, 0)


def test_a_missed_repeat_lowers_the_recall_of_its_kind_and_the_precision_of_kept() -> None:
    found = scores(GROUP, r=("duplicate",), q=("duplicate",))
    kinds = {k.kind: k.recall for k in found["duplicate"].kinds}
    assert kinds == {"resized": 1.0, "cropped": 0.0, "same_bytes": 1.0}
    assert found["duplicate"].recall == pytest.approx(2 / 3)
    assert (found["kept"].found, found["kept"].wrong) == (3, 1)


def test_a_whole_group_and_an_unrelated_row_as_duplicates_lower_precision() -> None:
    found = scores(GROUP, **dict.fromkeys("orsqx", ("duplicate",)))
    duplicate = found["duplicate"]
    assert (duplicate.found, duplicate.wrong) == (3, 2)
    assert duplicate.precision == pytest.approx(3 / 5)
    assert found["kept"].found == 1


def test_a_group_member_dropped_for_another_reason_counts_as_wrong() -> None:
    found = scores(GROUP, r=("low_clip_score",), s=("duplicate",), q=("duplicate",))
    assert found["low_clip_score"].wrong == 1
    assert (found["duplicate"].planted, found["duplicate"].found) == (3, 2)


def test_verdicts_of_other_rows_are_refused_with_their_number() -> None:
    other = truth(("a", None, "clean", None), ("z", None, "clean", None))
    with pytest.raises(ValueError, match="6 planted rows have no verdict, 1 verdicts no planted"):
        score(SINGLES, verdicts(other))
