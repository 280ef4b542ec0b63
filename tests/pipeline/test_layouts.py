"""Layouts, also of other packages, and which files belong to which."""

import json
from pathlib import Path

import numpy as np
import pytest
from exports import place

from pipeline.export import registry
from pipeline.export.layout import Layout
from pipeline.table.storage import Folder
from pipeline.words.errors import InputError

OTHERS = """
from pipeline.export.layout import Layout
from pipeline.table.parquet import read_parquet


class Captions(Layout):
    name = "captions"
    text = "captions.txt, a line a row."
    files = (r"captions\\.txt",)
    version = 3

    def write(self, export):
        tables = [f"{n:05d}.parquet" for n in range(len(export.slices))]
        rows = [c for t in tables for c in read_parquet(export.folder, t)["caption"].to_pylist()]
        export.folder.write("captions.txt", "\\n".join(rows).encode())
        return []

    def erase(self, taken):
        pass


class Forgetful(Captions):
    erase = Layout.erase


class SameName(Captions):
    name = "datacomp"
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch):
    """`installed(class name)`: another package with a layout, found by its entry point."""
    monkeypatch.syspath_prepend(tmp_path / "site")

    def install(kind: str) -> None:
        facts = tmp_path / "site" / "others-1.dist-info"
        facts.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / "others.py").write_text(OTHERS)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1\n")
        line = f"[winnow.layouts]\nmine = others:{kind}\n"
        (facts / "entry_points.txt").write_text(line)
        registry.registered.cache_clear()

    yield install
    registry.registered.cache_clear()


def test_every_file_of_an_export_belongs_to_exactly_one_layout(exported):
    names = [name for name, layout in registry.registered().items() if not layout.always]
    folder = place(exported(export={"formats": names}, vectors=True))
    files = set(Folder(folder).files()) - registry.COMMON
    layouts = registry.registered().values()
    owners = {name: [one.name for one in layouts if one.owns(name)] for name in files}
    assert {name: found for name, found in owners.items() if len(found) != 1} == {}
    assert {found for [found] in owners.values()} == set(registry.registered())


def test_every_layout_has_a_text_and_is_named_like_its_module():
    assert {"webdataset", "clip-retrieval", "datacomp"} <= set(registry.registered())
    for name, layout in registry.registered().items():
        assert type(layout).__module__ == f"pipeline.export.{name.replace('-', '_')}"
        assert layout.text
        assert layout.files


def test_a_layout_of_another_package_is_written_documented_and_removed(exported, installed):
    installed("Captions")
    folder = place(exported(export={"formats": ["captions"]}))
    assert len((folder / "captions.txt").read_text().splitlines()) == 6
    assert json.loads((folder / "manifest.json").read_text())["layouts"] == {"captions": 3}
    assert registry.unowned(["captions.txt", "captions_txt", "manifest.json"]) == ["captions_txt"]
    place(exported())
    assert not (folder / "captions.txt").exists()


def test_a_layout_without_erase_cannot_be_created(exported, installed):
    class Half(Layout):
        name, text, files = "half", "", ()

        def write(self, export):
            return []

    with pytest.raises(TypeError, match=r"abstract method '?erase"):
        Half()
    installed("Forgetful")
    with pytest.raises(InputError, match=r"`mine` of others cannot be used: .*erase.*; uninstall"):
        registry.registered()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Missing", "cannot be used: module 'others' has no attribute 'Missing'"),
        ("read_parquet", "cannot be used: others:read_parquet is no Layout"),
        ("SameName", "has the name of another one; uninstall one of them"),
    ],
)
def test_an_unusable_layout_is_named_with_its_package(installed, kind, expected):
    installed(kind)
    with pytest.raises(InputError, match=f"the layout `mine` of others {expected}"):
        registry.registered()


def test_a_layout_of_an_older_version_is_written_again(exported, monkeypatch):
    planned = exported(export={"formats": ["datacomp"]})
    sliced = planned.export()
    assert sliced.status().current
    monkeypatch.setattr(type(registry.registered()["datacomp"]), "version", 2)
    assert not sliced.status().current
    assert len(sliced.current_shards()) == len(sliced.slices)


def test_files_that_belong_to_no_layout_stay_in_the_folder(exported):
    planned = exported(export={"formats": ["clip-retrieval"]}, vectors=True)
    folder = place(planned)
    kept = ["00099_notes.txt", "img_emb/mine.npy", "mine/00000.tar"]
    for name in kept:
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / "x.npy", np.zeros(1))
        (folder / "x.npy").rename(folder / name)
    place(exported(vectors=True))
    assert registry.unowned(Folder(folder).files()) == kept
    assert sorted(path.name for path in (folder / "img_emb").iterdir()) == ["mine.npy"]
    assert not (folder / "text_emb").exists()
