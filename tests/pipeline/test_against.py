"""Pictures that are in an evaluation set or in an earlier export."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from planned_run import BARE, jpeg, make_job, pairs
from sklearn.datasets import load_sample_images

from pipeline.engine.runner import prepare
from pipeline.inspect.preview import preview
from pipeline.measure.dedup.reference import digest
from pipeline.words.errors import InputError
from tests.copies import COPIES

TEMPLE, FLOWER = load_sample_images().images
VERIFIED = {**BARE["dedup"], "verify": True, "turned": True}
KINDS = ("JPEG 50", "mirror image", "crop to 60 %", "border", "grey")


def shown() -> dict[str, np.ndarray]:
    """By caption: a photograph, copies of it, and two that are something else."""
    photo = np.ascontiguousarray(TEMPLE[:, :400])
    others = [np.ascontiguousarray(FLOWER[:, :300]), np.ascontiguousarray(FLOWER[:, 340:])]
    pictures = [photo, *(COPIES[kind](photo) for kind in KINDS), *others]
    return dict(zip([row["caption"] for row in pairs(8)], pictures, strict=True))


def held(plan_run, *sets: dict, **sections) -> list[dict]:
    """What the stage notes of each picture."""
    dedup = {**VERIFIED, **sections.pop("dedup", {}), "against": list(sets)}
    planned = plan_run(pairs(8), shard_size=3, dedup=dedup, **sections)
    planned.make(*planned.caption_stages)
    pictures = shown()
    for shard in planned.shards:
        planned.commit_pictures(shard, [pictures[row["caption"]] for row in planned.rows(shard)])
    there = "descriptors" in planned.plan.by_name
    planned.make(*(["descriptors"] if there else []), "against")
    found = planned.read("against")
    return [found[row["caption"]] for row in pairs(8)]


def folder_of(place: Path, *pictures: np.ndarray) -> Path:
    place.mkdir()
    (place / "more").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(place / "more" / f"{number}.png")
    (place / "notes.txt").write_text("not a picture")
    (place / "broken.jpg").write_bytes(b"no picture at all")
    return place


def test_copies_of_a_folders_pictures_are_found_with_what_they_are_like(plan_run, tmp_path):
    house = np.ascontiguousarray(TEMPLE[:, 410:])
    place = folder_of(tmp_path / "eval", house, np.ascontiguousarray(TEMPLE[:, :400]))
    found = held(plan_run, {"path": str(place)})
    assert [cells["against_id"] for cells in found] == [*["more/1.png"] * 6, None, None]
    kinds = [cells["against_kind"] for cells in found[:6]]
    assert kinds == ["phash", "phash", "phash", "aligned", "aligned", "phash"]
    assert {cells["against_set"] for cells in found[:6]} == {str(place)}
    assert {cells["against_use"] for cells in found[:6]} == {"eval"}
    assert all(0.3 <= cells["against_sim"] <= 1 for cells in found[:6])


def test_without_verify_only_bytes_and_hashes_are_compared(plan_run, tmp_path):
    place = folder_of(tmp_path / "eval", np.ascontiguousarray(TEMPLE[:, :400]))
    dedup = {"verify": False, "turned": False}
    found = held(plan_run, {"path": str(place)}, dedup=dedup)
    assert [cells["against_kind"] for cells in found] == [
        "phash", "phash", None, None, None, "phash", None, None
    ]  # fmt: skip


def before(plan_run):
    """A run over the same pictures, so that what it found of them can be made a set."""
    planned = plan_run(pairs(8), dedup=VERIFIED, name="before")
    planned.make(*planned.caption_stages)
    planned.commit_pictures(0, [shown()[row["caption"]] for row in planned.rows(0)])
    return planned


def export_of(place: Path, *pictures: np.ndarray) -> Path:
    place.mkdir()
    with tarfile.open(place / "00000.tar", "w") as tar:
        for number, picture in enumerate(pictures):
            row = {"uid": f"{number:032x}", "sha256": f"{number:064x}", "caption": "x"}
            for ending, data in (
                (".jpg", jpeg(picture)),
                (".txt", b"x"),
                (".json", json.dumps(row).encode()),
            ):
                path = place / "member"
                path.write_bytes(data)
                tar.add(path, f"{number:09d}{ending}")
                path.unlink()
    return place


def test_an_earlier_export_is_read_with_its_uids_and_the_first_set_counts(plan_run, tmp_path):
    earlier = export_of(tmp_path / "export", np.ascontiguousarray(FLOWER[:, :300]))
    place = folder_of(tmp_path / "eval", np.ascontiguousarray(FLOWER[:, :300]))
    sets = {"path": str(earlier), "use": "earlier"}, {"path": str(place), "use": "eval"}
    found = held(plan_run, *sets)
    assert [cells["against_use"] for cells in found] == [*[None] * 6, "earlier", None]
    assert found[6]["against_id"] == f"{0:032x}"
    first = held(plan_run, *reversed(sets), name="other")
    assert [cells["against_use"] for cells in first] == [*[None] * 6, "eval", None]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("column", ["sha256", "phash"])
def test_a_table_of_hashes(plan_run, tmp_path, column, ending):
    fetched = before(plan_run).read("download")
    cells = [fetched[row["caption"]] for row in pairs(8)]
    hashes = [cells[0][column], cells[6][column]]
    hashes = [one.hex().upper() if isinstance(one, bytes) else one for one in hashes]
    rows = [{"id": "temple", column: hashes[0]}, {"id": "flower", column: hashes[1]}]
    path = tmp_path / f"hashes.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "csv":
        path.write_text(
            "".join(f"{a},{b}\n" for a, b in [["id", column], *(r.values() for r in rows)])
        )
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = held(plan_run, {"path": str(path)})
    names = [one["against_id"] for one in found]
    assert names[0] == "temple"
    assert names[6] == "flower"
    assert names[7] is None
    assert found[6]["against_kind"] == {"sha256": "bytes", "phash": "phash"}[column]


def test_vectors_of_the_same_model(plan_run, tmp_path):
    planned = before(plan_run)
    planned.make("descriptors")
    place = Path(planned.plan.run.folder.path()) / planned.plan.by_name["descriptors"].folder
    layer = np.load(place / "00000.layer.npy")
    captions = [row["caption"] for row in planned.rows(0)]
    flower = captions.index(pairs(8)[6]["caption"])
    np.save(tmp_path / "eval.npy", layer[flower : flower + 1].astype(np.float32))
    found = held(plan_run, {"path": str(tmp_path / "eval.npy")})
    assert [one["against_kind"] for one in found] == [*[None] * 6, "vector", None]
    assert found[6]["against_id"] == "0"
    assert found[6]["against_sim"] == pytest.approx(1, abs=1e-3)


def test_by_default_what_is_found_is_dropped_with_a_reason(tmp_path):
    places = [folder_of(tmp_path / name, TEMPLE[:, :100]) for name in ("a", "b")]
    dedup = {
        **VERIFIED, "verify_similarity": 0.9,
        "against": [{"path": str(places[0])}, {"path": str(places[1]), "use": "earlier"}],
    }  # fmt: skip
    job = make_job(tmp_path, pairs(1), dedup=dedup, rules=None)
    rules = {rule.reason: rule.when for rule in prepare(job).job.rules or ()}
    sure = "(against_kind <> 'aligned' or against_sim >= 0.9)"
    assert rules["in_eval_set"] == f"against_use = 'eval' and {sure}"
    assert rules["in_earlier_set"] == f"against_use = 'earlier' and {sure}"


def test_rules_that_drop_nothing_for_it_are_told(tmp_path):
    place = folder_of(tmp_path / "a", TEMPLE[:, :100])
    dedup = {**VERIFIED, "against": [{"path": str(place), "use": "earlier"}]}
    taken = {"reason": "in_earlier_set", "when": "against_sim > 0.5"}
    for rules, count in (([], 1), ([taken], 0), (None, 0)):
        notices = preview(make_job(tmp_path, pairs(1), dedup=dedup, rules=rules))["notices"]
        said = [line for line in notices if "dedup.against" in line]
        assert len(said) == count
        assert all("add {reason: in_earlier_set, when:" in line for line in said)


def test_another_name_of_the_same_set_makes_nothing_stale(tmp_path):
    first = folder_of(tmp_path / "a", TEMPLE[:, :100])
    before = digest(first)
    moved = first.rename(tmp_path / "b")
    assert digest(moved) == before
    Image.fromarray(TEMPLE[:, 50:100]).save(moved / "more" / "0.png")
    assert digest(moved) != before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "sha256\n" + "0" * 64 + "\nabc\n", "x.csv, row 2: `sha256` is no hash of 64"),
        ("x.csv", "md5\nabc\n", "x.csv has no column `sha256` or `phash`"),
        ("x.csv", "", "x.csv has no column"),
        ("x.jsonl", '{"phash": 3}\n', "row 1: `phash` is no hash of 64 hexadecimal digits: '3'"),
        ("x.jsonl", '{"phash": null}\nnot json\n', "x.jsonl, line 2 is no JSON object"),
        ("x.parquet", "no parquet", "x.parquet cannot be read"),
        ("x.npy", "no array", "x.npy is no NumPy array"),
        ("x.pt", "?", "x.pt is no set that can be read; name an export, a folder"),
        ("empty", None, "empty holds no pictures and is no export"),
        ("missing", "", "missing does not exist"),
    ],
)
def test_a_set_that_cannot_be_used_is_named_before_any_work(tmp_path, name, content, said):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif name != "missing":
        path.write_text(content)
    refused(tmp_path, path, said)


def refused(folder: Path, path: Path, said: str, **sections) -> None:
    job = make_job(
        folder, pairs(1), dedup={**VERIFIED, "against": [{"path": str(path)}]}, **sections
    )
    with pytest.raises(InputError) as error:
        prepare(job)
    line = str(error.value)
    assert line.startswith("dedup.against[0]: ")
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(("model", "width"), [(None, 1024), ("winnow-tiny", 128)])
def test_vectors_of_another_width_are_refused(tmp_path, model, width):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((3, 7), np.float32))
    said = f"the vectors of x.npy have 7 numbers, those of this job's model {width}"
    refused(tmp_path, path, said, embed={"model": model})
    np.save(path, np.zeros((3, 7), np.int64))
    refused(tmp_path, path, "x.npy is int64 of shape (3, 7)")
