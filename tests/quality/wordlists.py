"""Word lists: which disguises are seen through and which are not, and the speed."""

import re
import tempfile
from pathlib import Path

from pipeline.words.wordlists import WordLists
from tests.quality.scores import least_time, table

BLOCKS = ("word lists", "word lists speed")

CASES: tuple[tuple[str, str, str, int], ...] = (
    # (what, listed word, caption, occurrences that a reader would count)
    ("case, whole words", "shit", "SHIT happens, Shit!", 2),
    ("a listed word inside another", "sex", "Essex, Sussex and Middlesex", 0),
    ("a listed word inside another", "cock", "a peacock in the cockpit", 0),
    ("a listed word inside another", "ass", "classic glass, class of 55", 0),
    ("a listed word inside another", "cunt", "Scunthorpe station", 0),
    ("a listed word inside another", "shit", "Matsushita, shiitake", 0),
    ("full width", "shit", "ｓｈｉｔ", 1),
    ("mathematical letters", "shit", "𝓼𝓱𝓲𝓽", 1),
    ("letters in black squares and circles", "shit", "🅢🅗🅘🅣", 1),
    ("ligatures", "fish", "a ﬁsh", 1),
    ("unseen characters", "shit", "s\u200bh\u200bi\u200bt, s\u00adhit", 2),
    ("struck through", "shit", "s̶h̶i̶t̶", 1),
    ("accents that no language needs there", "shit", "shït, shìt", 2),
    ("accents left out", "café", "CAFE, cafe\u0301, café", 3),
    ("Cyrillic letters in a Latin word", "shit", "ѕhіt", 1),
    ("a word of look-alikes alone", "sex", "ѕех shop", 1),
    ("Latin letters in a Cyrillic word", "хуй", "xуй", 1),
    ("small capitals", "shit", "ꜱʜɪᴛ", 1),
    ("leet", "shit", "sh1t, 5h1t, $hit, sh!t", 4),
    ("leet", "hell", "he11", 1),
    ("leet", "ass", "a$$, @ss", 2),
    ("leet", "boobs", "b00bs", 1),
    ("numbers and models", "ass", "Galaxy A55, OPPO A5s, 455", 0),
    ("numbers and models", "sex", "Tesla S3X", 0),
    ("numbers and models", "leet", "1337 and 1984", 0),
    ("another word of the language", "ano", "feliz año nuevo", 0),
    ("another word of the language", "schwul", "ein schwüler Tag, schwül", 0),
    ("another word of the language", "lon", "lồn", 0),
    ("another word of the language", "sik", "sık", 0),
    ("another word of the language", "cop", "сор на полу, русский текст", 0),
    ("Greek without accents", "σκατά", "ΣΚΑΤΑ", 1),
    ("Russian ё", "ёлка", "елка", 1),
    ("Arabic with points", "كلب", "كَلْب", 1),
    ("Hindi", "कुत्ता", "एक कुत्ता है", 1),
    ("Hindi, another word", "कुत्त", "एक कुत्ता है", 0),
    ("Chinese, no spaces", "成人", "这是成人内容图片", 1),
    ("Thai, no spaces", "ควย", "ไอ้ควยนี่", 1),
    ("Japanese, no spaces", "エロ", "エロ本", 1),
    ("Japanese, a longer katakana word", "パン", "パンダの写真", 0),
    ("signs in the list", "c++", "written in C++.", 1),
    ("spaced letters", "shit", "s h i t, s.h.i.t", 2),
    ("repeated letters", "shit", "shiiiit", 1),
    ("asterisks", "shit", "sh*t, s**t", 2),
    ("inflected", "shit", "shits", 1),
    ("ü, ö, ä for u, o, a", "fuck", "fück", 1),
    ("Korean with a particle", "개새끼", "개새끼야", 1),
    ("Chinese, across two words", "大便", "大便当", 0),
)

_TOKEN = re.compile(r"\w+|[^\w\s]")


class Exact:
    """Whole words without regard to case alone, the rule of winnow 0.1.0."""

    def __init__(self, lines: list[str]) -> None:
        self.starting: dict[str, list[tuple[str, ...]]] = {}
        for phrase in sorted({self.tokens(line) for line in lines}, key=len, reverse=True):
            self.starting.setdefault(phrase[0], []).append(phrase)

    @staticmethod
    def tokens(text: str) -> tuple[str, ...]:
        return tuple(_TOKEN.findall(text.casefold()))

    def count(self, text: str) -> int:
        tokens, place, found = self.tokens(text), 0, 0
        while place < len(tokens):
            phrases = self.starting.get(tokens[place], ())
            length = next((len(p) for p in phrases if tokens[place : place + len(p)] == p), 0)
            found += length > 0
            place += length or 1
        return found


def lists(folder: Path, lines: list[str]) -> WordLists:
    path = folder / "words.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return WordLists({"": str(path)}, "captions.vocabulary")


def answer(found: int, expected: int) -> str:
    if found > expected:
        return "false alarm" if found - expected == 1 else f"{found - expected} false alarms"
    if found < expected:
        return "not caught" if found == 0 else f"{found} of {expected} caught"
    return "caught" if expected else "right"


def _cases(folder: Path) -> str:
    rows = []
    for what, word, caption, expected in CASES:
        old, new = Exact([word]).count(caption), lists(folder, [word]).count(caption)[0]
        shown = "".join(c if c.isprintable() else "·" for c in caption)
        rows.append([what, word, shown, answer(old, expected), answer(new, expected)])
    return table(("kind", "listed", "caption", "case alone", "now"), rows)


def _speed(folder: Path) -> str:
    lines = [f"word{i} of the list" if i % 2 else f"glorb{i:x}ex" for i in range(100_000)]
    plain = ["a kangaroo made of cheese on a hill, watercolour by nobody, 1984"] * 2_000
    mixed = ["Känguru aus Käse auf einem Hügel, Aquarell, 1984"] * 2_000
    rows = []
    old, new = Exact(lines), lists(folder, lines)
    for name, captions in (("ASCII, 64 characters", plain), ("not ASCII, 48 characters", mixed)):
        cells = [name]
        for count in (old.count, new.count):
            cells.append(f"{len(captions) / least_time(count, [captions] * 5):,.0f}")
        rows.append(cells)
    return table(("captions", "case alone, captions/s", "now, captions/s"), rows)


def tables(data: Path | None) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        return {"word lists": _cases(Path(folder)), "word lists speed": _speed(Path(folder))}
