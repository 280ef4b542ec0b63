"""Which language a text is in, by two identifiers that carry their models.

- py3langid: naive Bayes over byte n-grams (Lui and Baldwin, langid.py, ACL 2012), BSD;
- CLD3, as cld3-py: a small neural network over character n-grams (Google, github.com/google/cld3),
  Apache-2.0.

Both were trained with all languages equally likely, and both guess when a text is short. Here their
answers are pooled logarithmically (Genest and Zidek, Statistical Science 1, 1986), together with
how common languages are on the web, and only languages that are written in the text's script are
considered. docs/quality.md says how often the result is right, and on what the constants were
chosen.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.models.language_codes import ALSO_LATIN, SCRIPTS, iso_639_1, script_of

LEAST = 0.5
"""A language that is less probable is no answer."""

COMMON = {
    1.0: "en",
    0.2: "de es fr it ja nl pl pt ru zh",
    0.05: "ar bg bn ca cs da el fa fi he hi hr hu id ko no ro sk sr sv th tr uk vi",
}
"""Weights of languages by the orders of magnitude in which they occur among the web's pages."""
RARE = 0.02

TRUST, SHARE = 0.6, 0.5
"""CLD3's probabilities are too high on short texts: they are multiplied by TRUST, and its part in
the pool has the exponent SHARE."""


BATCH = 1_000
"""Texts whose probabilities are in memory at the same time."""

Matrix = npt.NDArray[np.float64]


@dataclass
class Identified:
    """One entry a text; None where there is no answer. Codes are of ISO 639-1."""

    languages: list[str | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    """The languages' probabilities, from LEAST to 1; 1 where the script alone decides."""
    agreed: list[bool | None] = field(default_factory=list)
    """Whether each identifier, asked alone, gives that language too."""


def identify_languages(texts: Sequence[str]) -> Identified:
    """The language of each text.

    There is no answer for text without letters, and in a script that is not in SCRIPTS.
    """
    found = Identified()
    for start in range(0, len(texts), BATCH):
        _identify(texts[start : start + BATCH], found)
    return found


def _identify(texts: Sequence[str], found: Identified) -> None:
    """Append the answers on a batch."""
    models = _models()
    scripts = [script_of(text) for text in texts]
    asked = [text for text, script in zip(texts, scripts, strict=True) if script in models.written]
    first, by_langid = models.ask_langid(asked)
    answers = [models.ask_cld3(text) for text in asked]
    second = np.tile(models.weights, (len(asked), 1))
    for row, (code, probability) in enumerate(answers):
        trust = TRUST * probability
        second[row] *= 1 - trust
        if code in models.places:
            second[row, models.places[code]] += trust
    pooled = first * models.weights * second**SHARE
    row = 0
    for script in scripts:
        language, score, agreed = None, None, None
        if script in models.written:
            cld3, _ = answers[row]
            language, score = _choose(pooled[row], script, cld3)
            agreed = by_langid[row] == cld3 == language if language else None
            row += 1
        found.languages.append(language)
        found.scores.append(score)
        found.agreed.append(agreed)


def _choose(pooled: Matrix, script: str, cld3: str | None) -> tuple[str | None, float | None]:
    """The most probable language that is written in the script, if it is probable enough."""
    models = _models()
    possible = SCRIPTS.get(script, ())
    if len(possible) == 1:
        return possible[0], 1.0
    if cld3 in possible and cld3 not in models.places:
        return None, None  # Yiddish, say, which py3langid cannot tell from Hebrew
    weights = pooled * models.written[script]
    best, total = int(weights.argmax()), float(weights.sum())
    score = float(weights[best]) / total if total > 0 else 0.0
    return (models.codes[best], score) if score >= LEAST else (None, None)


class _Models:
    """Both identifiers, and tables over `codes`, the languages that py3langid knows."""

    def __init__(self) -> None:
        from gcld3 import NNetLanguageIdentifier
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._langid = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._cld3 = NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=1000)
        self._labels = [iso_639_1(str(label)) for label in self._langid.nb_classes]
        self.codes = sorted({code for code in self._labels if code is not None})
        self.places = {code: place for place, code in enumerate(self.codes)}
        # What is a language without a code has no column: the others share its probability.
        self._folding = np.array(
            [[label == code for code in self.codes] for label in self._labels], np.float64
        )
        common = {code: weight for weight, codes in COMMON.items() for code in codes.split()}
        weights = np.array([common.get(code, RARE) for code in self.codes])
        self.weights: Matrix = weights / weights.sum()
        elsewhere = {code for codes in SCRIPTS.values() for code in codes} - ALSO_LATIN
        self.written = {
            script: np.array([code in codes for code in self.codes])
            for script, codes in SCRIPTS.items()
        } | {"LATIN": np.array([code not in elsewhere for code in self.codes])}

    def ask_langid(self, texts: Sequence[str]) -> tuple[Matrix, list[str | None]]:
        """Probabilities, shape (texts, codes), and its own answers."""
        # `rank`, which is public, takes as long again to sort 142 names.
        rows = [self._langid._decide(text) for text in texts]
        probabilities = np.array(rows, np.float64).reshape(len(texts), len(self._labels))
        return probabilities @ self._folding, [self._labels[i] for i in probabilities.argmax(1)]

    def ask_cld3(self, text: str) -> tuple[str | None, float]:
        """Its answer, None for a language without a code, and the answer's probability."""
        answer = self._cld3.FindLanguage(text=text)
        return _code(answer.language), float(answer.probability)


_code = functools.lru_cache(maxsize=1_000)(iso_639_1)
_models = functools.lru_cache(maxsize=1)(_Models)
