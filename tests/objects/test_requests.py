"""How many requests a command sends to an object store: ceilings for each shard of a run of 8."""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.demo.world import caption, draw, random_scene
from pipeline.engine.merging import Partition, dealt_file, read_partition
from pipeline.table.recent import Recent
from pipeline.table.run import Run
from pipeline.words.errors import DamagedError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHARDS, ROWS = 8, 40
FEW = [{"reason": "duplicate", "when": "dup_group is not null"}]
MORE = [*FEW, {"reason": "x_short", "when": "length(caption) < 20"}]


@dataclass
class Stored:
    """A job whose run folder is on the store, and its commands."""

    s3: Any
    folder: Path
    values: dict[str, Any]
    asked: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.values['output']}/job"

    def job(self, **changes: Any) -> str:
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump({**self.values, **changes}))
        return str(path)

    def winnow(self, what: str, *words: str, code: int = 0) -> Any:
        """A command's answer; what it asked of the store is noted as `what`."""
        self.s3.asked()
        command = [sys.executable, "-m", "pipeline", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, timeout=600)
        self.asked[what] = self.s3.asked()
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr


@pytest.fixture(scope="module")
def run(s3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A run, and each command once."""
    folder = tmp_path_factory.mktemp("stored")
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(5)
    rows = []
    for i in range(ROWS):
        scene = random_scene(rng)
        path = pictures / f"{i}.jpg"
        cv2.imwrite(str(path), draw(scene, rng, 96)[:, :, ::-1])
        rows.append({"url": str(path), "caption": caption(scene)})
    copied = pictures / "copy.jpg"
    copied.write_bytes((pictures / "0.jpg").read_bytes())
    rows[-1] = {"url": str(copied), "caption": "the same picture once more"}
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    head = {"name": "graphic", "kind": "zeroshot", "positive": ["a warning"], "negative": ["a cat"]}
    stored = Stored(s3, folder, {
        "input": str(folder / "rows.parquet"), "output": f"{s3.bucket()}/runs", "shard_size": 5,
        "captions": {"toxicity": None, "language": False},
        "download": {"allow_paths": [str(pictures)], "min_image_size": 32},
        "embed": {"model": "winnow-tiny", "batch_size": 64},
        "images": {"nsfw": None, "heads": [head]},
        "rules": FEW, "cluster": {"executor": "inline"},
    })  # fmt: skip
    stored.first = stored.winnow("run", "run", stored.job(), "--json")  # type: ignore[attr-defined]
    stored.winnow("run, nothing to do", "run", stored.job(), "--json")
    stored.winnow("plan", "plan", stored.job(rules=MORE), "--json")
    stored.winnow("run, a new threshold", "run", stored.job(rules=MORE), "--json")
    stored.winnow("stats", "stats", stored.url, "--json")
    stored.winnow("status", "status", stored.url, "--json")
    stored.winnow("report", "report", stored.url)
    stored.winnow("explain", "explain", stored.url, rows[0]["url"], "--json")
    stored.winnow("verify", "verify", stored.url, "--json")
    return stored


APART = 88
"""Of a run on three workers that share nothing: several of them read a shard's files once each."""
CEILINGS = {
    "run": 62, "run, nothing to do": 6, "run, a new threshold": 28, "plan": 1, "stats": 5,
    "status": 1, "report": 12, "explain": 6, "verify": 46,
}  # fmt: skip


@pytest.mark.parametrize("command", CEILINGS)
def test_a_command_sends_few_requests_for_each_shard(run: Stored, command: str) -> None:
    asked = run.asked[command]
    print(f"{command}: {asked.total()} requests, {dict(asked)}")  # with -s, for docs/performance.md
    assert asked.total() > 0
    assert asked.total() / SHARDS <= CEILINGS[command], dict(asked)


def test_nothing_is_asked_before_it_is_read(run: Stored) -> None:
    """A LIST gives sizes and versions; a HEAD is sent for the lease alone."""
    for command, asked in run.asked.items():
        assert asked["HEAD"] <= (2 if command.startswith("run") else 0), command


def test_every_row_is_counted(run: Stored) -> None:
    stats = run.winnow("stats", "stats", run.url, "--json")
    assert stats["conserved"]
    assert stats["misaligned"] == 0
    assert stats["shards"] == SHARDS
    assert stats["ingested"] == ROWS == stats["kept"] + sum(stats["reasons"].values())
    assert run.winnow("verify", "verify", run.url, "--json")["damaged"] == []


def test_copies_that_are_outdated_or_broken_change_no_answer(run: Stored) -> None:
    """They only save requests: without them the same command reads the records themselves."""
    fs, place = run.s3.fs, f"{run.url}/records/00000.jsonl.gz"
    good = fs.cat_file(place)
    before = run.winnow("stats", "stats", run.url, "--json")
    few = run.asked["stats"].total()
    for broken in (b"", good[: len(good) // 2], b"no gzip"):
        fs.pipe_file(place, broken)
        assert run.winnow("stats", "stats", run.url, "--json") == before
        assert run.asked["stats"].total() > few + 4 * SHARDS
    fs.pipe_file(place, good)
    (sidecar,) = fs.glob(f"{run.url}/parts/decide-*/00003.json")[:1]
    text = fs.cat_file(sidecar)
    fs.pipe_file(sidecar, text[:-40])
    cut = run.winnow("stats", "stats", run.url, "--json")
    assert cut["unfinished"] + cut["kept"] + sum(cut["reasons"].values()) >= ROWS
    fs.pipe_file(sidecar, text)
    assert run.winnow("stats", "stats", run.url, "--json") == before


def test_a_table_that_was_changed_from_outside_is_named(run: Stored) -> None:
    """A store names versions, so that `stats` sees it without reading every table."""
    fs = run.s3.fs
    state = json.loads(fs.cat_file(f"{run.url}/state.json"))
    table = f"{run.url}/{state['products']['captions']['folder']}/00002.parquet"
    data = fs.cat_file(table)
    fs.pipe_file(table, data[:100] + bytes([data[100] ^ 1]) + data[101:])
    line = run.winnow("stats", "stats", run.url, code=2)
    assert "00002.parquet was cut or changed from outside" in line
    fs.pipe_file(table, data)
    run.winnow("stats", "stats", run.url)


@pytest.mark.parametrize("told", [True, False])
def test_a_prepared_table_that_was_changed_is_not_merged(
    run: Stored, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Its checksum goes with the task; else one more request reads the record."""
    fresh = Recent()  # else the bytes that the case before read are taken
    for module in ("checked", "storage"):
        monkeypatch.setattr(f"pipeline.table.{module}.recent", fresh)
    fs, one = run.s3.fs, Partition(0, 1)
    (path,) = fs.glob(f"{run.url}/parts/dedup-*/{dealt_file(2)}")
    place, data = path.split("/job/")[1].rpartition("/")[0], fs.cat_file(path)
    sums = {2: hashlib.sha256(data).hexdigest()} if told else {}

    def read() -> pa.Table:
        found = Run(run.url)
        run.s3.asked()
        return read_partition(found, found.folder.sub(place), [2], one, sums)

    fs.pipe_file(path, data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(DamagedError, match=r"00002.dealt.parquet was cut or changed from outside"):
        read()
    fs.pipe_file(path, data)
    # Rows that may be in a group, and the pairs found, on the row with the smaller uid.
    assert read().num_rows == pq.read_metadata(io.BytesIO(data)).num_rows >= 5
    assert run.s3.asked() == {"GET": 1 if told else 2}


def test_the_log_of_a_store_holds_every_run(run: Stored) -> None:
    lines = run.s3.fs.cat_file(f"{run.url}/log.jsonl").decode().splitlines()
    done = [json.loads(line) for line in lines]
    assert [one["time"] for one in done] == sorted(one["time"] for one in done)
    fetched = [one for one in done if one["stages"] == ["download"]]
    judged = [one for one in done if one["stages"] == ["decide"]]
    assert len(fetched) == SHARDS
    assert len(judged) >= 2 * SHARDS  # once for each of the two thresholds


def test_the_processes_of_one_machine_share_what_they_read(run: Stored) -> None:
    """Dask's workers would otherwise read each other's files from the store."""
    output = f"{run.values['output']}-dask"
    done = run.winnow("run on Dask", "run", run.job(output=output, cluster={}), "--json")
    asked = run.asked["run on Dask"]
    assert asked.total() / SHARDS <= CEILINGS["run"], dict(asked)
    first = run.first  # type: ignore[attr-defined]
    assert done["kept"] == first["kept"]
    assert done["reasons"] == first["reasons"]


@contextlib.contextmanager
def workers(folder: Path, count: int) -> Iterator[Path]:
    """A scheduler and workers that share no folder, as on machines of their own; its file."""
    file = folder / "scheduler.json"
    started = []

    def start(what: str, *words: str) -> None:
        code = f"from distributed.cli.dask_{what} import main; main()"
        command = [sys.executable, "-c", code, "--scheduler-file", str(file), "--no-dashboard"]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        started.append(subprocess.Popen([*command, *words], env=path, stderr=subprocess.DEVNULL))

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        for _ in range(count):
            start("worker", "--nthreads", "1", "--no-nanny")
        for _ in range(600):
            if file.exists():
                break
            time.sleep(0.1)
        yield file
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_workers_that_share_nothing_read_a_shard_once_each(run: Stored, tmp_path: Path) -> None:
    output = f"{run.values['output']}-alone"
    with workers(tmp_path, 3) as file:
        job = run.job(output=output, cluster={"scheduler": str(file)})
        done = run.winnow("run on workers apart", "run", job, "--json")
    asked = run.asked["run on workers apart"]
    print(f"run on workers apart: {asked.total()} requests, {dict(asked)}")
    first = run.first  # type: ignore[attr-defined]
    assert (done["kept"], done["reasons"]) == (first["kept"], first["reasons"])
    assert (asked.total() - asked["lease"]) / SHARDS <= APART, dict(asked)
