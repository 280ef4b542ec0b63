"""Pictures read from the list's own files, also of stores whose methods have other parameters."""

import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from stored_samples import picture, sample, write_table, write_tar

from pipeline.fetch.stored import StoredPictures
from pipeline.table.stored import InTable, InTar, Nowhere, stamp_of
from pipeline.words.failure import FetchError

MOST = 100_000


def stamp(path: str | Path) -> str:
    return stamp_of(fsspec.filesystem("file").info(str(path)))


@pytest.fixture
def table(tmp_path: Path) -> list[InTable]:
    rows = [{"image": {"bytes": picture(i) if i != 4 else None, "path": None}, "n": i}
            for i in range(20)]  # fmt: skip
    path = write_table(tmp_path / "x.parquet", rows)
    return [InTable(path, "image.bytes", i, stamp(path)) for i in range(20)]


def test_a_tar_is_read_by_named_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """s3fs has `cat_file(path, version_id, start, end)`."""
    path = write_tar(tmp_path / "x.tar", sample("1", 1, "a cat"))
    original = LocalFileSystem.cat_file

    def other(self, path, version_id=None, start=None, end=None):
        assert version_id is None
        return original(self, path, start=start, end=end)

    monkeypatch.setattr(LocalFileSystem, "cat_file", other)
    place = InTar(path, 512, len(picture(1)), stamp(path))
    assert StoredPictures([place]).read(place, MOST) == picture(1)


def test_cells_are_found_in_any_order_by_several_threads(table: list[InTable]):
    pictures, found, lock = StoredPictures(table), {}, threading.Lock()

    def read(places: list[InTable]) -> None:
        for place in places:
            try:
                data = pictures.read(place, MOST)
            except FetchError as error:
                data = error.reason
            with lock:
                found[place.row] = data

    threads = [threading.Thread(target=read, args=(table[i::4][::-1],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    pictures.close()
    assert found == {i: picture(i) for i in range(20)} | {4: "file_missing"}


@pytest.mark.parametrize("change", ["gone", "changed", "short", "large", "nowhere"])
def test_what_cannot_be_read_has_a_reason(tmp_path: Path, change: str):
    path = Path(write_tar(tmp_path / "x.tar", sample("1", 1, "a cat")))
    place = InTar(str(path), 512, len(picture(1)), stamp(path))
    most, words = MOST, {"gone": "no such file", "changed": "changed since", "short": "shorter",
                         "large": "over 10 bytes", "nowhere": "has no picture"}[change]  # fmt: skip
    if change == "gone":
        path.unlink()
    elif change == "changed":
        path.write_bytes(path.read_bytes() + b"x")
    elif change == "short":
        place = InTar(str(path), 512, 90_000, stamp(path))
    elif change == "large":
        most = 10
    else:
        place = Nowhere(str(path), stamp(path))
    with pytest.raises(FetchError) as caught:
        StoredPictures([place]).read(place, most)
    assert words in caught.value.detail
    assert caught.value.reason == ("too_large" if change == "large" else "file_missing")
