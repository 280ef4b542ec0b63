"""Personal data in captions: precision and recall of the counts, and their speed.

The captions are in pii_cases.tsv beside this file, written for this purpose: harmless ones with
digits or an `@`, and ones with personal data. Telephone numbers are of the ranges that regulators
keep for fiction (555-01xx, Ofcom's, the BNetzA's, ARCEP's, the ACMA's, PTS's) or are the examples
of `phonenumbers`; cards and accounts are the payment schemes' test numbers and the examples of
SWIFT's registry. A seed splits them: rules were chosen on one half, and the other is reported.
"""

import csv
import random
import re
from collections.abc import Callable
from pathlib import Path

from pipeline.words.personal.find import count_personal
from tests.quality.scores import Confusion, least_time, percent, table

BLOCKS = ("pii by kind", "pii by region", "pii yardstick", "pii speed")
CASES = Path(__file__).with_name("pii_cases.tsv")
KINDS = ("phone", "email", "card", "iban")
YARDSTICK = "laion_10000.parquet"
"""10,000 rows of LAION-400M (img2dataset's test_10000.parquet); its captions are in `TEXT`."""

_EMAIL = re.compile(
    r"[\w.+-]{1,64}\s?(?:@|\(at\)|\[at\])\s?[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}"
    r"(?:\.|\s?(?:\(dot\)|\[dot\])\s?)[a-z]{2,24}\b",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d{1,4}\)?(?:[ .\-/]?\(?\d{2,4}\)?){2,5}(?![\w/-])")
_DATE = re.compile(r"^(?:\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4})$")


def cases() -> list[tuple[str, str, str]]:
    """(kind, region, caption); `harmless` is the kind of those without personal data."""
    with CASES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(kind, region, caption) for kind, region, caption in rows[1:]]


def halves() -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """The half for choosing the rules, and that for the report."""
    rows = cases()
    random.Random(1).shuffle(rows)
    rows.sort(key=lambda row: row[:2])
    return rows[::2], rows[1::2]


def patterns(text: str) -> dict[str, int]:
    """Two regular expressions, the rule of winnow 0.1.0: what is gained over them."""
    phones = 0
    for match in _PHONE.finditer(text):
        number = match.group().strip()
        grouped = number.startswith(("+", "00", "(")) or len(re.split(r"[ .\-/]", number)) > 2
        digits = len(re.findall(r"\d", number))
        phones += 7 <= digits <= 15 and grouped and not _DATE.match(number)
    return {"email": len(_EMAIL.findall(text)), "phone": phones}


def confusion(
    rows: list[tuple[str, str, str]], kind: str, count: Callable[[str], dict[str, int]]
) -> Confusion:
    """One kind's answers on its own captions and the harmless ones."""
    asked = [row for row in rows if row[0] in (kind, "harmless")]
    answers = [count(caption).get(kind, 0) > 0 for _, _, caption in asked]
    return Confusion.of(answers, [row[0] == kind for row in asked])


def any_kind(rows: list[tuple[str, str, str]], count: Callable[[str], dict[str, int]]) -> Confusion:
    """Whether the rule `pii` takes a caption."""
    answers = [any(count(caption).values()) for _, _, caption in rows]
    return Confusion.of(answers, [row[0] != "harmless" for row in rows])


def _by_kind(rows: list[tuple[str, str, str]]) -> str:
    lines = []
    for kind in KINDS:
        names = [("two patterns", patterns), ("now", count_personal)]
        for name, count in names if kind in ("phone", "email") else names[1:]:
            found = confusion(rows, kind, count)
            lines.append([f"{kind}, {name}", found.precision(), found.recall(), found.alarm_rate()])
    for name, count in (("two patterns", patterns), ("now", count_personal)):
        found = any_kind(rows, count)
        lines.append([f"any, {name}", found.precision(), found.recall(), found.alarm_rate()])
    return table(("kind and rule", "precision", "recall", "harmless ones flagged"), lines)


def _by_region(rows: list[tuple[str, str, str]]) -> str:
    lines = []
    for region in sorted({row[1] for row in rows if row[0] == "phone"}):
        asked = [caption for kind, place, caption in rows if (kind, place) == ("phone", region)]
        old, new = (
            sum(count(caption)["phone"] > 0 for caption in asked)
            for count in (patterns, count_personal)
        )
        lines.append([region, f"{old} of {len(asked)}", f"{new} of {len(asked)}"])
    return table(("region", "two patterns", "now"), lines)


def _yardstick(data: Path) -> str:
    import pyarrow.parquet as pq

    captions = [text or "" for text in pq.read_table(data / YARDSTICK)["TEXT"].to_pylist()]
    lines = []
    for name, count in (("two patterns", patterns), ("now", count_personal)):
        found = [count(caption) for caption in captions]
        flagged = [sum(f.get(kind, 0) > 0 for f in found) for kind in KINDS]
        lines.append([name, *(percent(n, len(captions)) if n else "0" for n in flagged)])
    return table(("rule", *KINDS), lines)


def _speed() -> str:
    rows = [caption for _, _, caption in cases()]
    sets = {
        "no digit and no @": [re.sub(r"[\d@]", "", caption) for caption in rows],
        "harmless, with digits or @": [c for kind, _, c in cases() if kind == "harmless"],
        "with personal data": [c for kind, _, c in cases() if kind != "harmless"],
    }
    lines = []
    for name, captions in sets.items():
        cells = [name]
        for count in (patterns, count_personal):
            for caption in captions:
                count(caption)
            # Another digit at each turn, so that no answer is one that was kept.
            turns = [
                [re.sub(r"\d(?=\D*$)", str(turn), caption) for caption in captions]
                for turn in range(5)
            ]
            cells.append(f"{1e6 * least_time(count, turns) / len(captions):.0f}")
        lines.append(cells)
    return table(("captions", "two patterns, µs each", "now, µs each"), lines)


def tables(data: Path | None) -> dict[str, str]:
    report = halves()[1]
    found = {
        "pii by kind": _by_kind(report), "pii by region": _by_region(report), "pii speed": _speed(),
    }  # fmt: skip
    if data is not None and (data / YARDSTICK).exists():
        found["pii yardstick"] = _yardstick(data)
    return found
