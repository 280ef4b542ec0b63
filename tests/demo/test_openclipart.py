import shutil
import subprocess
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.demo import openclipart
from pipeline.demo.openclipart import PACKAGES, SCHEMA, list_pictures, prepare
from pipeline.demo.web import serve
from pipeline.words.errors import InputError

TITLED = "<svg><cc:Work><dc:title>Red apple</dc:title>{}</cc:Work></svg>"
SUBJECTS = "<dc:subject><rdf:li>fruit</rdf:li><rdf:li>food</rdf:li></dc:subject>"


def plant(pictures: Path, drawings: Path) -> None:
    texts = {
        "food/red apple+": TITLED.format(SUBJECTS),
        "food/fruit/untitled": "<svg/>",
        "unsorted/broken": "<svg><title>Broken",
        "unsorted/alone": None,
    }
    for name, text in texts.items():
        picture, drawing = pictures / f"{name}.png", drawings / f"{name}.svg"
        for file in (picture, drawing):
            file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(picture), np.full((8, 8, 3), len(name), np.uint8))
        if text is not None:
            drawing.write_text(text)


def test_pictures_are_paired_with_their_drawings(tmp_path: Path) -> None:
    plant(tmp_path / "png", tmp_path / "svg")
    table = list_pictures(tmp_path / "png", tmp_path / "svg", "http://127.0.0.1:1")
    assert table.schema.equals(SCHEMA)
    rows = {row.pop("url").removeprefix("http://127.0.0.1:1/"): row for row in table.to_pylist()}
    assert rows == {
        "food/fruit/untitled.png": {
            "caption": None, "keywords": None, "collection": "food/fruit"},
        "food/red%20apple%2B.png": {
            "caption": "Red apple", "keywords": "fruit, food", "collection": "food"},
        "unsorted/alone.png": {"caption": None, "keywords": None, "collection": "unsorted"},
        "unsorted/broken.png": {"caption": None, "keywords": None, "collection": "unsorted"},
    }  # fmt: skip


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small real packages, and an `apt-get` that copies them instead of fetching."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    store = tmp_path / "store"
    roots = {name: tmp_path / name for name in PACKAGES}
    share = "usr/share/openclipart"
    plant(roots[PACKAGES[0]] / share / "png", roots[PACKAGES[1]] / share / "svg")
    document = roots[PACKAGES[0]] / "usr/share/doc/openclipart-png/copyright"
    document.parent.mkdir(parents=True)
    document.write_text("public domain")
    store.mkdir()
    for name, root in roots.items():
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\n"
            "Description: test\n"
        )
        subprocess.run(["dpkg-deb", "-b", root, store / f"{name}_1_all.deb"], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "apt-get"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncp {store}/*.deb .\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return tmp_path


def test_packages_become_a_served_list_once(debian: Path) -> None:
    out = debian / "out"
    with serve(out) as base_url:
        rows = pq.read_table(prepare(out, base_url)).to_pylist()
        assert len(rows) == 4
        for row in rows:
            with urllib.request.urlopen(row["url"], timeout=5) as answer:
                assert answer.read(4) == b"\x89PNG"
    assert (out / "COPYRIGHT").read_text() == "public domain"
    before = (out / "rows.parquet").stat().st_mtime_ns
    prepare(out, base_url)
    assert (out / "rows.parquet").stat().st_mtime_ns == before
    prepare(out, "http://127.0.0.1:2")
    assert pq.read_table(out / "rows.parquet")["url"][0].as_py().startswith("http://127.0.0.1:2/")
    calls = (debian / "calls").read_text().splitlines()
    assert calls == ["-q download openclipart-png openclipart-svg"]


@pytest.mark.parametrize(("user", "words"), [(0, 3), (1000, 1)])
def test_a_failing_apt_names_the_next_step_and_only_root_updates(
    debian: Path, monkeypatch: pytest.MonkeyPatch, user: int, words: int
) -> None:
    (debian / "bin" / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {debian}/calls\n[ "$2" = update ]\n'
    )
    monkeypatch.setattr("os.geteuid", lambda: user)
    hint = "check the network" if user == 0 else "sudo apt-get update"
    with pytest.raises(InputError, match=hint):
        prepare(debian / "out", "http://127.0.0.1:1")
    assert len((debian / "calls").read_text().splitlines()) == words
    assert not (debian / "out" / "unpacked.json").exists()


def test_system_without_apt_ends_with_one_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert openclipart.main(["--out", str(tmp_path / "out"), "--no-serve"]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert errors.startswith("error: apt-get and dpkg-deb not found")
