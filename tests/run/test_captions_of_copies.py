"""`dedup.captions`: several captions of one picture, as COCO and Flickr8k have them."""

import json
import tarfile
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest
from lab import Lab
from leaks import leaks
from takedown import folder, rows_of, take

from pipeline.demo.world import draw, random_scene
from pipeline.inspect.explain import explain
from pipeline.inspect.stats import stats
from pipeline.table.run import Run
from train.data import batches, open_export

CAPTIONS = [
    "a first caption of the picture", "the second one, which is longer", "A First caption of the  "
    "picture", "an insult in a caption", "the last words on it",
]  # fmt: skip
RULES = [
    {"reason": "x_insult", "when": "caption like '%insult%'"},
    {"reason": "duplicate", "when": "dup_group is not null"},
]


@pytest.fixture
def described(lab: Lab, tmp_path: Path) -> Lab:
    """One picture with five captions, of which two are the same and one falls to a rule, and six
    pictures with one."""
    import numpy as np

    rng, pictures = np.random.default_rng(5), tmp_path / "pictures"
    pictures.mkdir()
    rows = []
    for i in range(7):
        path = pictures / f"{i}.png"
        cv2.imwrite(str(path), draw(random_scene(rng), rng, 64)[:, :, ::-1])
        texts = CAPTIONS if i == 3 else [f"picture number {i}"]
        rows += [{"url": str(path), "caption": text} for text in texts]
    lab.rows_given = rows  # type: ignore[attr-defined]
    return lab


def run(lab: Lab, captions: str, **sections) -> list[dict]:
    download = {"allow_paths": [str(lab.folder)], "min_image_size": 8}
    job = lab.job(
        lab.rows_given, download=download, rules=RULES, dedup={"captions": captions},
        export={"formats": ["imagefolder", "fiftyone"]}, shard_size=4, **sections,
    )  # fmt: skip
    lab.run(job)
    rows = rows_of(lab, "true")
    counts = stats(Run(folder(lab)))
    assert not counts["quarantined"], (counts["quarantined"], lab.said)
    assert counts["ingested"] == 11 == counts["kept"] + sum(counts["reasons"].values())
    return [row for row in rows if row["caption"] in CAPTIONS]


def export_of(lab: Lab) -> Path:
    places = (folder(lab) / "export").iterdir()
    (place,) = [place for place in places if (place / "manifest.json").exists()]
    return place


def exported(lab: Lab) -> dict[str, dict]:
    """By caption: the .json, with the .txt, and the cells of the other tables."""
    place = export_of(lab)
    found: dict[str, dict] = {}
    for path in sorted(place.glob("*.tar")):
        with tarfile.open(path) as tar:
            data = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
        table = {r["key"]: r for r in pq.read_table(path.with_suffix(".parquet")).to_pylist()}
        texts = pq.read_table(place / "imagefolder" / path.stem / "metadata.parquet").to_pylist()
        by_file = {row["file_name"]: row for row in texts}
        for name in (name for name in data if name.endswith(".json")):
            key = name.removesuffix(".json")
            row = json.loads(data[name])
            assert table[key]["captions"] == row["captions"]
            assert by_file[f"{key}.jpg"]["text"] == data[f"{key}.txt"].decode()
            found[row["caption"]] = {**row, "txt": data[f"{key}.txt"].decode()}
    samples = json.loads((place / "fiftyone" / "samples.json").read_text())["samples"]
    assert {s["caption"]: s["captions"] for s in samples} == {
        caption: row["captions"] for caption, row in found.items()
    }
    return found


def test_by_default_the_other_captions_go_with_the_copies(described):
    rows = run(described, "drop")
    assert sorted(row["reason"] or "kept" for row in rows) == [
        "duplicate", "duplicate", "duplicate", "kept", "x_insult"
    ]  # fmt: skip


