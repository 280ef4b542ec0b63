"""What a view of a store knows without asking, with many and with few objects."""

import pytest

from pipeline.table import s3 as requests
from pipeline.table.storage import Folder

FILES = {
    "state.json": b"{}", "parts/a-1/00000.json": b"zero", "parts/a-1/00001.json": b"one",
    "parts/a-1/00001.next/x": b"aside", "parts/b-2/00000.json": b"b", "train/model/unet": b"u",
}  # fmt: skip


@pytest.fixture(params=[1000, 2], ids=["one page lists it all", "many pages"])
def folder(s3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(requests, "PAGE", request.param)
    folder = Folder(f"{s3.bucket()}/runs/job")
    for name, data in FILES.items():
        folder.write(name, data)
    Folder(f"{folder.url}-2").write("state.json", b"another run's")
    s3.asked()
    return folder


def look(folder: Folder) -> dict[str, object]:
    parts = folder.sub("parts")
    return {
        "names": [folder.names(), parts.names("a-1"), folder.names("nowhere")],
        "files": [folder.files(), parts.files("a-1"), folder.files("nowhere")],
        "sizes": [folder.size(name) for name in (*FILES, "nothing", "parts", "parts/a-1/2.json")],
        "there": [folder.exists(n) for n in ("state.json", "state", "parts", "train/model", "tra")],
        "texts": [folder.read(name) for name in FILES],
    }


def test_a_held_listing_gives_the_same_answers_as_the_store(folder: Folder) -> None:
    asked = look(folder)
    with folder.hold():
        assert look(folder) == asked
    assert asked["names"] == [
        ["parts", "state.json", "train"], ["00000.json", "00001.json", "00001.next"], [],
    ]  # fmt: skip
    assert asked["files"][0] == sorted(FILES)
    assert asked["there"] == [True, False, True, True, False]


def test_what_is_held_is_asked_once(folder: Folder, s3) -> None:
    with folder.hold():
        look(folder)
        s3.asked()
        assert look(folder) == look(folder)
        assert s3.asked().total() == 0
        with pytest.raises(FileNotFoundError):
            folder.read("parts/a-1/00007.json")
        folder.remove("parts/a-1/00007.json")
        assert s3.asked().total() == 0


def test_own_changes_are_seen_in_what_is_held(folder: Folder) -> None:
    with folder.hold():
        look(folder)
        folder.write("parts/a-1/00002.json", b"two")
        folder.write("state.json", b"[]")
        folder.remove("parts/a-1/00001.next")
        folder.remove("parts/a-1/00000.json")
        folder.rename("parts/b-2/00000.json", "parts/b-2/00001.json")
        seen = [folder.names("parts/a-1"), folder.names("parts/b-2"), folder.read("state.json")]
        assert seen == [["00001.json", "00002.json"], ["00001.json"], b"[]"]
        assert folder.size("parts/a-1/00002.json") == 3
    fresh = Folder(folder.url)
    assert seen == [fresh.names("parts/a-1"), fresh.names("parts/b-2"), fresh.read("state.json")]


def test_others_changes_are_seen_as_soon_as_the_listing_is_let_go(folder: Folder) -> None:
    with folder.hold():
        assert folder.names("parts/b-2") == ["00000.json"]
        Folder(folder.url).write("parts/b-2/00001.json", b"new")
        Folder(folder.url).write("state.json", b"new")
        assert folder.names("parts/b-2") == ["00000.json"]
    assert folder.names("parts/b-2") == ["00000.json", "00001.json"]
    assert folder.read("state.json") == b"new"
    with folder.hold():
        assert folder.read("state.json") == b"new"
        assert folder.size("parts/b-2/00001.json") == 3


def test_folders_are_removed_in_batches(folder: Folder, s3) -> None:
    folder.remove("parts")
    asked = s3.asked()
    assert asked["DELETE"] <= 2
    assert folder.files() == ["state.json", "train/model/unet"]
    assert Folder(f"{folder.url}-2").read("state.json") == b"another run's"
