"""Faces in a run: measured once, judged by rule, and blurred in every layout that has pictures."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.load import load_job
from pipeline.engine.runner import prepare
from pipeline.inspect.explain import explain
from pipeline.inspect.preview import preview
from pipeline.inspect.query import query
from pipeline.inspect.report.write import write_report
from pipeline.lifecycle.forget import forget
from pipeline.table.parquet import read_parquet
from pipeline.table.storage import Folder
from pipeline.words.errors import InputError
from pipeline.words.progress import Lines

MEASURED = {"measure": {"faces": {}}, "audit_fraction": 0}
BLURRED = {"export": {"blur_faces": "faces", "formats": ["imagefolder", "label-studio"]}}


@pytest.fixture
def rows(own):
    """A photograph of an astronaut, and three drawings."""
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra dev) has the photograph")
    path = own.site.folder / "www" / "astronaut.png"
    if not path.exists():
        Image.fromarray(data.astronaut()).save(path)
    portrait = {"url": f"{own.site.url}/astronaut.png", "caption": "an astronaut before a flag"}
    return [portrait, *own.site.rows[:3]]


def pictures(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                handle = tar.extractfile(member)
                if member.name.endswith(".jpg") and handle:
                    found[member.name] = handle.read()
    return found


def exported(result) -> Path:
    assert result.export is not None
    return Path(result.export.place.path())


def test_faces_are_blurred_in_every_layout_and_nothing_is_measured_again(own, rows, asked):
    plain = own.run(own.job(rows, **MEASURED))
    before = pictures(exported(plain))
    asked.clear()
    result = own.run(own.job(rows, **MEASURED, **BLURRED))
    assert asked == []
    assert result.cached["faces"] is True
    folder, after = exported(result), pictures(exported(result))
    assert folder != exported(plain)
    (changed,) = (name for name in before if before[name] != after[name])
    table = read_parquet(Folder(str(folder)), "00000.parquet").to_pylist()
    blurred = {f"{row['key']}.jpg": row["faces_blurred"] for row in table}
    assert {name for name, count in blurred.items() if count} == {changed}
    assert "astronaut" in next(row["url"] for row in table if f"{row['key']}.jpg" == changed)
    for path in folder.glob("imagefolder/*/*.jpg"):
        assert path.read_bytes() == after[path.name]
    manifest = json.loads((folder / "manifest.json").read_text())
    told = {"boxes": "face_boxes", "score": 0.2, "pictures": 1}
    assert {name: manifest["blurred"][name] for name in told} == told
    stats = json.loads((folder / "00000_stats.json").read_text())
    assert (stats["blurred"], stats["successes"]) == (1, 4)
    assert "Faces are blurred in 1 pictures" in (folder / "README.md").read_text()
    assert "blurred" not in json.loads((exported(plain) / "00000_stats.json").read_text())
    again = own.run(own.job(rows, **MEASURED))
    assert exported(again) == exported(plain)
    assert pictures(exported(again)) == before


def test_the_blurred_picture_shows_no_face_to_the_detector(own, rows):
    from pipeline.models.faces import THRESHOLD, load_faces

    folder = exported(own.run(own.job(rows, **MEASURED, **BLURRED)))
    detector, found = load_faces(1), {}
    for path in folder.glob("imagefolder/00000/*.jpg"):
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
            assert not picture.getexif()
        (boxes,) = detector.find([detector.prepare(pixels)])
        found[path.name] = int((boxes.scores >= THRESHOLD).sum())
    assert list(found.values()) == [0, 0, 0, 0]


def test_a_row_whose_faces_were_not_looked_for_is_dropped_and_counted(own, rows):
    measured = {"measure": {"faces": {"only_if": "caption not like '%astronaut%'"}}}
    result = own.run(own.job(rows, audit_fraction=1, **measured, **BLURRED))
    reasons = query(result.run, "select url, reason, face_boxes from samples").to_pylist()
    dropped = [row for row in reasons if row["reason"] is not None]
    assert [row["reason"] for row in dropped] == ["not_measured"]
    assert dropped[0]["url"].endswith("astronaut.png")
    assert len(pictures(exported(result))) == 3


def test_rules_and_queries_read_the_boxes(own, rows):
    rule = {"reason": "faces", "when": "faces > 0 and face_share > 0.01"}
    result = own.run(own.job(rows, rules=[rule], **MEASURED))
    text = (
        "select url, reason, faces, len(face_boxes) as boxes, "
        "len(list_filter(face_boxes, lambda b: b.score > 0.6)) as sure from samples order by faces"
    )
    found = query(result.run, text).to_pylist()
    assert [(row["reason"], row["faces"], row["sure"]) for row in found] == [
        (None, 0, 0), (None, 0, 0), (None, 0, 0), ("faces", 1, 1),
    ]  # fmt: skip
    sure = {"reason": "faces", "when": "len(list_filter(face_boxes, lambda b: b.score > 0.6)) > 0"}
    other = own.run(own.job(rows, rules=[sure], **MEASURED))
    assert other.cached["faces"] is True
    reasons = query(other.run, "select reason from samples where reason is not null").to_pylist()
    assert reasons == [{"reason": "faces"}]
    assert "face_boxes" in str(explain(other.run, found[-1]["url"]))
    assert "face_share" in Path(write_report(other.run)).read_text(encoding="utf-8")


def test_a_takedown_counts_the_blurred_pictures_anew(own, rows):
    result = own.run(own.job(rows, **MEASURED, **BLURRED))
    folder = exported(result)
    (row,) = query(result.run, "select uid from samples where faces > 0").to_pylist()
    with (own.folder / "forgotten.txt").open("w") as stream:
        forget(result.run, [("uid", row["uid"], "--uid")], False, Lines(stream))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["blurred"]["pictures"], manifest["rows"]) == (0, 3)
    assert json.loads((folder / "00000_stats.json").read_text())["blurred"] == 0


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"export": {"blur_faces": "faces"}},
         r"export.blur_faces: faces needs the boxes of measure.faces; add `measure: \{faces: "),
        ({"export": {"blur_faces": "nudenet"}, **MEASURED}, "needs the boxes of measure.nudenet"),
        ({"export": {"blur_faces": "faces", "formats": ["datacomp"]}, **MEASURED},
         "export.formats: datacomp needs pictures that are not blurred"),
    ],
)  # fmt: skip
def test_jobs_that_could_not_be_blurred_are_refused_before_any_work(own, rows, sections, told):
    with pytest.raises(InputError, match=told):
        prepare(load_job(own.job(rows, **sections)))


def test_a_new_threshold_or_source_of_the_blur_concerns_the_export_alone(own, rows):
    job = own.job(rows, **MEASURED, **BLURRED)
    own.run(job)
    changed = load_job(job, ["export.blur_faces_score=0.9"])
    stale = {row["stage"] for row in preview(changed)["stages"] if row["todo"] != 0}
    assert stale == {"export"}
