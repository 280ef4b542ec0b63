"""Personal data in the caption: e-mail addresses and phone numbers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.measure.captions.captions import CaptionStage
from pipeline.table.columns import Column

EMAIL = re.compile(
    r"[\w.+-]{1,64}\s?(?:@|\(at\)|\[at\])\s?[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}"
    r"(?:\.|\s?(?:\(dot\)|\[dot\])\s?)[a-z]{2,24}\b",
    re.IGNORECASE,
)
PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d{1,4}\)?(?:[ .\-/]?\(?\d{2,4}\)?){2,5}(?![\w/-])")
_DIGITS = re.compile(r"\d")
_DATE = re.compile(r"^(?:\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4})$")


def count_emails(text: str) -> int:
    return sum(1 for _ in EMAIL.finditer(text)) if "@" in text or "at" in text.lower() else 0


def count_phones(text: str) -> int:
    """Numbers of 7 to 15 digits (E.164) in groups, with a plus or a separator; no dates."""
    found = 0
    for match in PHONE.finditer(text):
        number = match.group().strip()
        digits = len(_DIGITS.findall(number))
        grouped = number.startswith(("+", "00", "(")) or len(re.split(r"[ .\-/]", number)) > 2
        found += 7 <= digits <= 15 and grouped and not _DATE.match(number)
    return found


class PIIStage(CaptionStage):
    """Counts of personal data."""

    name = "pii"
    rank = 1
    step = "Caption rules"

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "PIIStage | None":
        return cls(job)

    def default_rules(self) -> tuple[Rule, ...]:
        """Any personal data."""
        return (Rule(reason="pii", when="pii_email > 0 or pii_phone > 0"),)

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column("pii_email", pa.int32(), "E-mail addresses found."),
            Column("pii_phone", pa.int32(), "Phone numbers found."),
        )

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        return {
            "pii_email": [count_emails(caption) for caption in captions],
            "pii_phone": [count_phones(caption) for caption in captions],
        }
