"""The export: readable by other tools, and the same bytes every time."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from exports import kept_captions, number_of, of_a_pool, place, pool_uid, tree
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from planned_run import jpeg, pairs
from records import record

from pipeline.export.shards import slice_rows, write_shard
from pipeline.words.errors import PartError


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 30))
def test_kept_rows_are_cut_into_full_shards_in_order(counts, size):
    kept = list(enumerate(counts))
    shards = slice_rows(kept, size)
    dealt = [(s.shard, row) for part in shards for s in part for row in range(s.start, s.stop)]
    assert dealt == [(shard, row) for shard, count in kept for row in range(count)]
    sizes = [sum(s.stop - s.start for s in part) for part in shards]
    assert all(s == size for s in sizes[:-1])
    assert all(0 < s <= size for s in sizes)


def test_webdataset_reads_it_back(exported, drawings):
    planned = exported()
    folder = place(planned)
    tars = sorted(str(path) for path in folder.glob("*.tar"))
    assert [Path(path).name for path in tars] == ["00000.tar", "00001.tar"]
    samples = list(wds.WebDataset(tars, shardshuffle=False))
    assert [s["__key__"] for s in samples] == [
        "000000000", "000000001", "000000002", "000010000", "000010001", "000010002",
    ]  # fmt: skip
    captions = [sample["txt"].decode() for sample in samples]
    assert captions == kept_captions(planned)
    for sample, caption in zip(samples, captions, strict=True):
        assert sample["jpg"] == jpeg(drawings[number_of(caption) % 8])
        values = json.loads(sample["json"])
        assert (values["key"], values["caption"]) == (sample["__key__"], caption)
        assert values["original_width"] == 96
        assert values["status"] == "success"
        assert len(values["phash"]) == 64
        assert not {"reason", "reasons", "thumb", "input_error", "fetch_reason"} & set(values)


def test_the_parquet_holds_the_same_rows(exported):
    folder = place(exported())
    for number in ("00000", "00001"):
        table = pq.read_table(folder / f"{number}.parquet")
        with tarfile.open(folder / f"{number}.tar") as tar:
            names = tar.getnames()
        keys = table["key"].to_pylist()
        assert names == [f"{key}.{kind}" for key in keys for kind in ("jpg", "txt", "json")]
        assert set(table["status"].to_pylist()) == {"success"}
        assert {"uid", "url", "caption", "width", "height", "sha256"} <= set(table.column_names)


def test_stats_files_have_the_format_and_names_of_img2dataset(exported):
    folder = place(exported(export={"formats": ["clip-retrieval", "datacomp"]}, vectors=True))
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*_stats.json"))
    assert found == ["00000_stats.json", "00001_stats.json"]
    stats = json.loads((folder / "00000_stats.json").read_text())
    assert (stats["count"], stats["successes"], stats["failed_to_download"]) == (3, 3, 0)
    assert stats["status_dict"] == {"success": 3}


def test_the_same_rows_give_the_same_bytes(exported):
    formats = {"formats": ["clip-retrieval", "datacomp"]}
    planned = exported(export=formats, vectors=True)
    first = tree(place(planned))
    planned.plan.run.folder.remove("export")
    again = tree(place(planned))
    assert first == again
    other = exported(export=formats, vectors=True, name="elsewhere")
    manifests = [json.loads(files.pop("manifest.json")) for files in (first, tree(place(other)))]
    assert manifests[0]["digest"] == manifests[1]["digest"]


def test_the_manifest_lists_rows_bytes_and_digests(exported):
    folder = place(exported())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"] == 6 == sum(shard["rows"] for shard in manifest["shards"])
    assert manifest["counts"] == {"kept": 6, "low_resolution": 2}
    for shard in manifest["shards"]:
        data = (folder / shard["tar"]).read_bytes()
        assert shard["bytes"] == len(data)
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
        parquet = (folder / shard["parquet"]).read_bytes()
        assert shard["parquet_sha256"] == hashlib.sha256(parquet).hexdigest()


def test_clip_retrieval_finds_the_vectors_of_its_rows(exported):
    planned = exported(export={"formats": ["clip-retrieval"]}, vectors=True)
    folder = place(planned)
    captions = []
    for number in (0, 1):
        images = np.load(folder / "img_emb" / f"img_emb_{number}.npy")
        texts = np.load(folder / "text_emb" / f"text_emb_{number}.npy")
        meta = pq.read_table(folder / "metadata" / f"metadata_{number}.parquet")
        assert images.dtype == texts.dtype == np.float16
        assert images.shape == texts.shape == (meta.num_rows, 128)
        numbers = [number_of(caption) for caption in meta["caption"].to_pylist()]
        assert images.argmax(axis=1).tolist() == numbers
        assert texts.argmax(axis=1).tolist() == [127 - n for n in numbers]
        captions += meta["caption"].to_pylist()
    assert captions == kept_captions(planned)


def taken(subset: np.ndarray, uid: str) -> int:
    """How often DataComp's resharder takes the pool's row: computed by two binary searches."""
    key = np.array([divmod(int(uid, 16), 2**64)], "u8,u8")[0]
    return int(np.searchsorted(subset, key, "right") - np.searchsorted(subset, key, "left"))


def told_of(folder: Path) -> list[str]:
    return json.loads((folder / "manifest.json").read_text())["notes"]


def test_datacomps_subset_holds_exactly_the_kept_rows_of_the_pool(exported):
    rows = pairs(9)
    uids = ["f" * 31 + "0", "0" * 31 + "1", *map(pool_uid, rows[2:])]
    planned = exported(rows=of_a_pool(rows, uids), export={"formats": ["datacomp"]})
    subset = np.load(place(planned) / "subset.npy")
    assert subset.dtype == np.dtype("u8,u8")
    kept = set(kept_captions(planned))
    assert {row["caption"]: taken(subset, row["uid"]) for row in of_a_pool(rows, uids)} == {
        row["caption"]: int(row["caption"] in kept) for row in rows
    }
    assert len(subset) == len(kept) == 6
    assert told_of(place(planned)) == []


def test_rows_without_a_uid_of_the_pool_are_left_out_of_the_subset_and_counted(exported):
    rows = pairs(6)
    odd = ["", "7" * 31, "x" * 32, f"{pool_uid(rows[3])} ", "0x" + "1" * 30, "A" * 32]
    planned = exported(rows=of_a_pool(rows, odd), export={"formats": ["datacomp"]})
    assert np.load(place(planned) / "subset.npy").tolist() == []
    note = "datacomp: 4 of 4 kept rows have no uid of 32 hex digits, and are not in subset.npy"
    assert told_of(place(planned)) == [note]
    assert note in planned.notes
    assert note in (place(planned) / "README.md").read_text()


def test_a_uid_that_occurs_twice_is_in_the_subset_once(exported):
    """Merged repeats keep the first uid; two pairs of one uid do not make two copies."""
    first, second, third, fourth = pairs(2) + pairs(2, first=3)
    uids = [f"{n:032x}" for n in (5, 6, 7, 8, 7)]
    rows = of_a_pool([first, first, second, third, fourth], uids)
    planned = exported(rows=rows, export={"formats": ["datacomp"]})
    subset = np.load(place(planned) / "subset.npy")
    assert [f"{a:016x}{b:016x}" for a, b in subset.tolist()] == [uids[0], uids[2], uids[3]]
    note = "datacomp: 1 of 4 kept rows share a uid of the pool with another; it is taken once"
    assert told_of(place(planned)) == [note]


def test_a_layout_that_the_job_no_longer_names_is_removed(exported):
    planned = exported(export={"formats": ["clip-retrieval", "datacomp"]}, vectors=True)
    before = place(planned)
    other = exported(vectors=True)
    after = place(other)
    assert before == after  # the formats change no shard, so the folder is the same
    assert {path.name for path in after.iterdir()} == {
        "00000.parquet", "00000.tar", "00000_stats.json", "00001.parquet", "00001.tar",
        "00001_stats.json", "README.md", "manifest.json", "sizes.json", "__len__", "croissant.json",
    }  # fmt: skip


def test_surplus_shards_of_a_longer_export_are_removed(exported):
    planned = exported()
    folder = place(planned)
    (folder / "00007.tar").write_bytes(b"of a longer list")
    (folder / "00007_stats.json").write_bytes(b"{}")
    place(planned)
    assert not list(folder.glob("00007*"))


def test_an_export_is_finished_only_when_all_of_it_is_current(exported):
    planned = exported(export={"formats": ["datacomp"]})
    sliced = planned.export()
    assert sliced.status().current
    (Path(sliced.folder.path()) / "00001.tar").write_bytes(b"short")
    assert not sliced.status().current
    assert sorted(sliced.current_shards()) == [0]


def test_nan_and_infinity_become_null_in_json(exported):
    rows = [row | {"similarity": "nan", "punsafe": "inf"} for row in pairs(1)]
    (sample,) = list(wds.WebDataset(str(place(exported(rows=rows)) / "00000.tar"), shardshuffle=0))
    values = json.loads(sample["json"], parse_constant=lambda word: pytest.fail(word))
    assert values["similarity"] is None
    assert values["punsafe"] is None


def test_unusual_captions_and_urls_are_exported_unchanged(exported):
    caption = 'line\ntwo\t"quoted" – 袋鼠 🦘 \\ 0'
    rows = [{"url": "https://a.example/?q=ä&b= c", "caption": caption}]
    folder = place(exported(rows=rows))
    (sample,) = list(wds.WebDataset(str(folder / "00000.tar"), shardshuffle=0))
    assert sample["txt"].decode() == caption
    assert json.loads(sample["json"])["url"] == rows[0]["url"]


def test_without_kept_rows_the_export_is_empty(exported):
    folder = place(
        exported(rows=of_a_pool(pairs(3)[2:], ["1" * 32]), export={"formats": ["datacomp"]})
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["rows"], manifest["shards"]) == (0, [])
    assert len(np.load(folder / "subset.npy")) == 0
    assert not list(folder.glob("*.tar"))


def test_a_missing_picture_is_a_part_error(exported, tmp_path: Path):
    planned = exported(count=3)
    sliced = planned.export()
    tar = Path(planned.plan.run.folder.path(f"{planned.plan.by_name['download'].folder}/00000.tar"))
    with tarfile.open(tar, "w") as empty:
        empty.addfile(tarfile.TarInfo("000009.jpg"), io.BytesIO())
    record(tar)
    slices = [(planned.plan.data(part.shard), part) for part in sliced.slices[0]]
    first = next(row for row in planned.rows(0) if row["caption"] in kept_captions(planned))
    row = planned.rows(0).index(first)
    told = f"the picture of row {row} of shard 00000 is not in its tar"
    with pytest.raises(PartError, match=told):
        write_shard(0, slices, tmp_path)


def test_a_shard_without_embedded_rows_exports_zero_vectors(exported, drawings):
    planned = exported(export={"formats": ["clip-retrieval"]}, vectors=True)
    planned.commit_vectors(0, np.zeros((3, 0)), [None] * 3)
    for shard in planned.shards:
        planned.commit_part("dedup", shard, [{}] * len(planned.rows(shard)))
    planned.make("decide")
    images = np.concatenate([np.load(p) for p in sorted(place(planned).glob("img_emb/*.npy"))])
    own = sum(row["caption"] in kept_captions(planned) for row in planned.rows(0))
    assert images.shape == (6, 128)
    assert not images[:own].any()
    assert images[own:].any(axis=1).all()


def test_a_new_title_writes_card_and_manifest_again_but_no_shard(exported):
    sliced = exported().export()
    retitled = exported(export={"title": "Another"})
    again = retitled.sliced()
    assert again.recipe == sliced.recipe
    assert not again.status().current
    assert len(again.current_shards()) == len(again.slices)


def test_the_pictures_decode(exported):
    folder = place(exported())
    with tarfile.open(folder / "00000.tar") as tar:
        picture = Image.open(io.BytesIO(tar.extractfile("000000000.jpg").read()))
        assert picture.size == (96, 96)
        assert {member.mtime for member in tar} == {0}
