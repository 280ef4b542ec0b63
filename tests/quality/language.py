"""How often captions in another language are found, and English ones lost.

Offline on captions that were written for this project: `captions_foreign.tsv` (code, tab, caption)
and `captions_english.txt`. With --data on `language/*.tsv` of that folder, of the same form; the
code `mul` marks a caption in several languages, which is left out. The threshold of the recommended
rule was chosen on other captions (docs/quality.md).
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.models.language import Identified, identify_languages
from pipeline.words.word_count import count_words
from tests.quality.scores import Confusion, table

OFFLINE = "language, own captions"
PUBLIC = {
    "language, public captions": "sentences",
    "language, LAION": "laion",
}
BLOCKS = (OFFLINE, *PUBLIC)
HEAD = ("rule", "words", "foreign found", "English lost", "foreign among dropped")
LENGTHS = {"1–3": range(1, 4), "4–7": range(4, 8), "8–": range(8, 10_000), "all": range(10_000)}

Case = tuple[str, str]
"""Code of the language, caption."""


def tables(data: Path | None) -> dict[str, str]:
    found = {OFFLINE: _table(own_cases())}
    for name, file in PUBLIC.items():
        path = data / "language" / f"{file}.tsv" if data is not None else None
        if path is not None and path.exists():
            found[name] = _table(read_cases(path))
    return found


def own_cases() -> list[Case]:
    folder = Path(__file__).parent
    english = (folder / "captions_english.txt").read_text(encoding="utf-8").splitlines()
    return [*read_cases(folder / "captions_foreign.tsv"), *(("en", line) for line in english)]


def read_cases(path: Path) -> list[Case]:
    lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [(code, caption) for code, caption in lines if code != "mul"]


def _table(cases: Sequence[Case]) -> str:
    captions = [caption for _, caption in cases]
    found, before = identify_languages(captions), [langid_alone(caption) for caption in captions]
    rules: dict[str, Callable[[int], bool]] = {
        "py3langid alone, ≥ 0.5 (before)": lambda i: before[i][0] != "en" and before[i][1] >= 0.5,
        "py3langid alone (before)": lambda i: before[i][0] != "en",
        "`language <> 'en'`": lambda i: _foreign(found, i),
        "`… and language_score >= 0.6`": lambda i: _foreign(found, i) and _score(found, i) >= 0.6,
        "`… and language_score >= 0.8`": lambda i: _foreign(found, i) and _score(found, i) >= 0.8,
        "`… and language_agreed`": lambda i: _foreign(found, i) and bool(found.agreed[i]),
        "`… or language is null`": lambda i: found.languages[i] != "en",
    }
    rows = []
    for name, rule in rules.items():
        for words, lengths in LENGTHS.items():
            places = [i for i, (_, text) in enumerate(cases) if count_words(text) in lengths]
            counts = Confusion.of([rule(i) for i in places], [cases[i][0] != "en" for i in places])
            rows.append((name, words, counts.recall(), counts.alarm_rate(), counts.precision()))
    return table(HEAD, rows)


def _foreign(found: Identified, i: int) -> bool:
    return found.languages[i] not in (None, "en")


def _score(found: Identified, i: int) -> float:
    return found.scores[i] or 0.0


def langid_alone(caption: str) -> tuple[str, float]:
    """py3langid's answer, as it was used before it was pooled with another's."""
    label, probability = _langid().classify(caption)
    return str(label), float(probability)


@cache
def _langid() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