def test_keep_drops_only_for_the_same_caption(described):
    rows = {row["caption"]: row for row in run(described, "keep")}
    kept = {caption for caption, row in rows.items() if row["reason"] is None}
    same = {CAPTIONS[0], CAPTIONS[2]}
    assert kept - same == {CAPTIONS[1], CAPTIONS[4]}
    (left,) = kept & same
    (gone,) = same - kept
    assert rows[gone]["reason"] == "duplicate"
    assert rows[gone]["dup_of"] == rows[left]["uid"]


def test_merge_makes_one_sample_with_all_captions(described):
    rows = {row["caption"]: row for row in run(described, "merge")}
    (kept,) = [row for row in rows.values() if row["reason"] is None]
    assert set(kept["captions"]) == set(CAPTIONS) - {CAPTIONS[3]}
    assert kept["captions"][0] == kept["caption"]  # without CLIP its own comes first
    assert [rows[text]["uid"] for text in kept["captions"]] == kept["caption_uids"]
    found = exported(described)
    assert len(found) == 7
    assert found[kept["caption"]]["captions"] == kept["captions"]
    assert found[kept["caption"]]["txt"] == kept["captions"][0]
    assert found["picture number 2"]["captions"] is None
    assert found["picture number 2"]["txt"] == "picture number 2"
    answer = explain(Run(folder(described)), kept["uid"])
    assert {m["caption"] for m in answer["duplicates"]["members"]} == {
        " ".join(text.split()) for text in CAPTIONS
    }
    # Among the measurements they would be printed unmasked.
    assert "captions" not in {name for one in answer["measurements"].values() for name in one}


def test_the_best_by_clip_score_is_the_txt(described):
    rows = run(described, "merge", embed={"model": "winnow-tiny"})
    (kept,) = [row for row in rows if row["reason"] is None]
    clean = [row for row in rows if row["caption"] != CAPTIONS[3]]
    best = sorted(clean, key=lambda row: -row["clip_score"])
    assert kept["captions"] == [row["caption"] for row in best]
    assert exported(described)[kept["caption"]]["txt"] == best[0]["caption"]


def test_another_way_measures_nothing_again(described):
    run(described, "drop")
    log = folder(described) / "log.jsonl"
    before = len(log.read_text().splitlines())
    run(described, "merge")
    done = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    assert {stage for one in done for stage in one["stages"]} == {"decide", "export"}


def test_a_trainer_draws_one_of_them_each_time(described):
    run(described, "merge")
    export = open_export(export_of(described))

    def drawn(cache_mib: int, skip: int = 0) -> list[list[str]]:
        found = batches(export, resolution=16, batch_size=7, seed=1, skip=skip, cache_mib=cache_mib)
        return [next(found).captions for _ in range(12 - skip)]

    for cache_mib in (512, 0):
        epochs = drawn(cache_mib)
        ours = [next(t for t in texts if not t.startswith("picture number")) for texts in epochs]
        assert len(set(ours)) >= 3, ours
        assert set(ours) <= set(CAPTIONS) - {CAPTIONS[3]}
        assert drawn(cache_mib, skip=5) == epochs[5:]


def test_a_takedown_takes_a_caption_from_the_picture_that_got_it(described):
    rows = run(described, "merge", embed={"model": "winnow-tiny"})
    (kept,) = [row for row in rows if row["reason"] is None]
    other = next(uid for uid in kept["caption_uids"] if uid != kept["uid"])
    (gone,) = [row for row in rows if row["uid"] == other]
    take(described, ("uid", gone["uid"]))
    secret = {"caption": gone["caption"].encode()}
    assert leaks(folder(described), secret) == []
    left = exported(described)[kept["caption"]]
    assert left["captions"] == [text for text in kept["captions"] if text != gone["caption"]]
    assert left["caption_uids"] == [uid for uid in kept["caption_uids"] if uid != gone["uid"]]
    assert left["txt"] == left["captions"][0]
