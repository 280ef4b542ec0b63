"""Word lists: what is folded, several lists, and files that are none."""

from pathlib import Path

import pytest
from planned_run import pairs

from pipeline.measure.captions.vocabulary import names_of
from pipeline.words.errors import InputError
from pipeline.words.folding import words
from pipeline.words.wordlists import WordLists
from tests.quality.wordlists import CASES

KEY = "captions.vocabulary"
NOT_CAUGHT = {
    "spaced letters", "repeated letters", "asterisks", "inflected", "ü, ö, ä for u, o, a",
    "Korean with a particle", "Chinese, across two words",
}  # fmt: skip


@pytest.mark.parametrize(("what", "word", "caption", "expected"), CASES)
def test_disguises_and_words_that_only_look_alike(
    tmp_path: Path, what: str, word: str, caption: str, expected: int
):
    path = tmp_path / "words.txt"
    path.write_text(word, encoding="utf-8")
    found = WordLists({"": str(path)}, KEY).count(caption)[0]
    assert (found == expected) == (what not in NOT_CAUGHT)


def test_without_a_list_nothing_is_read_for_anything_else():
    assert words("sh1t ѕhіt A55") == ["sh1t", "ѕhіt", "a55"]


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "Slurs-EN.txt").write_text("glorbex\nred herring\n")
    (tmp_path / "brands.txt").write_text("herring\nglorbex\nacme\n")
    return {"slurs": str(tmp_path / "Slurs-EN.txt"), "brands": str(tmp_path / "brands.txt")}


def test_each_list_counts_by_itself_and_all_of_them_together(lists: dict[str, str]):
    counts = WordLists(lists, KEY).count("a Gl0rbex, a red herring and acme")
    assert counts == (3, {"slurs": 2, "brands": 3})
    assert WordLists(lists, KEY).count("nothing") == (0, {"slurs": 0, "brands": 0})


def test_names_come_from_the_mapping_or_the_files(lists: dict[str, str]):
    assert names_of(lists, KEY) == lists
    assert list(names_of(tuple(lists.values()), KEY)) == ["slurs_en", "brands"]
    assert names_of("one.txt", KEY) == {"": "one.txt"}
    with pytest.raises(InputError, match="would both be called `words`"):
        names_of(("a/words.txt", "b/Words.txt"), KEY)
    with pytest.raises(InputError, match="names no list"):
        names_of((), KEY)
    with pytest.raises(InputError, match="`hits`"):
        names_of({"hits": "a.txt"}, KEY)
    with pytest.raises(InputError, match="`No Name` is no name for a list"):
        names_of({"No Name": "a.txt"}, KEY)


@pytest.mark.parametrize("form", ["mapping", "list"])
def test_columns_say_which_list_and_how_many(plan_run, lists: dict[str, str], form: str):
    given = lists if form == "mapping" else list(lists.values())
    first = "slurs" if form == "mapping" else "slurs_en"
    rows = [{"url": f"https://a.example/{i}", "caption": c} for i, c in enumerate(["GLORBEX", "x"])]
    planned = plan_run(rows, captions={"toxicity": None, "language": False, "vocabulary": given})
    planned.make("vocabulary")
    cells = planned.read("vocabulary")
    hits = {name: n for name, n in cells["GLORBEX"].items() if name != "uid"}
    assert hits == {"vocabulary_hits": 1, f"vocabulary_{first}": 1, "vocabulary_brands": 1}
    assert cells["x"]["vocabulary_hits"] == 0


def test_the_fingerprint_depends_on_names_and_content(plan_run, lists: dict[str, str]):
    def fingerprint(given, name: str) -> str:
        config = {"toxicity": None, "language": False, "vocabulary": given}
        return plan_run(pairs(1), captions=config, name=name).plan.by_name["vocabulary"].fingerprint

    one = fingerprint(lists, "a")
    assert fingerprint(dict(reversed(lists.items())), "b") == one
    assert fingerprint({"other": lists["slurs"], "brands": lists["brands"]}, "c") != one


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"fine\ncaf\xe9\n", "line 2: the byte 0xe9 is not UTF-8"),
        (b"\xef\xbb\xbffine\n\ncaf\xe9\n", "line 3: the byte 0xe9 is not UTF-8"),
        ("wörter\n".encode("utf-16"), "is in UTF-16; save it as UTF-8"),
        ("word\n".encode("utf-16-le"), "line 1: a NUL byte"),
        (b"GIF89a\0\0", "line 1: a NUL byte"),
        (b"", "holds no words"),
        (b"\n# glorbex\n", "holds no words"),
    ],
)
def test_files_that_are_no_word_lists(tmp_path: Path, data: bytes, said: str):
    path = tmp_path / "words.txt"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        WordLists({"": str(path)}, KEY)
    assert str(caught.value).startswith(f"{KEY}: {path}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "glorbex" not in str(caught.value)


def test_folders_and_missing_files_are_no_word_lists(tmp_path: Path):
    with pytest.raises(InputError, match="is a folder; name a file"):
        WordLists({"": str(tmp_path)}, KEY)
    with pytest.raises(InputError, match="No such file or directory; name a file"):
        WordLists({"": str(tmp_path / "none.txt")}, KEY)
