"""The caption's language: codes, scripts, texts without an answer, and rules that miss these."""

import io

import pyarrow as pa
import pytest
from gcld3 import NNetLanguageIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_run import make_job, pairs
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from rich.console import Console

from pipeline.config.job import Job
from pipeline.inspect.preview import preview, render
from pipeline.judge.unknown_language import SHORT_LOST, unknown_language_notice
from pipeline.models.language import COMMON, LEAST, identify_languages
from pipeline.models.language_codes import (
    ALSO_LATIN,
    ISO_639_1,
    OTHER_NAMES,
    SCRIPTS,
    iso_639_1,
    script_of,
)

_LABELS = (
    "af am ar az be bg bg-Latn bn bs ca ceb co cs cy da de el el-Latn en eo es et eu fa fi fil fr "
    "fy ga gd gl gu ha haw hi hi-Latn hmn hr ht hu hy id ig is it iw ja ja-Latn jv ka kk km kn ko "
    "ku ky la lb lo lt lv mg mi mk ml mn mr ms mt my ne nl no ny pa pl ps pt ro ru ru-Latn sd si "
    "sk sl sm sn so sq sr st su sv sw ta te tg th tr uk ur uz vi xh yi yo zh zh-Latn zu"
)
CLD3_LABELS = _LABELS.split()
"""From the table of languages in CLD3's README; its Python module does not list them."""
WITHOUT_A_CODE = {
    # py3langid; the first is "no linguistic content".
    "zxx", "ace", "bcl", "crh", "ext", "gcf", "gcr", "gom", "grc", "guw", "hbo", "kab", "lij",
    "nso", "pcm", "vec",
    "ceb", "haw", "hmn",  # CLD3
}  # fmt: skip


def test_every_label_of_the_models_has_a_two_letter_code_or_none():
    langid = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).labels
    labels = {*map(str, langid), *CLD3_LABELS}
    codes = {label: iso_639_1(label) for label in labels}
    assert {label for label, code in codes.items() if code is None} == WITHOUT_A_CODE
    renamed = {label: code for label, code in codes.items() if code not in (None, label)}
    assert {k: v for k, v in renamed.items() if "-" not in k} == {
        k: v for k, v in OTHER_NAMES.items() if k in labels
    }
    assert set(filter(None, codes.values())) <= ISO_639_1


def test_the_tables_hold_codes_of_iso_639_1_only():
    assert len(ISO_639_1) == 183
    named = {code for codes in (*COMMON.values(), *OTHER_NAMES.values()) for code in codes.split()}
    named |= {code for codes in SCRIPTS.values() for code in codes} | ALSO_LATIN
    assert named <= ISO_639_1
    assert not OTHER_NAMES.keys() & ISO_639_1


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("A cat", "LATIN"), ("Ａ ｃａｔ", "LATIN"), ("𝓬𝓪𝓽", "LATIN"), ("кошка", "CYRILLIC"),
        ("γάτα", "GREEK"), ("戴帽子的猫", "CJK"), ("帽子をかぶった猫", "KANA"), ("ﾈｺ", "KANA"),
        ("고양이", "HANGUL"), ("แมว", "THAI"), ("חתול", "HEBREW"), ("قطة", "ARABIC"),
        ("Lumera 无线耳机 带充电盒", "CJK"), ("Sea View Villa ภูเก็ต", "LATIN"),
        ("ᏪᏌ", "CHEROKEE"), ("1234 – 56 %", None), ("", None), ("😀", None),
        ("ab вг δε", None),  # no script has half of the letters
    ],
)  # fmt: skip
def test_the_script_is_that_of_most_letters(text: str, script: str | None):
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("한국", "ko"), ("แมว", "th"), ("γάτα", "el"), ("חתול", "he"), ("კატა", "ka"),
        ("կատու", "hy"), ("பூனை", "ta"), ("ネコ", "ja"), ("ແມວ", "lo"), ("ឆ្មា", "km"),
        ("ကြောင်", "my"), ("બિલાડી", "gu"), ("猫", "zh"),
    ],
)  # fmt: skip
def test_a_word_in_a_script_of_one_language_is_sure(text: str, code: str):
    found = identify_languages([text])
    assert found.languages == [code]
    assert found.scores[0] is not None
    assert found.scores[0] > (0.9 if code in ("he", "zh") else 0.999)


@pytest.mark.parametrize("text", ["", "1234", "50 % – 3.5 mm", "😀😀", "\x00\x07", "ᐃᓄᒃ", "𒀭𒂗"])
def test_without_letters_of_a_known_script_there_is_no_language(text: str):
    found = identify_languages([text])
    assert (found.languages, found.scores, found.agreed) == ([None], [None], [None])


def test_yiddish_is_not_called_hebrew():
    """py3langid does not know Yiddish, and both are written in Hebrew letters."""
    assert NNetLanguageIdentifier(0, 1000).FindLanguage(text="די קאַץ שלאָפֿט").language == "yi"
    assert identify_languages(["די קאַץ שלאָפֿט"]).languages == [None]


