"""A long run over many shards: does the memory of its processes stay flat, and what costs a task?

`python tests/bench/soak.py [--rows 1000000] [--shard-size 1000] [--out FOLDER]` (`make soak`). The
list and the download parts are generated (a tiny picture per row, one in a hundred a repeat), so
that 10⁶ rows need no web and no decoding; everything after that is a real `winnow run` on the local
cluster: captions, dedup, decide, export and their merges. It prints the resident memory of the
driver (the scheduler is in it) and of each worker over the tenths of the run, and the driver's CPU
time per task; and ends with 1 if rows are lost.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import yaml
from cheap import write_list
from PIL import Image

from pipeline.config.load import load_job
from pipeline.engine import tasks
from pipeline.engine.plan_file import save_plan
from pipeline.engine.runner import Prepared, prepare
from pipeline.ingest.deal import deal
from pipeline.measure.download import DownloadStage, fetch_summary
from pipeline.measure.fetch_columns import FETCH_COLUMNS
from pipeline.measure.stage import Output
from pipeline.table.freshness import INGEST
from pipeline.table.run import FORMAT
from pipeline.table.shard import Rows, ShardData
from pipeline.table.tars import write_tar

REPEATS = 100
"""One row in so many has the picture of the row before it."""


def job(folder: Path, size: int) -> Path:
    values = {
        "input": str(folder / "pairs.parquet"),
        "output": str(folder / "runs"),
        "shard_size": size,
        "captions": {"toxicity": None, "language": False},
        "images": {"nsfw": None},
        "rules": [
            {"reason": "caption_short", "when": "caption_words < 3"},
            {"reason": "duplicate", "when": "dup_group is not null"},
        ],
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (90, 120, 40)).save(out, "JPEG")
    return out.getvalue()


def generated(self: DownloadStage, shard: ShardData, rows: Rows) -> Output:
    """The output of the download stage for pictures that nobody served."""
    uids = shard.table()["uid"]
    names = [uids[i - 1 if i % REPEATS == REPEATS - 1 else i].as_py() for i in range(len(uids))]
    count = len(uids)
    cells: dict[str, list[Any]] = {
        "status": ["success"] * count,
        "sha256": [name * 2 for name in names],
        "md5": names,
        "phash": [bytes.fromhex(name * 2) for name in names],
        "phash_quality": [100] * count,
        "thumb": [hashlib.shake_256(name.encode()).digest(432) for name in names],
        "bytes": [1_000] * count,
        "format": ["jpeg"] * count,
        **{name: [256] * count for name in ("width", "height", "original_width")},
        "original_height": [256] * count,
        "original_pixels": [256 * 256] * count,
    }
    columns = {c.name: pa.array(cells.get(c.name, [None] * count), c.type) for c in FETCH_COLUMNS}
    measured = pa.table(columns)
    assert shard.scratch is not None
    tar, jpeg = shard.scratch / "download.tar", picture()
    write_tar(tar, ((f"{i:06d}.jpg", jpeg) for i in range(count)))
    return Output(measured.add_column(0, "uid", uids), {"tar": tar}, fetch_summary(measured))


def make_part(given: tuple[str, str, int, str]) -> int:
    url, digest, shard, rows = given
    DownloadStage.run = generated  # type: ignore[method-assign]
    return tasks.run_table(url, digest, "download", shard, {INGEST: rows}).rows


def generate(prepared: Prepared) -> None:
    """Deal the list and commit a download part for each shard, as the stage itself does."""
    run, plan = prepared.run, prepared.plan
    run.write_job(prepared.job.model_dump(mode="json") | {"format": FORMAT})
    index = deal(run, prepared.job, prepared.listing, lambda _: None)
    save_plan(plan)
    work = [(run.folder.url, plan.digest, k, digest) for k, (_, digest) in enumerate(index.shards)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        assert sum(pool.imap_unordered(make_part, work, 8)) == index.rows


class Watch:
    """Samples the memory of a process and those below it, and the CPU time of the first."""

    def __init__(self, pid: int) -> None:
        self._top = psutil.Process(pid)
        self.memory: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.cpu = 0.0

    def look(self, now: float) -> None:
        try:
            used = self._top.cpu_times()
            self.cpu = used.user + used.system
            for process in (self._top, *self._top.children(recursive=True)):
                name = "driver" if process.pid == self._top.pid else f"process {process.pid}"
                self.memory[name].append((now, process.memory_info().rss / 2**20))
        except psutil.Error:
            pass  # it has ended meanwhile

    def tenths(self, end: float) -> dict[str, list[float | None]]:
        """MiB in each tenth of the time (the median), for processes that lived half of it."""
        found = {}
        for name, seen in self.memory.items():
            parts: list[list[float]] = [[] for _ in range(10)]
            for when, mib in seen:
                parts[min(9, int(10 * when / end))].append(mib)
            if sum(map(bool, parts)) >= 5 and max(mib for _, mib in seen) > 50:
                found[name] = [round(statistics.median(p), 1) if p else None for p in parts]
        return found


def watched(command: list[str], say: Callable[[str], None]) -> tuple[float, Watch, dict[str, Any]]:
    """Run a command that prints JSON: its seconds, what was seen of it, and its answer."""
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=sys.stderr)
        watch = Watch(process.pid)
        while process.poll() is None:
            watch.look(time.monotonic() - begin)
            time.sleep(1)
        if process.returncode:
            raise SystemExit(f"soak: `{' '.join(command[:4])}` ended with {process.returncode}")
        out.seek(0)
        return time.monotonic() - begin, watch, json.load(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shard-size", type=int, default=1_000)
    parser.add_argument("--out", type=Path, help="Keep the run here; default: a temporary folder.")
    given = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    print(f"{given.rows:,} rows, {given.shard_size:,} a shard; {os.cpu_count()} cores, "
          f"Python {platform.python_version()}")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="winnow-soak-") as name:
        folder = given.out or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_list(folder / "pairs.parquet", given.rows)
        path, begin = job(folder, given.shard_size), time.monotonic()
        generate(prepare(load_job(path, ())))
        print(f"dealing, and generating the download parts: {time.monotonic() - begin:,.0f} s")
        command = [sys.executable, "-m", "pipeline", "run", str(path), "--json"]
        seconds, watch, answer = watched(command, say)
        log = (folder / "runs" / "job" / "log.jsonl").read_text().splitlines()
    done = sum(json.loads(line)["event"] == "done" for line in log)
    print(f"the run: {seconds:,.0f} s, {done:,} tasks, {done / seconds:,.1f} tasks/s")
    print(
        f"CPU time of the driver, its scheduler included: {1000 * watch.cpu / done:,.1f} ms a task"
    )
    took = sorted(one["end"] - one["start"] for one in map(json.loads, log) if "end" in one)
    print(
        f"seconds of workers: {took[-1]:,.0f} of the longest task, {sum(took[:-1]):,.0f} of others"
    )
    print("MiB in memory, by tenths of the run:")
    for name, tenths in watch.tenths(seconds).items():
        print(f"  {name:>16}: " + " ".join(f"{mib or 0:7,.0f}" for mib in tenths))
    reasons = answer["reasons"]
    print(f"ingested {answer['ingested']:,}, repeats merged {answer['merged_repeats']:,}, "
          f"kept {answer['kept']:,}, {reasons}")  # fmt: skip
    if answer["ingested"] != answer["merged_repeats"] + answer["kept"] + sum(reasons.values()):
        raise SystemExit("soak: rows are lost")


if __name__ == "__main__":
    main()
