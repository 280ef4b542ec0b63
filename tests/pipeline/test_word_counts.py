"""How many words a caption has, and what that means for `caption_short` by default."""

import time
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.job import Job
from pipeline.measure.registry import default_rules
from pipeline.table.sql import evaluate
from pipeline.words.word_count import count_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # With spaces: as white space separates them, signs and all.
        ("a cat's life – 3.5 mm", 6), ("rock'n'roll e-mail", 2), ("l'autobus  giallo\n", 2),
        ("кошка в шляпе", 3), ("γάτα με καπέλο", 3), ("قطة ترتدي قبعة", 3), ("חתול עם כובע", 3),
        ("टोपी पहने बिल्ली", 3), ("모자 쓴 고양이", 3), ("கண்ணாடி அணிந்த பூனை", 3), ("კატა ქუდით", 2),
        ("con mèo đội mũ", 4), ("", 0), (" \t\n", 0), ("1234", 1), ("😀 😀", 2),
        # Each ideograph and each hiragana, and each run of katakana.
        ("戴帽子的猫", 5), ("红色雨靴", 4), ("帽子をかぶった猫", 8), ("ネコ", 1),
        ("赤いレインブーツ", 3), ("コーヒー　カップ", 2), ("Lumera 无线耳机", 5),
        ("Tシャツを着た犬", 6), ("猫。", 1), ("猫，狗", 2),
        # Four letters and signs.
        ("แมวใส่หมวก", 3), ("รองเท้าสีแดง", 3), ("สุนัขนอนอยู่บนโซฟา", 5), ("หูฟัง Lumera", 3),
        ("ແມວໃສ່ໝວກ", 3), ("ឆ្មាពាក់មួក", 3), ("ကြောင်", 2),
    ],
)  # fmt: skip
def test_words(text: str, words: int):
    assert count_words(text) == words


@given(st.text(st.characters(max_codepoint=0x0DFF)))
def test_before_thai_words_are_what_white_space_separates(text: str):
    assert count_words(text) == len(text.split())


@given(st.text(), st.text())
def test_parts_add_up(first: str, second: str):
    assert count_words(f"{first} {second}") == count_words(first) + count_words(second)


def test_words_are_counted_quickly():
    captions = ["a dog sleeping on the sofa", "ein Hund schläft auf dem Sofa"] * 50_000
    start = time.monotonic()
    assert sum(map(count_words, captions)) == 600_000
    assert time.monotonic() - start < 3
    start = time.monotonic()
    assert count_words("猫" * 20_000) == 20_000
    assert time.monotonic() - start < 1


SHORT = {
    "戴帽子的猫": False, "红色雨靴": False, "帽子をかぶった猫": False, "แมวใส่หมวก": False,
    "สุนัขนอนอยู่บนโซฟา": False, "ឆ្មាពាក់មួក": False, "mountain": True, "猫": True, "a b": True,
    "is it": False, "ネコ": True,
}  # fmt: skip


def is_short(captions: Sequence[str], when: str | None = None) -> list[bool]:
    """By the default rule, or another one."""
    (rule,) = (r for r in default_rules(Job(input="list.csv")) if r.reason == "caption_short")
    lengths = {
        "caption_chars": pa.array(map(len, captions), pa.int32()),
        "caption_words": pa.array(map(count_words, captions), pa.int32()),
    }
    (verdicts,) = evaluate(pa.table(lengths), [when or rule.when])
    return [bool(verdict == 1) for verdict in verdicts]


def test_captions_without_spaces_are_not_short_by_default():
    assert dict(zip(SHORT, is_short(list(SHORT)), strict=True)) == SHORT


@given(st.lists(st.text(st.characters(max_codepoint=0x0DFF), max_size=8), min_size=1))
def test_with_spaces_the_default_rule_judges_as_before(captions: list[str]):
    captions = [" ".join(caption.split()) for caption in captions]
    assert is_short(captions) == is_short(captions, "caption_chars < 5 or caption_words < 2")


def test_the_count_is_a_column(plan_run):
    captions = {"戴帽子的猫": 5, "a cat with a hat": 5}
    rows = [{"url": f"https://a.example/{i}", "caption": c} for i, c in enumerate(captions)]
    planned = plan_run(rows)
    planned.make("captions")
    cells = planned.read("captions")
    assert {caption: cells[caption]["caption_words"] for caption in captions} == captions
