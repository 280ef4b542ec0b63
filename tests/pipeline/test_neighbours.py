"""Exports are read by the tools next door, as these are installed here, without a change.

Tools whose pins do not fit are run by tests/neighbours/run.py in environments of their own.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from exports import kept_captions, place, pool_uid
from huggingface_hub import DatasetCard
from planned_run import pairs

from pipeline.export.card_head import card_head
from pipeline.models.torchvision_shim import ensure_torchvision

FORMATS = ["imagefolder", "fiftyone", "label-studio"]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`datasets.load_dataset`, without the network and with a cache of its own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    cache = str(tmp_path / "cache")
    return lambda *args, **kwargs: datasets.load_dataset(
        *args, split="train", cache_dir=cache, **kwargs
    )


def test_datasets_loads_each_row_once_by_the_folder_and_by_the_readers_name(exported, loaded):
    planned = exported(vectors=True)
    folder = place(planned)
    first = loaded(str(folder))
    assert first["txt"] == kept_captions(planned)
    assert first[0]["jpg"].size[0] > 0
    second = loaded("webdataset", data_files=f"{folder}/*.tar", features=first.features)
    assert second["txt"] == first["txt"]
    assert second.features == first.features


def test_the_imagefolder_has_pictures_text_and_typed_columns(exported, loaded):
    planned = exported(export={"formats": ["imagefolder"]}, vectors=True)
    found = loaded("imagefolder", data_dir=f"{place(planned)}/imagefolder")
    assert sorted(found["text"]) == sorted(kept_captions(planned))
    assert found[0]["image"].size == (found[0]["width"], found[0]["height"])
    kinds = {name: found.features[name].dtype for name in ("width", "clip_score", "dup_group")}
    assert kinds == {"width": "int32", "clip_score": "float32", "dup_group": "string"}


def test_columns_that_datasets_would_take_for_pictures_are_renamed(exported, loaded):
    rows = [row | {"text": "x", "page_file_name": "y.html"} for row in pairs(8)]
    planned = exported(rows=rows, export={"formats": ["imagefolder"]})
    found = loaded("imagefolder", data_dir=f"{place(planned)}/imagefolder")
    assert set(found["page_filename"]) == {"y.html"}
    assert set(found["input_text"]) == {"x"}
    assert sorted(found["text"]) == sorted(kept_captions(planned))


def test_open_clips_training_finds_the_number_of_samples(exported):
    ensure_torchvision()
    data = pytest.importorskip("open_clip_train.data", reason="open_clip's training is not here")
    planned = exported()
    folder = place(planned)
    shards = f"{folder}/{{00000..00001}}.tar"
    assert data.get_dataset_size(shards) == (len(kept_captions(planned)), 2)
    (folder / "sizes.json").unlink()
    assert data.get_dataset_size(shards)[0] == len(kept_captions(planned))


def test_the_stats_have_the_keys_of_img2dataset(exported, tmp_path: Path):
    from img2dataset.logger import CappedCounter, write_stats

    write_stats(str(tmp_path), 0, 3, 3, 0, 0, 1.0, 2.0, CappedCounter(), 5)
    theirs = json.loads((tmp_path / "00000_stats.json").read_text())
    ours = json.loads((place(exported()) / "00000_stats.json").read_text())
    assert ours.keys() == theirs.keys()


def test_the_card_is_one_of_hugging_faces_hub(exported):
    planned = exported(export={"license": "CC-BY-4.0"})
    card = DatasetCard.load(place(planned) / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "*.tar"}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Apache 2.0", ("apache-2.0", None, None)),
        ("CC0_1.0", ("cc0-1.0", None, None)),
        ("My own licence", ("other", "my-own-licence", None)),
        ("https://a.example/terms", ("other", "see-link", "https://a.example/terms")),
    ],
)
def test_a_licence_is_an_id_of_the_hub_or_other(given: str, expected: tuple):
    text = card_head("x", given, 1, None)
    data = DatasetCard(text).data.to_dict()
    assert (data["license"], data.get("license_name"), data.get("license_link")) == expected


def test_croissant_names_every_file_with_its_sum_and_every_column(exported):
    folder = place(exported(export={"license": "cc0-1.0", "title": "Winnowed"}))
    found = json.loads((folder / "croissant.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    sums = {one["name"]: one["sha256"] for one in found["distribution"] if "sha256" in one}
    assert sums == {
        shard[kind]: shard[digest] for shard in manifest["shards"]
        for kind, digest in (("tar", "sha256"), ("parquet", "parquet_sha256"))
    }  # fmt: skip
    (records,) = found["recordSet"]
    types = {field["name"]: field["dataType"] for field in records["field"]}
    assert (types["width"], types["caption"]) == ("sc:Integer", "sc:Text")
    assert (found["name"], found["license"]) == ("Winnowed", "cc0-1.0")


def test_fiftyone_and_label_studio_name_the_pictures(exported):
    planned = exported(export={"formats": FORMATS})
    folder = place(planned)
    samples = json.loads((folder / "fiftyone" / "samples.json").read_text())["samples"]
    assert [sample["caption"] for sample in samples] == kept_captions(planned)
    assert all((folder / "fiftyone" / sample["filepath"]).is_file() for sample in samples)
    tasks = json.loads((folder / "label-studio" / "00000.json").read_text())
    assert all(
        (folder / task["data"]["image"].removeprefix("/data/local-files/?d=")).is_file()
        for task in tasks
    )


def test_layouts_without_their_pictures_are_refused(exported):
    for name in ("fiftyone", "label-studio"):
        with pytest.raises(Exception, match=f"{name} needs the pictures; add `imagefolder`"):
            exported(export={"formats": [name]})


def test_the_pools_uids_may_have_another_column(exported):
    rows = [row | {"pool_id": pool_uid(row)} for row in pairs(8)]
    planned = exported(rows=rows, columns={"uid": "pool_id"}, export={"formats": ["datacomp"]})
    assert len(np.load(place(planned) / "subset.npy")) == len(kept_captions(planned))


def test_columns_of_the_list_never_take_the_place_of_a_layouts_own(exported, loaded):
    names = ("image", "id", "input_id", "filepath", "file_name", "input_filename", "text")
    rows = [row | {name: f"the list's {name}" for name in names} for row in pairs(8)]
    planned = exported(rows=rows, export={"formats": FORMATS})
    folder = place(planned)
    (task, *_) = json.loads((folder / "label-studio" / "00000.json").read_text())
    assert task["data"]["image"].startswith("/data/local-files/?d=imagefolder/")
    assert task["data"]["input_image"] == "the list's image"
    (one, *_) = json.loads((folder / "fiftyone" / "samples.json").read_text())["samples"]
    assert one["filepath"].startswith("../imagefolder/")
    assert {"the list's id", "the list's input_id", "the list's filepath"} <= set(one.values())
    found = loaded("imagefolder", data_dir=f"{folder}/imagefolder")
    assert {f"the list's {name}" for name in names if name != "image"} <= set(found[0].values())
