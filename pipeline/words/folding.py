"""Words of a text in the form in which a list's words and a caption's are compared.

Folded: what Unicode calls compatible (NFKC: full width, ligatures, mathematical letters), case,
characters that are not seen, marks that no alphabet has on that letter, and accents that are often
left out (é, Greek tonos, ё, Hebrew and Arabic points). Kept: letters of an alphabet of their own
(ñ, ä, ö, ü, å, ø, ç, ı, й and whatever else Unicode composes), and the marks of scripts in which
they are vowels or tones (Devanagari, Thai …).
"""

import re
import unicodedata
from collections.abc import Callable, Collection

import regex

from pipeline.words.lookalikes import TO_CYRILLIC, TO_LATIN

_ASCII = re.compile(r"\w+|[^\w\s]")
_DENSE = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_ANY = regex.compile(
    rf"(?V1)[{_DENSE}]\p{{M}}*|[\p{{Katakana}}ー]+|[[\w\p{{M}}]--[{_DENSE}\p{{Katakana}}ー]]+|[^\w\s]"
)
"""A word; in scripts without spaces a character with its marks; a run of katakana; or a sign."""
_UNSEEN = regex.compile(r"[\p{Cf}\p{Variation_Selector}\u034f\u115f\u1160\u3164\u0640]")
_MARKS = regex.compile(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}])\p{M}+")
_POINTS = regex.compile(
    r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]"
)
_OTHERS = regex.compile(r"[\p{Cyrillic}\p{Greek}\p{Armenian}\p{Cherokee}]")


def _accents() -> dict[int, str]:
    grave, acute, circumflex, diaeresis = "\u0300\u0301\u0302\u0308"
    vowels = [(v, m) for v in "aeiouy" for m in (grave, acute, circumflex)]
    vowels += [(v, diaeresis) for v in "eiy"]
    vowels += [(v, m) for v in "αεηιουω" for m in (acute, diaeresis, diaeresis + acute)]
    vowels += [("е", diaeresis)]
    composed = {unicodedata.normalize("NFC", v + m): v for v, m in vowels}
    return {ord(letter): vowel for letter, vowel in composed.items() if len(letter) == 1}


_ACCENTS = _accents()
_LEET = re.compile(r"(?<![\w@$])[\w@$]+(?:!(?=[^\W\d_])[\w@$]+)*")
_MAY_BE_LEET = re.compile(r"[^\W\d_][0134 57@$!]|[013457@$][^\W\d_]".replace(" ", ""), re.I)
_SIGNS = str.maketrans("0345@$7!", "oeasasti")
_READINGS = (_SIGNS | {ord("1"): "i"}, _SIGNS | {ord("1"): "l"})


def words(text: str, known: Collection[str] | None = None) -> list[str]:
    """The text's words and single signs, folded.

    With `known`, the words of a list, a word that is not among them stands for one that is: read
    with letters of another script for those that they look like, or with signs for letters
    (`sh1t`, `a$$`; see `_read`).
    """
    if text.isascii():
        text = text.lower()
        if known is not None and _MAY_BE_LEET.search(text):
            text = _LEET.sub(_reader(known), text)
        return _ASCII.findall(text)
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    text = _POINTS.sub("", _MARKS.sub("", text))
    if known is not None and _MAY_BE_LEET.search(text):
        text = _LEET.sub(_reader(known), text)
    found = _ANY.findall(text)
    if known is None or text.isascii():
        return [fold_word(word) for word in found]
    # A word of Cyrillic letters alone is a disguise only where all else is Latin.
    is_latin = _OTHERS.search(text.translate(TO_LATIN)) is None
    return [_unmasked(word, known, is_latin) for word in found]


def fold_word(word: str) -> str:
    return word.casefold().replace("\u0307", "").translate(_ACCENTS)


def _unmasked(word: str, known: Collection[str], is_latin: bool) -> str:
    folded = fold_word(word)
    if word.isascii() or folded in known:
        return folded
    is_mixed = any("a" <= c <= "z" for c in folded)
    if is_mixed or is_latin:
        latin = fold_word(word.translate(TO_LATIN))
        if latin in known:
            return latin
    if is_mixed:
        cyrillic = folded.translate(TO_CYRILLIC)
        if cyrillic in known:
            return cyrillic
    return folded


def _reader(known: Collection[str]) -> Callable[[re.Match[str]], str]:
    return lambda match: _read(match.group(), known)


def _read(chunk: str, known: Collection[str]) -> str:
    """A known word for which signs and digits stand in part, else the chunk itself.

    Read so are only words with letters, at least as many as digits, and with digits of four
    characters or more: `5`, `1984`, `a55` and `s3x` are names and numbers.
    """
    word = chunk.lower() if chunk.isascii() else chunk.translate(TO_LATIN).lower()
    digits = sum(c.isdigit() for c in word)
    letters = sum(c.isalpha() for c in word)
    if digits > letters or len(word) < (4 if digits else 3) or word in known:
        return chunk
    for signs in _READINGS:
        reading = word.translate(signs)
        if reading != word and reading in known:
            return reading
    return chunk
