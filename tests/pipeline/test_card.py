"""The dataset card, and loading an export with the library `datasets`."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from exports import kept_captions, number_of, place
from planned_run import pairs

from pipeline.export.card_head import card_head
from pipeline.words.reasons import VOCABULARY


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    """The library, with its cache in the test's folder and no hub."""
    datasets = pytest.importorskip("datasets", reason="`datasets` is of the extra dev")
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return datasets


def group_of(number: int) -> dict:
    return {"dup_group": f"{number:032x}", "dup_sim": 1.0, "dup_kind": "bytes"}


@pytest.fixture
def late(exported):
    """Ten kept rows in two shards; only the sixth row of the first shard has a duplicate group."""
    nested = {"tags": ["a", "b"], "box": {"x": 1, "y": 0.5}, "boxes": [{"x": 1}, {"x": None}]}
    rows = [row | {"similarity": i / 2, **nested} for i, row in enumerate(pairs(15))]
    order = [number_of(caption) for caption in kept_captions(exported(rows=rows))]
    return exported(rows=rows, dedup={order[5]: group_of(7)}, export={"shard_size": 8})


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_every_kept_row_once_with_its_picture(late, drawings, datasets, streaming):
    folder = place(late)
    loaded = datasets.load_dataset(str(folder), split="train", streaming=streaming)
    samples = list(loaded)
    assert [sample["txt"] for sample in samples] == kept_captions(late)
    tables = pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))
    for sample, row in zip(samples, tables.to_pylist(), strict=True):
        assert sample["json"] == row
        assert sample["__key__"] == row["key"]
        pixels = drawings[number_of(sample["txt"]) % 8]
        assert sample["jpg"].size == (96, 96)
        assert np.abs(np.asarray(sample["jpg"]).astype(int) - pixels).mean() < 8
    assert samples[0]["json"]["tags"] == ["a", "b"]
    groups = [sample["json"]["dup_group"] for sample in samples]
    assert groups == [None] * 5 + [f"{7:032x}"] + [None] * 4


def test_datasets_loads_the_parquet_tables_alone(late, datasets):
    files = str(place(late) / "*.parquet")
    table = datasets.load_dataset("parquet", data_files=files, split="train")
    assert table["caption"][:] == kept_captions(late)
    assert table.features["dup_group"] == datasets.Value("string")


def test_the_head_names_only_the_tars_and_a_type_for_every_column(late):
    folder = place(late)
    head = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert head["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "*.tar"}]}
    ]
    features = {one.pop("name"): one for one in head["dataset_info"]["features"]}
    assert list(features) == ["jpg", "txt", "json", "__key__", "__url__"]
    reported = [one["name"] for one in features["json"]["struct"]]
    assert reported == pq.read_schema(folder / "00000.parquet").names


def test_types_are_those_that_the_json_files_give(datasets):
    """For every column type of a list `datasets` reads the values that the JSON files hold."""
    schema = pa.schema(
        [
            ("int8", pa.int8()), ("uint64", pa.uint64()), ("float", pa.float32()),
            ("double", pa.float64()), ("bool", pa.bool_()), ("text", pa.string()),
            ("date", pa.date32()), ("time", pa.timestamp("us", "UTC")), ("span", pa.duration("s")),
            ("decimal", pa.decimal128(9, 2)),
        ]
    )  # fmt: skip
    head = yaml.safe_load(card_head("x", None, 1, schema).strip("-\n"))
    reported = datasets.Features._from_yaml_list(head["dataset_info"]["features"])
    assert reported["jpg"] == datasets.Image()
    assert {name: value.dtype for name, value in reported["json"].items()} == {
        "int8": "int8", "uint64": "uint64", "float": "float32", "double": "float64",
        "bool": "bool", "text": "string", "date": "string", "time": "string", "span": "string",
        "decimal": "string",
    }  # fmt: skip


def test_the_card_lists_what_is_in_the_export_and_what_is_not(exported):
    export = {"title": 'Winnowed: "the best"', "license": "cc0-1.0"}
    planned = exported(export=export)
    text = (place(planned) / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["pretty_name"] == 'Winnowed: "the best"'
    assert head["license"] == "cc0-1.0"
    assert head["size_categories"] == ["n<1K"]
    reported = VOCABULARY["low_resolution"].text
    assert f"| `low_resolution` | dropped | 2 | {reported} |" in text
    assert "| `low_resolution` | `original_width < 90` | keep |" in text
    assert "6 image-text pairs in 2 WebDataset shards" in text
    assert "6 rows were kept" in text
    assert "| clip: tiny | `" in text
