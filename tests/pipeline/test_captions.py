"""Measurements of the caption alone."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_run import pairs

from pipeline.config.captions import CaptionsConfig
from pipeline.measure.captions.captions import MEASURED
from pipeline.words.errors import InputError
from pipeline.words.personal.emails import find_emails
from pipeline.words.personal.phones import find_phones
from pipeline.words.wordlists import WordLists


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("write to jane.doe@example.org", 1),
        ("a@b.co, c+d@sub.example.co.uk and (e_f@example.io)", 3),
        ("jane(at)example.org", 1),
        ("jane [at] example [dot] org", 1),
        ("MAILTO:JANE@EXAMPLE.ORG", 1),
        ("jörg@exämple.de", 1),
        ("a cat at the door", 0),
        ("shot on f/2.8 @ 50mm", 0),
        ("@kangaroo and #cheese", 0),
        ("no at sign in example.org", 0),
        ("a kangaroo @", 0),
    ],
)
def test_email_addresses(text: str, count: int):
    assert len(find_emails(text)) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("call +49 170 1234567", 1),
        ("call 0170-123-4567 or (030) 123 45 67", 2),
        ("tel. +1 (415) 555-0132", 1),
        ("415.555.0132", 1),
        ("0049 30 12345678", 1),
        ("shot in 1999", 0),
        ("2019-2020", 0),
        ("on 1999-12-31 and 31.12.1999", 0),
        ("1920x1080 pixels", 0),
        ("a kangaroo for 1,000,000 dollars", 0),
        ("12345678", 0),
        ("room 12 34", 0),
        ("IMG_20190203_120501", 0),
        ("version 1.2.3", 0),
        ("+1 234", 0),
        ("123 456 789 012 345 678", 0),
    ],
)
def test_phone_numbers(text: str, count: int):
    assert len(find_phones(text)) == count


@pytest.mark.parametrize(
    "text", ["1" * MEASURED, "1 " * 1000, "a." * 1000, "a@" * 1000, "at" * 1000]
)
def test_hostile_captions_are_searched_quickly(text: str):
    start = time.monotonic()
    len(find_emails(text))
    len(find_phones(text))
    assert time.monotonic() - start < 1


@given(st.text())
def test_any_text_can_be_measured(text: str):
    assert len(find_emails(f"{text} | me@home.example")) == len(find_emails(text)) + 1
    assert len(find_phones(f"{text} | +49 30 1234567")) == len(find_phones(text)) + 1


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text(
        "﻿glorbex\n# a comment\n\nred herring\nherring\nc++\nStraße\n  blah-blah  \n", "utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("the glorbex of all kangaroos", 1),  # the first line, behind a byte order mark
        ("GLORBEX, glorbex!", 2),
        ("glorbexes and unglorbex", 0),
        ("a red herring", 1),  # the longer phrase, once
        ("a red  herring and a herring", 2),
        ("a red, herring", 1),
        ("written in C++.", 1),
        ("STRASSE", 1),
        ("blah-blah", 1),
        ("a comment", 0),
        ("", 0),
    ],
)
def test_words_of_the_users_list(words: Path, text: str, hits: int):
    assert WordLists({"": str(words)}, "captions.vocabulary").count(text)[0] == hits


def test_a_long_list_is_as_quick_as_a_short_one(tmp_path: Path):
    path = tmp_path / "long.txt"
    path.write_text("\n".join(f"word{i} of the list" for i in range(100_000)))
    vocabulary = WordLists({"": str(path)}, "captions.vocabulary")
    caption = "a kangaroo with word99999 of the list " * 20
    start = time.monotonic()
    assert [vocabulary.count(caption)[0] for _ in range(100)] == [20] * 100
    assert time.monotonic() - start < 2


def measure(plan_run, captions: list[str | None], **config) -> dict[str | None, dict]:
    rows = [{"url": f"https://a.example/{i}", "caption": c} for i, c in enumerate(captions)]
    planned = plan_run(rows, captions={"toxicity": None, "language": False, **config})
    cells: dict[str | None, dict] = {}
    for name in planned.caption_stages:
        planned.make(name)
        for caption, found in planned.read(name).items():
            cells.setdefault(caption, {}).update(found)
    return cells


def test_lengths_and_personal_data(plan_run):
    cells = measure(plan_run, ["two words", "jane@example.org +49 170 1234567", "", "袋鼠"])
    assert cells["two words"]["caption_chars"] == 9
    assert cells["two words"]["caption_words"] == 2
    assert cells["jane@example.org +49 170 1234567"]["pii_email"] == 1
    assert cells["jane@example.org +49 170 1234567"]["pii_phone"] == 1
    assert (cells["袋鼠"]["caption_chars"], cells["袋鼠"]["caption_words"]) == (2, 2)


def test_a_row_without_a_caption_is_null_throughout(plan_run):
    cells = measure(plan_run, [None, "a cat"])[None]
    assert {name: value for name, value in cells.items() if value is not None}.keys() == {"uid"}


def test_only_the_start_of_a_long_caption_is_searched(plan_run):
    long = "x " * MEASURED + "jane@example.org"
    cells = measure(plan_run, [long])[long]
    assert (cells["caption_words"], cells["pii_email"]) == (MEASURED + 1, 0)
    assert cells["caption_chars"] == len(long)


def test_the_listed_words_are_written_to_no_file(plan_run, words: Path):
    caption = "the kangaroo of all kangaroos"
    words.write_text("glorbex\nkangaroo\n")
    rows = [{"url": "https://a.example/1", "caption": caption}]
    config = {"toxicity": None, "language": False, "vocabulary": str(words)}
    planned = plan_run(rows, captions=config)
    planned.make("vocabulary")
    assert planned.read("vocabulary")[caption]["vocabulary_hits"] == 1
    for path in Path(planned.plan.run.folder.path()).rglob("*"):
        if path.is_file():
            assert b"glorbex" not in path.read_bytes()


def test_the_recipe_depends_on_the_lists_content_and_not_its_path(plan_run, words: Path):
    def fingerprint(path: Path) -> str:
        config = {"toxicity": None, "language": False, "vocabulary": str(path)}
        plan = plan_run(pairs(1), captions=config, name=path.stem).plan
        return plan.by_name["vocabulary"].fingerprint

    first = fingerprint(words)
    moved = words.with_name("moved.txt")
    moved.write_bytes(words.read_bytes())
    assert fingerprint(moved) == first
    moved.write_text("another\n")
    assert fingerprint(moved) != first


def test_the_batch_size_is_not_part_of_the_recipe():
    """Also if the section is nested in another one."""
    sections = [CaptionsConfig(toxicity={"batch_size": size}) for size in (8, 64)]
    assert sections[0].recipe() == sections[1].recipe()
    assert CaptionsConfig().recipe() != CaptionsConfig(toxicity=None).recipe()


@pytest.mark.parametrize("data", [b"\n \n# only a comment\n", b"caf\xe9\n", None])
def test_a_file_that_is_not_a_word_list_is_refused(tmp_path: Path, data: bytes | None):
    path = tmp_path / "words.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"^captions\.vocabulary: "):
        WordLists({"": str(path)}, "captions.vocabulary")
