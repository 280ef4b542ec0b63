"""Takedowns from every layout: in exports of earlier settings, and after a kill."""

import re
from pathlib import Path

import pytest
from lab import Lab
from leaks import leaks, secrets_of
from takedown import folder, one, take

from pipeline.export.layout import Layout
from pipeline.export.registry import registered
from pipeline.table.storage import Folder

LAYOUTS = registered()


def exports(lab: Lab) -> list[Path]:
    return sorted((folder(lab) / "export").iterdir())


def owned(place: Path, layout: Layout) -> set[str]:
    return {name for name in Folder(place).files() if layout.owns(name)}


def held_by(place: Path, layout: Layout, secret: dict) -> set[str]:
    """The layout's files that hold something of the row."""
    return {name for name, _ in leaks(place, secret)} & owned(place, layout)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_removes_rows_from_exports_of_all_settings(copy, name):
    layout, row = LAYOUTS[name], one(copy, "3.jpg")
    secret = secrets_of(folder(copy), row)
    before = {place: owned(place, layout) for place in exports(copy)}
    assert len(before) == 3
    # Otherwise the search proves nothing: extend `leaks` to read the layout's files.
    assert all(held_by(place, layout, secret) for place in before)
    take(copy, ("uid", row["uid"]))
    assert [held_by(place, layout, secret) for place in before] == [set()] * 3
    # In place: no file was removed but one picture, where each row has a file of its own. In
    # today's export, which is written again, that is the last row's, since the others move up.
    a_picture = 1 if name == "imagefolder" else 0
    for place, files in before.items():
        removed = files - owned(place, layout)
        assert len(removed) == a_picture
        assert all(file.endswith(".jpg") for file in removed)


@pytest.mark.parametrize("name", [n for n, layout in LAYOUTS.items() if not layout.always])
def test_a_layout_that_the_job_no_longer_names_removes_rows_too(copy, name):
    layout, row = LAYOUTS[name], one(copy, "3.jpg")
    secret = secrets_of(folder(copy), row)
    current = copy.run(copy.folder / "job.yaml", "export.formats=[]").export.folder
    older = [place for place in exports(copy) if place.name != Path(current).name]
    assert owned(folder(copy) / current, layout) == set()
    assert all(held_by(place, layout, secret) for place in older)
    take(copy, ("uid", row["uid"]))
    assert leaks(folder(copy), secret) == []
    assert all(owned(place, layout) for place in older)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_erasing_twice_has_the_same_result_as_once(copy, monkeypatch, name, moment):
    """Killed before or after it started in the second export: the next command finishes it."""
    layout, row = LAYOUTS[name], one(copy, "3.jpg")
    secret, kind = secrets_of(folder(copy), row), type(LAYOUTS[name])
    erase, seen = kind.erase, []

    def dying(self, taken):
        seen.append(taken.folder.url)
        if moment == "after" or len(seen) < 2:
            erase(self, taken)
        if len(seen) == 2:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(kind, "erase", dying)
        with pytest.raises(KilledError):
            take(copy, ("uid", row["uid"]))
    assert len(set(seen)) == 2
    again: list[str] = []

    def noting(self, taken):
        again.append(taken.folder.url)
        erase(self, taken)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "erase", noting)
        take(copy, ("uid", row["uid"]))
    assert set(seen) < set(again)
    assert leaks(folder(copy), secret) == []
    assert all(owned(place, layout) for place in exports(copy))


def test_a_file_that_belongs_to_no_layout_is_named_and_kept(copy):
    row = one(copy, "3.jpg")
    place = exports(copy)[0]
    (place / "shards").mkdir()
    for name in ("00000.tfrecord", "shards/00000.tar"):
        (place / name).write_bytes(row["caption"].encode())
    _, dry = take(copy, ("uid", row["uid"]), dry_run=True)
    _, answer = take(copy, ("uid", row["uid"]))
    expected = re.escape(
        f"left as they are, because no layout can remove rows from them: "
        f"export/{place.name}/00000.tfrecord, export/{place.name}/shards/00000.tar (2); "
    )
    assert [bool(re.match(expected, note)) for note in answer["notes"]] == [True]
    assert dry["notes"] == answer["notes"]
    left = {name for name, _ in leaks(folder(copy), {"caption": row["caption"].encode()})}
    assert left == {f"export/{place.name}/00000.tfrecord", f"export/{place.name}/shards/00000.tar"}


def test_a_file_of_no_layout_is_named_when_a_run_finishes_the_takedown(copy, monkeypatch):
    row = one(copy, "3.jpg")
    (exports(copy)[0] / "mine.txt").write_text("of the user")

    def dying(self, taken):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(type(LAYOUTS["webdataset"]), "erase", dying)
        with pytest.raises(KilledError):
            take(copy, ("uid", row["uid"]))
    copy.run(copy.folder / "job.yaml")
    assert any("mine.txt" in line and "no layout can" in line for line in copy.said)
