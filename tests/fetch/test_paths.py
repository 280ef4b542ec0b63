"""Pictures on the disk: only below the folders that the job allows, and never another file."""

import os
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config.download import DownloadConfig
from pipeline.fetch.paths import check_folder, find_place, is_path
from pipeline.table.places import Place, read_place
from pipeline.words.errors import InputError
from pipeline.words.failure import FetchError

MOST = 1_000


def read(text: str, *allowed: str) -> bytes:
    return read_place(find_place(text, allowed), MOST)


def refused(text: str, *allowed: str) -> str:
    with pytest.raises(FetchError) as caught:
        read(text, *allowed)
    return caught.value.reason


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "in side"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "ä #1%20.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "in side 2").mkdir()
    (tmp_path / "in side 2" / "x.jpg").write_bytes(b"other")
    return inside


def test_a_path_a_file_url_and_a_relative_path_name_the_same_picture(folder: Path):
    path = folder / "deep" / "ä #1%20.jpg"
    for text in (str(path), path.as_uri(), "deep/ä #1%20.jpg", f"  {path} ",
                 path.as_uri().replace("file://", "file://localhost")):  # fmt: skip
        assert read(text, str(folder)) == b"picture"
        assert find_place(text, [f"{folder}/"]).name == "deep/ä #1%20.jpg"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{0}/../secret", "path_forbidden"),
        ("../secret", "path_forbidden"),
        ("deep/../../secret", "path_forbidden"),
        ("file://{0}/%2e%2e/secret", "path_forbidden"),
        ("{0} 2/x.jpg", "path_forbidden"),
        ("/etc/passwd", "path_forbidden"),
        ("file:///etc/passwd", "path_forbidden"),
        ("file://host.example/etc/passwd", "path_forbidden"),
        ("deep/x\0.jpg", "path_forbidden"),
        ("s3://bucket/x.jpg", "scheme_forbidden"),
        ("simplecache::file:///etc/passwd", "file_missing"),
        ("gone.jpg", "file_missing"),
        ("deep", "file_missing"),
        ("", "file_missing"),
        ("file://[x/y", "path_forbidden"),
        ("loop", "file_missing"),
        ("x\ud800.jpg", "file_missing"),
    ],
)
def test_nothing_else_is_read(folder: Path, text: str, reason: str):
    (folder / "loop").symlink_to(folder / "loop")
    assert refused(text.format(folder), str(folder)) == reason


def test_links_may_stay_inside_and_not_lead_out(folder: Path):
    (folder / "out").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    (folder / "same").symlink_to(folder / "deep" / "ä #1%20.jpg")
    assert refused("out", str(folder)) == "path_forbidden"
    assert refused("up/secret", str(folder)) == "path_forbidden"
    assert read("same", str(folder)) == b"picture"
    (folder.parent / "door").symlink_to(folder)
    assert read("deep/ä #1%20.jpg", str(folder.parent / "door")) == b"picture"


def test_a_pipe_and_a_large_file_are_refused_at_once(folder: Path):
    os.mkfifo(folder / "pipe")
    (folder / "large").write_bytes(b"x" * (MOST + 1))
    (folder / "just").write_bytes(b"x" * MOST)
    assert refused("pipe", str(folder)) == "file_missing"
    assert refused("large", str(folder)) == "too_large"
    assert len(read("just", str(folder))) == MOST


def test_a_store_is_read_below_its_folder_only():
    with fsspec.open("memory://bucket/pictures/1.jpg", "wb") as out:
        out.write(b"picture")
    with fsspec.open("memory://bucket/secret", "wb") as out:
        out.write(b"secret")
    allowed = "memory://bucket/pictures"
    assert read("memory://bucket/pictures/1.jpg", "/data", allowed) == b"picture"
    assert refused("memory://bucket/secret", allowed) == "path_forbidden"
    assert refused("memory://bucket/pictures/../secret", allowed) == "path_forbidden"
    chained = "memory://bucket/pictures/x::memory://bucket/secret"
    assert refused(chained, allowed) == "file_missing"


@given(st.text())
def test_any_text_stays_below_its_folder_or_is_refused(text: str):
    try:
        place = find_place(text, ["/data/in", "memory://bucket/pictures"])
    except FetchError as error:
        reason = error.reason
    else:
        reason = "path_forbidden"
        assert os.path.normpath(f"/data/in/{place.name}").startswith("/data/in")
    assert reason in ("path_forbidden", "scheme_forbidden")


def test_only_a_job_that_allows_paths_reads_them():
    assert not is_path("/data/1.jpg", [])
    assert not is_path("https://a.example/1.jpg", ["/data"])
    assert is_path("/data/1.jpg", ["/data"])


@pytest.mark.parametrize(
    "named", ["file://{0}", "FILE://{0}", "local://{0}", "file://localhost{0}", "{0}/"]
)
def test_other_names_of_the_disk_are_the_same_folder(folder: Path, named: str):
    (folder / "out").symlink_to(folder.parent / "secret")
    (path,) = DownloadConfig(allow_paths=(named.format(folder),)).allow_paths
    assert path.rstrip("/") == str(folder)
    assert read("deep//ä #1%20.jpg", path) == b"picture"
    assert refused("out", path) == "path_forbidden"


@pytest.mark.parametrize("named", ["/", "file:///", "local:///", " ", "https://a.example/x",
                                   "simplecache::file:///data", "file://localhost/"])  # fmt: skip
def test_a_folder_that_would_allow_more_than_it_says_is_refused(named: str):
    with pytest.raises(ValidationError, match=r"is no folder|one store inside another"):
        DownloadConfig(allow_paths=(named,))


def test_a_folder_that_is_not_there_ends_before_any_work(tmp_path: Path):
    with pytest.raises(InputError, match="allow_paths: there is no folder"):
        check_folder(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="allow_paths: gopher://x cannot be reached"):
        check_folder("gopher://x")
    check_folder(str(tmp_path))
    assert Place(str(tmp_path), "x").name == "x"
