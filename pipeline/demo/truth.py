"""Compares a run's verdicts with the planted truth: precision and recall per reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

DUPLICATE = "duplicate"
KEPT = "kept"


@dataclass(frozen=True)
class KindScore:
    """Of one planted kind: how many rows, and how many got the reason planted for them."""

    kind: str
    planted: int
    found: int

    @property
    def recall(self) -> float:
        return self.found / self.planted


@dataclass(frozen=True)
class ReasonScore:
    """The reason was planted in `planted` rows; it took `found` of them and `wrong` other rows.

    `precision` is None where the reason took no row, `recall` None where none was planted.
    """

    reason: str
    planted: int
    found: int
    wrong: int
    kinds: tuple[KindScore, ...] = ()

    @property
    def precision(self) -> float | None:
        taken = self.found + self.wrong
        return self.found / taken if taken else None

    @property
    def recall(self) -> float | None:
        return self.found / self.planted if self.planted else None


@dataclass
class _Tally:
    planted: int = 0
    found: int = 0
    wrong: int = 0
    kinds: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))


def score(truth: pa.Table, verdicts: pa.Table) -> list[ReasonScore]:
    """Precision and recall per reason, by name, and last `kept`: what should stay against what did.

    `truth` is `dirt.TRUTH`; `verdicts` holds `uid`, `reason` (null: kept) and `reasons`, one row
    per distinct (url, caption). ValueError if their uids are not the same.

    A row counts as found if the reason planted in it is among its `reasons`, even where another
    came first: it was to be dropped, and the report shows why. A row whose own reason was not among
    them counts as wrong for the reason that did take it, whether the row was clean or planted for
    another reason.

    Of an original and its repeats any one may be kept: a group of m should give m - 1 duplicates,
    whichever they are; any more are wrong. A single repeat counts for its kind if it, or else its
    original, is called a duplicate.

    Of what was kept, `found` should have been; a duplicate group should keep one row.
    """
    verdict = _by_uid(truth, verdicts)
    groups = _groups(truth.to_pylist())
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    kept = tallies[KEPT]
    for members in groups:
        if len(members) > 1:
            _judge_group(members, verdict, tallies[DUPLICATE])
        expected = members[0]["reason"] if len(members) == 1 else None
        stayed = sum(verdict[row["uid"]]["reason"] is None for row in members)
        kept.planted += expected is None
        kept.found += expected is None and stayed > 0
        kept.wrong += stayed - (expected is None and stayed > 0)
        for row in members:
            _judge_row(row, verdict[row["uid"]], len(members) > 1, tallies)
    del tallies[KEPT]
    names = sorted(tallies)
    return [_summary(name, tallies[name]) for name in names] + [_summary(KEPT, kept)]


def _by_uid(truth: pa.Table, verdicts: pa.Table) -> dict[str, dict[str, Any]]:
    rows = verdicts.select(["uid", "reason", "reasons"]).to_pylist()
    verdict = {row["uid"]: row for row in rows}
    expected = truth["uid"].to_pylist()
    if len(verdict) != len(rows) or verdict.keys() != set(expected):
        lost, strange = len(set(expected) - verdict.keys()), len(verdict.keys() - set(expected))
        raise ValueError(
            f"verdicts and truth are not of the same rows: {lost} planted rows have no verdict, "
            f"{strange} verdicts no planted row, {len(rows) - len(verdict)} verdicts are repeated"
        )
    return verdict


def _groups(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Every row with its repeats, the original first."""
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["of"] is not None):
        groups[row["of"] or row["uid"]].append(row)
    return list(groups.values())


def _reasons(verdict: dict[str, Any]) -> set[str]:
    return {*(verdict["reasons"] or ()), *([verdict["reason"]] if verdict["reason"] else [])}


def _judge_group(
    members: list[dict[str, Any]], verdict: dict[str, dict[str, Any]], tally: _Tally
) -> None:
    called = {row["uid"] for row in members if DUPLICATE in _reasons(verdict[row["uid"]])}
    tally.planted += len(members) - 1
    tally.found += min(len(called), len(members) - 1)
    tally.wrong += len(called) == len(members)
    for row in members[1:]:
        stayed = verdict[row["uid"]]["reason"] is None
        tally.kinds[row["kind"]].append(
            row["uid"] in called or (stayed and members[0]["uid"] in called)
        )


def _judge_row(
    row: dict[str, Any], verdict: dict[str, Any], in_group: bool, tallies: dict[str, _Tally]
) -> None:
    """Count a row for its reason, and against a reason that took it wrongly."""
    expected, reasons = row["reason"], _reasons(verdict)
    first = verdict["reason"]
    if expected is not None and not in_group:
        tallies[expected].planted += 1
        tallies[expected].found += expected in reasons
        tallies[expected].kinds[row["kind"]].append(expected in reasons)
    own = {DUPLICATE} if in_group else {expected}
    if first is not None and not own & reasons:
        tallies[first].wrong += 1


def _summary(reason: str, tally: _Tally) -> ReasonScore:
    kinds = tuple(
        KindScore(kind, len(found), sum(found)) for kind, found in sorted(tally.kinds.items())
    )
    return ReasonScore(reason, tally.planted, tally.found, tally.wrong, kinds)
