"""`dedup.against` in whole runs: a second crawl's new pictures, and those of an evaluation set."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from lab import Lab
from takedown import folder, rows_of

from pipeline.demo.world import draw, random_scene
from pipeline.inspect.explain import explain
from pipeline.inspect.stats import stats
from pipeline.table.run import Run

RULES = [
    {"reason": "in_eval_set", "when": "against_use = 'eval'"},
    {"reason": "in_earlier_set", "when": "against_use = 'earlier'"},
    {"reason": "duplicate", "when": "dup_group is not null"},
]


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, str]]:
    rng, pictures = np.random.default_rng(9), tmp_path / "pictures"
    pictures.mkdir()
    found = []
    for i in range(8):
        path = pictures / f"{i}.png"
        cv2.imwrite(str(path), draw(random_scene(rng), rng, 128)[:, :, ::-1])
        found.append({"url": str(path), "caption": f"picture number {i}"})
    return found


def run(lab: Lab, rows: list[dict[str, str]], against: list[dict], **sections) -> dict[str, dict]:
    job = lab.job(
        rows, download={"allow_paths": [str(lab.folder)], "min_image_size": 8},
        rules=RULES if against else RULES[2:],
        dedup={"against": against}, shard_size=3, **sections,
    )  # fmt: skip
    lab.run(job)
    counts = stats(Run(folder(lab)))
    assert counts["ingested"] == len(rows) == counts["kept"] + sum(counts["reasons"].values())
    assert counts["quarantined"] == []
    return {row["caption"]: row for row in rows_of(lab, "true")}


def test_a_second_crawl_adds_only_what_is_new(lab, rows, tmp_path):
    first = run(lab, rows[:5], [])
    assert all(row["reason"] is None for row in first.values())
    (export,) = (folder(lab) / "export").iterdir()
    earlier = tmp_path / "first crawl"
    shutil.copytree(export, earlier)
    shutil.rmtree(folder(lab))
    found = run(lab, rows, [{"path": str(earlier), "use": "earlier"}])
    old = [found[row["caption"]] for row in rows[:5]]
    assert {row["reason"] for row in old} == {"in_earlier_set"}
    assert {row["against_kind"] for row in old} == {"bytes"}
    assert [row["against_id"] for row in old] == [row["uid"] for row in old]
    assert {found[row["caption"]]["reason"] for row in rows[5:]} == {None}


def test_explain_names_the_picture_of_the_evaluation_set(lab, rows, tmp_path):
    held = tmp_path / "held out"
    held.mkdir()
    picture = cv2.imread(rows[2]["url"])
    cv2.imwrite(str(held / "cheese.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 70])
    found = run(lab, rows, [{"path": str(held)}])
    taken = found[rows[2]["caption"]]
    assert [row["caption"] for row in found.values() if row["reason"]] == [rows[2]["caption"]]
    answer = explain(Run(folder(lab)), taken["uid"])
    said = f"dropped: in_eval_set — it is like cheese.jpg of {held} (phash, "
    assert answer["summary"].startswith(said), answer["summary"]
    assert answer["measurements"]["against"]["against_id"] == "cheese.jpg"


def test_a_set_added_later_fetches_nothing_again(lab, rows, tmp_path):
    run(lab, rows, [])
    log = folder(lab) / "log.jsonl"
    before = len(log.read_text().splitlines())
    held = tmp_path / "held out"
    held.mkdir()
    shutil.copy(rows[4]["url"], held / "same.png")
    found = run(lab, rows, [{"path": str(held)}])
    assert found[rows[4]["caption"]]["against_kind"] == "bytes"
    done = log.read_text().splitlines()[before:]
    assert not any('"download"' in line or '"pairs"' in line for line in done)
