"""Languages by their ISO 639-1 codes: what the identifiers' labels mean, and who writes in which
script.

Labels that are not of ISO 639-1 become the code of the macrolanguage that ISO 639-3 puts them in
(`arz`, Egyptian Arabic: `ar`), or of the same language where they are another name for it (`iw`:
`he`). Languages without a two-letter code (Nigerian Pidgin `pcm`, Cebuano `ceb`) have no answer.
"""

import unicodedata
from collections import Counter
from functools import lru_cache

_CODES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da "
    "de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy "
    "hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg "
    "li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or "
    "os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta "
    "te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
ISO_639_1 = frozenset(_CODES.split())
"""The 183 codes in force; `bh` and `sh` were withdrawn."""

OTHER_NAMES = {
    # Members of a macrolanguage that has a code (ISO 639-3).
    "arz": "ar", "ary": "ar", "fuv": "ff", "gug": "gn", "ltg": "lv", "sdh": "ku", "uzs": "uz",
    "wuu": "zh", "yue": "zh",
    # The same language under a withdrawn or a longer code.
    "iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro", "kik": "ki",
    # Filipino is the standard form of Tagalog, and CLDR takes either code for the other.
    "fil": "tl",
}  # fmt: skip

SCRIPTS: dict[str, tuple[str, ...]] = {
    "ARABIC": ("ar", "fa", "ku", "ps", "sd", "ug", "ur"),
    "ARMENIAN": ("hy",),
    "BENGALI": ("as", "bn"),
    "CJK": ("ja", "zh"),
    "CYRILLIC": ("ba", "be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"),
    "DEVANAGARI": ("hi", "mr", "ne", "sa"),
    "ETHIOPIC": ("am", "ti"),
    "GEORGIAN": ("ka",),
    "GREEK": ("el",),
    "GUJARATI": ("gu",),
    "GURMUKHI": ("pa",),
    "HANGUL": ("ko",),
    "HEBREW": ("he", "yi"),
    "KANA": ("ja",),
    "KANNADA": ("kn",),
    "KHMER": ("km",),
    "LAO": ("lo",),
    "MALAYALAM": ("ml",),
    "MYANMAR": ("my",),
    "ORIYA": ("or",),
    "SINHALA": ("si",),
    "TAMIL": ("ta",),
    "TELUGU": ("te",),
    "THAANA": ("dv",),
    "THAI": ("th",),
    "TIBETAN": ("bo", "dz"),
}
"""The languages that are written in a script, by the first word of its letters' Unicode names."""

ALSO_LATIN = frozenset({"ku", "kk", "sr", "tt"})
"""Languages of SCRIPTS that are written in Latin letters too."""

_ALIASES = {
    "HIRAGANA": "KANA", "KATAKANA": "KANA", "KATAKANA-HIRAGANA": "KANA", "IDEOGRAPHIC": "CJK",
}  # fmt: skip


def iso_639_1(label: str) -> str | None:
    """The two-letter code of an identifier's label; None if its language has none.

    A script behind the language (`zh-Hant`, `ru-Latn`) is left out.
    """
    language = label.partition("-")[0]
    code = OTHER_NAMES.get(language, language)
    return code if code in ISO_639_1 else None


def script_of(text: str) -> str | None:
    """The script of at least half of the letters: a key of SCRIPTS, `LATIN` or another one's name.

    None if there is no letter. Text with kana counts as `KANA` as a whole if ideographs and kana
    together are that half, because only Japanese mixes them.
    """
    if text.isascii():
        return "LATIN" if any(map(str.isalpha, text)) else None
    text = unicodedata.normalize("NFKC", text)  # full-width and mathematical letters
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    if counts["KANA"]:
        counts["KANA"] += counts.pop("CJK", 0)
    most = max(counts, key=counts.__getitem__, default=None)
    return most if most and 2 * counts[most] >= counts.total() else None


@lru_cache(maxsize=20_000)
def _script(letter: str) -> str:
    word = unicodedata.name(letter, "UNKNOWN").split()[0]
    return _ALIASES.get(word, word)
