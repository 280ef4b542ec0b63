"""The download stage through img2dataset: every row accounted for, in order, the same each time."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_site import Handler
from plain_pictures import jpeg, pixels_of
from plain_scenes import scene

from pipeline.config.download import DownloadConfig
from pipeline.config.job import Job
from pipeline.fetch.writer import SampleWriter
from pipeline.measure.download import DownloadStage
from pipeline.measure.stage import Output
from pipeline.table.columns import check_columns
from pipeline.table.run import Run
from pipeline.table.shard import ShardData

GOOD, OTHER = jpeg(96, 80), jpeg(120, 90, quality=80)
PAGES: dict[str, Callable[[Handler], None]] = {
    "/good.jpg": lambda h: h.answer(200, GOOD),
    "/other.jpg": lambda h: h.answer(200, OTHER),
    "/tiny.jpg": lambda h: h.answer(200, jpeg(20, 20)),
    "/page.jpg": lambda h: h.answer(200, b"<html>"),
}


@pytest.fixture
def run_stage(tmp_path: Path) -> Callable[..., Output]:
    def run(
        urls: list[Any], config: DownloadConfig, mask: list[bool] | None = None, **columns: Any
    ) -> Output:
        folder = tmp_path / "run" / "shards"
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.table(
            {
                "uid": [f"{i:032x}" for i in range(len(urls))],
                "url": pa.array(urls, pa.string()),
                "input_error": pa.array(
                    columns.pop("input_error", [None] * len(urls)), pa.string()
                ),
                **columns,
            }
        )
        pq.write_table(table, folder / "00000.parquet")
        shard = ShardData(
            Run(tmp_path / "run"),
            0,
            dict.fromkeys(table.column_names, "shards"),
            {},
            scratch=tmp_path,
        )
        stage = DownloadStage(
            Job(input="unused.csv", download=config), {f.name: f.type for f in table.schema}
        )
        rows = np.array([True] * len(urls) if mask is None else mask)
        output = stage.run(shard, rows)
        output.table = check_columns(stage.writes, output.table, "download")
        return output

    return run


def members(output: Output) -> dict[str, bytes]:
    with tarfile.open(output.files["tar"]) as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
    output.files["tar"].unlink()
    return found


def test_every_row_is_accounted_for_in_order(serve, run_stage, config):
    base = serve(PAGES).base
    urls = [
        f"{base}/good.jpg", f"{base}/none.jpg", None, f"{base}/other.jpg", f"{base}/other.jpg",
        "file:///etc/passwd", f"{base}/tiny.jpg", f"{base}/page.jpg", f"{base}/other.jpg",
    ]  # fmt: skip
    output = run_stage(
        urls,
        config(),
        mask=[True] * 8 + [False],
        input_error=[None, None, "url_missing", None, None, None, None, None, None],
    )

    table = output.table
    assert table["uid"].to_pylist() == [f"{i:032x}" for i in range(9)]
    assert table["status"].to_pylist() == [
        "success", "failed", "invalid", "success", "success", "failed", "success", "failed",
        "skipped",
    ]  # fmt: skip
    assert table["fetch_reason"].to_pylist() == [
        None, "http_not_found", None, None, None, "scheme_forbidden", None, "not_an_image", None,
    ]  # fmt: skip
    assert table["sha256"].to_pylist()[0] == hashlib.sha256(GOOD).hexdigest()
    assert table["bytes"].to_pylist()[:4] == [len(GOOD), None, None, len(OTHER)]
    assert table["format"].to_pylist()[6:8] == ["jpeg", None]
    assert table["original_pixels"].to_pylist()[0] == 96 * 80
    assert table["original_width"].to_pylist()[6] == 20
    assert output.summary == {
        "success": 4,
        "failed": 3,
        "skipped": 1,
        "invalid": 1,
        "reasons": {"http_not_found": 1, "not_an_image": 1, "scheme_forbidden": 1},
        "bytes": sum(b or 0 for b in table["bytes"].to_pylist()),
        "declared": dict.fromkeys(
            ("optout_metadata", "ai_generated_declared", "license_declared", "creator"), 0
        ),
        "warned": {},
    }
    tar = members(output)
    assert list(tar) == [
        "000000.jpg",
        "000003.jpg",
        "000004.jpg",
        "000006.jpg",
    ]  # a rule drops the tiny one later
    stored = pixels_of(tar["000003.jpg"])
    assert stored.shape[:2] == (table["height"][3].as_py(), table["width"][3].as_py()) == (64, 85)
    assert np.abs(stored - scene(85, 64).astype(int)).mean() < 6


def test_a_url_that_is_listed_several_times_or_in_other_spellings_is_fetched_once(
    serve, run_stage, config
):
    server = serve(PAGES)
    urls = [f"{server.base}/good.jpg", f"{server.base}/good.jpg#x", f" {server.base}/a/../good.jpg"]

    output = run_stage(urls, config())

    assert output.table["status"].to_pylist() == ["success"] * 3
    assert server.requests["/good.jpg"] == 1
    assert len(set(members(output).values())) == 1


def test_the_same_served_bytes_make_the_same_files(serve, run_stage, config):
    def late(h: Handler) -> None:
        time.sleep(0.15 if h.server.requests["/late.jpg"] % 2 else 0)
        h.answer(200, OTHER)

    server = serve(PAGES | {"/late.jpg": late})
    urls = [f"{server.base}/{name}.jpg" for name in ("late", "good", "none", "other", "tiny")]

    first = run_stage(urls, config())
    tar = first.files["tar"].read_bytes()
    second = run_stage(urls, config(thread_count=1))

    assert first.table.equals(second.table)
    assert tar == second.files["tar"].read_bytes()


def test_a_row_that_img2dataset_loses_is_found_again(serve, run_stage, config, monkeypatch):
    write = SampleWriter.write

    def lossy(self: SampleWriter, img: Any, key: str, caption: Any, meta: dict[str, Any]) -> None:
        if meta["url"].endswith("/other.jpg"):
            raise OSError("disk on fire")
        write(self, img, key, caption, meta)

    monkeypatch.setattr(SampleWriter, "write", lossy)
    base = serve(PAGES).base

    output = run_stage([f"{base}/good.jpg", f"{base}/other.jpg", f"{base}/none.jpg"], config())

    assert output.table["fetch_reason"].to_pylist() == [None, "download_internal", "http_not_found"]
    assert list(members(output)) == ["000000.jpg"]


def test_a_picture_with_another_hash_than_the_lists_is_refused(serve, run_stage, config):
    base = serve(PAGES).base
    digest = hashlib.sha256(GOOD).hexdigest()

    output = run_stage(
        [f"{base}/good.jpg", f"{base}/good.jpg", f"{base}/other.jpg"],
        config(),
        input_sha256=[digest.upper(), "0" * 64, None],
    )

    assert output.table["fetch_reason"].to_pylist() == [None, "hash_mismatch", None]
    assert output.table["sha256"].to_pylist()[1] == digest
    assert output.table["width"].to_pylist()[1] is None
    assert list(members(output)) == ["000000.jpg", "000002.jpg"]


def test_a_shard_without_anything_to_fetch(run_stage, config):
    output = run_stage(["http://nowhere.invalid/"], config(), mask=[False])

    assert output.table["status"].to_pylist() == ["skipped"]
    assert members(output) == {}


def test_nothing_is_left_in_the_temporary_folder(serve, run_stage, config, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    base = serve(PAGES).base

    members(run_stage([f"{base}/good.jpg", f"{base}/none.jpg"], config()))
    assert list(scratch.iterdir()) == []

    monkeypatch.setattr("pipeline.fetch.downloader.downloader_class", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_stage([f"{base}/good.jpg"], config())
    assert list(scratch.iterdir()) == []


def test_a_worker_that_only_fetches_imports_no_torch():
    script = (
        "import sys, pipeline.measure.download\n"
        "assert not {'cv2', 'urllib3', 'img2dataset'} & set(sys.modules)\n"
        "from pipeline.fetch.downloader import downloader_class\n"
        "assert downloader_class().__module__ == 'img2dataset.downloader'\n"
        "print({'torch', 'albumentations', 'webdataset'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout == "set()\n", done.stderr


def test_settings_that_only_tune_do_not_make_parts_stale(config):
    def settings(**options: Any) -> dict[str, Any]:
        return DownloadStage(Job(input="unused.csv", download=config(**options)), {}).settings()

    assert settings(thread_count=3, per_host=1) == settings()
    assert settings(image_size=65) != settings()