def test_sentences_are_named_and_both_identifiers_agree():
    texts = {
        "a drawing of a kangaroo in the tall grass": "en",
        "die Zeichnung eines Kängurus im hohen Gras": "de",
        "le dessin d'un kangourou dans les hautes herbes": "fr",
        "el dibujo de un canguro en la hierba alta": "es",
        "рисунок кенгуру в высокой траве": "ru",
        "草丛中袋鼠的图画": "zh",
    }
    found = identify_languages(list(texts))
    assert found.languages == list(texts.values())
    assert all(score is not None and score > 0.95 for score in found.scores)
    assert found.agreed == [True] * len(texts)


def test_short_english_texts_are_not_foreign():
    langid = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    names = ["Mount Halden", "grey cat", "turnip", "Blue Door", "iPad stand", "LED strip", "tree"]
    assert sum(langid.classify(name)[0] != "en" for name in names) >= 5
    assert identify_languages(names).languages == ["en"] * len(names)


@pytest.mark.parametrize("text", ["Gare du village", "vestido de festa", "gul regnfrakke"])
def test_short_latin_texts_of_several_languages_have_no_answer(text: str):
    assert identify_languages([text]).languages == [None]


def test_batches_do_not_change_answers(monkeypatch):
    texts = ["ein Hund auf dem Sofa", "1", "a dog on the sofa", "собака на диване", "🐕"] * 3
    whole = identify_languages(texts)
    monkeypatch.setattr("pipeline.models.language.BATCH", 2)
    assert identify_languages(texts) == whole
    assert identify_languages([]).languages == []


@given(st.text())
@settings(deadline=None, max_examples=40)
def test_any_text_is_answered(text: str):
    text = text.encode("utf-8", "ignore").decode()  # columns of text hold no lone surrogates
    found = identify_languages([text])
    code, score, agreed = found.languages[0], found.scores[0], found.agreed[0]
    assert (code is None) == (score is None) == (agreed is None)
    assert code is None or (code in ISO_639_1 and score is not None and LEAST <= score <= 1)


def test_the_language_is_a_column(plan_run):
    captions = {"der Hund schläft auf dem Sofa": "de", "4711": None}
    rows = [{"url": f"https://a.example/{i}", "caption": c} for i, c in enumerate(captions)]
    planned = plan_run(rows, captions={"toxicity": None, "language": True})
    planned.make("language")
    cells = planned.read("language")
    assert {caption: cells[caption]["language"] for caption in captions} == captions
    sure, unknown = (cells[caption] for caption in captions)
    assert (sure["language_score"] > 0.9, sure["language_agreed"]) == (True, True)
    assert (unknown["language_score"], unknown["language_agreed"]) == (None, None)


SCHEMA = {
    "language": pa.string(), "language_score": pa.float32(), "language_agreed": pa.bool_(),
    "caption_words": pa.int32(), "clip_score": pa.float32(),
}  # fmt: skip


def notice(rules: list[dict[str, str]], **sections) -> str | None:
    job = Job(input="list.csv", rules=rules, **sections)
    return unknown_language_notice(job, SCHEMA)


@pytest.mark.parametrize(
    ("when", "if_null"),
    [
        ("language is null or language <> 'en'", "keep"),
        ("language is distinct from 'en'", "keep"),
        ("coalesce(language, 'xx') <> 'en'", "keep"),
        ("not coalesce(language = 'en', false)", "keep"),
        ("language <> 'en'", "drop"),
        ("caption_words < 3 or LANGUAGE is null", "keep"),
    ],
)
def test_a_rule_that_drops_unknown_languages_is_named(when: str, if_null: str):
    rules = [
        {"reason": "x_first", "when": "caption_words is null"},
        {"reason": "caption_language", "when": when, "if_null": if_null},
    ]
    said = notice(rules)
    assert said is not None
    assert said.startswith("rules[1] (caption_language) leaves out captions whose language is unk")
    assert SHORT_LOST in said
    assert "\n" not in said
    assert notice(rules, captions={"language": False}) is None


@pytest.mark.parametrize(
    ("when", "if_null"),
    [
        ("language <> 'en'", "keep"),
        ("language <> 'en' and language_score >= 0.6", "keep"),
        ("language in ('de', 'fr')", "keep"),
        ("language is null and clip_score < 0.2", "keep"),
        ("coalesce(language, 'en') <> 'en'", "drop"),
        ("clip_score < 0.2", "drop"),
    ],
)
def test_a_rule_that_keeps_unknown_languages_is_not_named(when: str, if_null: str):
    assert notice([{"reason": "caption_language", "when": when, "if_null": if_null}]) is None


def test_a_mask_that_leaves_unknown_languages_out_is_named():
    said = notice(
        [{"reason": "caption_language", "when": "language is null"}],
        download={"only_if": "language = 'en'"},
        embed={"only_if": "language is null or language = 'en'"},
        images={"only_if": "language = 'en' and clip_score > 0.2"},
    )
    assert said is not None
    assert said.startswith("rules[0] (caption_language), download.only_if leave out captions")


def test_plan_says_so_in_one_line(tmp_path):
    rules = [{"reason": "caption_language", "when": "language is distinct from 'en'"}]
    job = make_job(tmp_path, pairs(2), captions={"toxicity": None, "language": True}, rules=rules)
    answer = preview(job)
    (said,) = (line for line in answer["notices"] if "language" in line)
    assert said.startswith("rules[0] (caption_language) leaves out captions whose language is")
    console = Console(width=300, file=io.StringIO())
    console.print(render(answer))
    assert said in console.file.getvalue()
