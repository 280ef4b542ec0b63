"""All personal data of a text: counted by kind, and hidden where the text is shown."""

from collections.abc import Callable, Sequence

from pipeline.words.personal.accounts import find_cards, find_ibans
from pipeline.words.personal.emails import find_emails
from pipeline.words.personal.phones import find_phones, plausible
from pipeline.words.personal.regions import REGIONS

Span = tuple[int, int]

KINDS = ("email", "phone", "card", "iban")
MASK = "•••"
_BLANK = "\ufffc"
"""Stands for each character of what was found already; no digit, letter or space."""


def count_personal(text: str, regions: Sequence[str] = REGIONS) -> dict[str, int]:
    """How often each of KINDS is in the text. Nothing is counted as two kinds.

    `regions` are those whose telephone numbers count without a country code.
    """
    found = dict.fromkeys(KINDS, 0)
    for kind, search in _SEARCHES:
        spans = search(text)
        text, found[kind] = _without(text, spans, _BLANK), len(spans)
    found["phone"] = len(find_phones(text, regions))
    return found


def masked(text: str) -> str:
    """The text without personal data.

    Digits are hidden if they could be a telephone number of any region, so that what is hidden
    does not depend on the regions of a job.
    """
    for _, search in _SEARCHES:
        text = _without(text, search(text), MASK, once=True)
    return _without(text, [span for span, _ in plausible(text)], MASK, once=True)


_SEARCHES: tuple[tuple[str, Callable[[str], list[Span]]], ...] = (
    ("email", find_emails), ("iban", find_ibans), ("card", find_cards),
)  # fmt: skip


def _without(text: str, spans: Sequence[Span], sign: str, once: bool = False) -> str:
    for start, end in reversed(spans):
        text = text[:start] + sign * (1 if once else end - start) + text[end:]
    return text
