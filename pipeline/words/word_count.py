"""How many words a caption has, in scripts with and without spaces between words."""

import regex

_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_DICTIONARY = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]+")
_WORD_STARTS = regex.compile(r"(?w)\b(?=\w)")
LETTERS = 4
"""Code points of a word in scripts whose words only a dictionary tells apart."""


def count_words(text: str) -> int:
    """Words as white space separates them; where a script has no spaces, by Unicode's boundaries.

    These are the default word boundaries of Unicode Standard Annex 29, by which each ideograph and
    each hiragana is a word, and a run of katakana is one. For Thai, Lao, Khmer and Burmese the
    annex asks for a dictionary; here LETTERS code points in a row, or what is left of them, are a
    word.
    """
    if text.isascii() or not _UNSPACED.search(text):
        return len(text.split())
    words = sum(-(-len(run) // LETTERS) for run in _DICTIONARY.findall(text))
    for part in _DICTIONARY.sub(" ", text).split():
        words += len(_WORD_STARTS.findall(part)) if _UNSPACED.search(part) else 1
    return words
