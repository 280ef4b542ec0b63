import io
import threading
import zipfile
from datetime import UTC, datetime

import fsspec
import pytest

from pipeline.inspect.files import RunFiles, SharedFile


def test_each_thread_has_its_own_file_position() -> None:
    data = bytes(range(256)) * 4_000
    shared = SharedFile(io.BytesIO(data))
    wrong: list[int] = []

    def read(start: int) -> None:
        for k in range(300):
            offset = (start * 7_919 + k * 1_031) % (len(data) - 64)
            shared.seek(offset)
            if shared.read(64) != data[offset : offset + 64]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_positions_are_those_of_a_file() -> None:
    shared = SharedFile(io.BytesIO(b"0123456789"))
    assert shared.read(3) == b"012"
    assert (shared.tell(), shared.seek(2, 1), shared.read(2)) == (3, 5, b"56")
    assert (shared.seek(-1, 2), shared.read()) == (9, b"9")
    assert shared.read(5) == b""


def test_files_outside_the_run_and_writing_are_refused(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("here")
    files = RunFiles(str(tmp_path))
    assert files.open("run://a.txt").read() == b"here"
    with pytest.raises(PermissionError, match="only read here"):
        files.open("run://a.txt", "wb")


def test_modification_times_are_those_of_the_store() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/run-files/a", b"x")
    assert RunFiles("memory://run-files").modified("run://a") == store.modified("/run-files/a")


def test_a_store_without_modification_times_can_be_read(tmp_path) -> None:
    """DuckDB reads them; the same time means that a file has not changed."""
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as made:
        made.writestr("a", b"x")
    files = RunFiles(f"zip://::{tmp_path / 'run.zip'}")
    assert files.open("run://a").read() == b"x"
    assert files.modified("run://a") == datetime(2000, 1, 1, tzinfo=UTC)
