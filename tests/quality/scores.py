"""Counts of right and wrong answers, as the rows of the tables in docs/quality.md."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Z = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927); (0, 1) of nothing."""
    if n == 0:
        return 0.0, 1.0
    share, spread = hits / n, Z * Z / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def percent(hits: int, n: int) -> str:
    """`84.0 % (79.1–88.0) of 250`: the share, its 95 % interval, and n."""
    if n == 0:
        return "–"
    low, high = wilson(hits, n)
    return f"{100 * hits / n:.1f} % ({100 * low:.1f}–{100 * high:.1f}) of {n:,}"


@dataclass(frozen=True)
class Confusion:
    """How a yes-or-no answer did against the truth."""

    hits: int
    misses: int
    false_alarms: int
    correct_rejections: int

    @classmethod
    def of(cls, answers: Sequence[bool], truth: Sequence[bool]) -> "Confusion":
        pairs = list(zip(answers, truth, strict=True))
        return cls(
            sum(a and t for a, t in pairs),
            sum(t and not a for a, t in pairs),
            sum(a and not t for a, t in pairs),
            sum(not a and not t for a, t in pairs),
        )

    def precision(self) -> str:
        return percent(self.hits, self.hits + self.false_alarms)

    def recall(self) -> str:
        return percent(self.hits, self.hits + self.misses)

    def alarm_rate(self) -> str:
        """Share of the harmless that were flagged."""
        return percent(self.false_alarms, self.false_alarms + self.correct_rejections)


def least_time(count: Callable[[str], object], turns: Sequence[Sequence[str]]) -> float:
    """CPU seconds of the fastest of several turns, each over its captions."""
    took = []
    for captions in turns:
        start = time.process_time()
        for caption in captions:
            count(caption)
        took.append(time.process_time() - start)
    return min(took)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, marks, *rows])
