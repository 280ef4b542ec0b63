"""From a list to verdicts: `winnow run` beside the chain that people build by hand.

`python tests/bench/chain.py [--rows 2000] [--runs 5]` (part of `make bench`). The chain:
img2dataset's command, open_clip in eager fp32 by batches of 32, `Detoxify.predict` by batches of
64, FAISS' flat search over the vectors. Both use a ViT-B/32 and a BERT-base of random weights and
the true size. The clean list is measured whole; of the dirty one 40 % of the captions are one word,
which a rule on the number of words drops: winnow neither fetches nor measures those rows.

Converting the networks for OpenVINO is done once for their weights, and timed apart. Verdicts agree
where both sides drop a row by the same thresholds, which are quantiles of the chain's own scores.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import fetch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import watch
from sides import ROOT, SIDE

from pipeline.models.drawn import drawn_texts

SHORT = 0.4
CLIP_QUANTILE, TOXIC_QUANTILE, REPEAT = 0.2, 0.95, 0.98


def write_list(path: Path, base: str, rows: int, *, dirty: bool) -> None:
    """Captions of 1 to 60 words, exponentially spread with a mean of 13."""
    captions = drawn_texts(rows)
    if dirty:
        rng = np.random.default_rng(7)
        for row in np.flatnonzero(rng.random(rows) < SHORT):
            captions[row] = captions[row].split()[0]
    urls = [f"{base}/{row:06d}.jpg" for row in range(rows)]
    pq.write_table(pa.table({"url": urls, "caption": captions}), path)


def write_models(folder: Path) -> None:
    """`clip/` for open_clip, `detoxify.ckpt` as Detoxify reads it, `detoxify/` as winnow does."""
    code = "import sys, by_hand; by_hand.write_models(sys.argv[1])"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, check=True)


def job_of(models: Path, table: Path, work: Path, *, dirty: bool) -> Path:
    enough = "caption_words >= 2" if dirty else None
    values: dict[str, Any] = {
        "name": "bench", "input": str(table), "output": str(work / "runs"), "shard_size": 1000,
        "captions": {
            "language": False,
            "toxicity": {
                "model": "original", "checkpoint": str(models / "detoxify"), "only_if": enough,
            },
        },
        "download": {
            "image_size": SIDE, "resize_mode": "keep_ratio", "encode_quality": 95,
            "allow_addresses": ["127.0.0.1/32"], "per_host": 64, "per_host_rate": None,
            "only_if": enough,
        },
        "embed": {"model": str(models / "clip")},
        "images": {"nsfw": None},
        "dedup": {
            "verify": False, "phash_distance": None, "pixels": False, "turned": False,
            "vector_similarity": REPEAT, "thumbnail_similarity": None,
        },
        "rules": [], "audit_fraction": 0.0,
    }  # fmt: skip
    path = work / "job.yaml"
    path.write_text(json.dumps(values))
    return path


def winnow(models: Path, table: Path, work: Path, dirty: bool) -> dict[str, Any]:
    job = job_of(models, table, work, dirty=dirty)
    watched = watch.run([sys.executable, "-m", "pipeline", "run", str(job)], {}, ROOT, work / "log")
    sql = "select url, clip_score, toxicity, dup_group is not null from samples"
    command = [sys.executable, "-m", "pipeline", "sql", str(work / "runs/bench"), sql, "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = {row["url"]: list(row.values())[1:] for row in json.loads(done.stdout)}
    return {"seconds": watched.end - watched.start, "peak": watched.peak, "found": found}


def chain(models: Path, table: Path, work: Path, dirty: bool) -> dict[str, Any]:
    script = str(Path(__file__).with_name("by_hand.py"))
    command = [sys.executable, script, str(models), str(table), str(work), str(REPEAT)]
    watched = watch.run(command, {"PYTHONPATH": str(ROOT)}, ROOT, work / "log")
    found = json.loads((work / "found.json").read_text())
    return {"seconds": watched.end - watched.start, "peak": watched.peak, "found": found}


def agreement(own: dict[str, Any], theirs: dict[str, Any], short: set[str]) -> float:
    """The share of rows with the same verdict; the rows of `short` captions are dropped by both."""
    scores = np.array([row[:2] for url, row in theirs.items() if url not in short], float)
    low = np.quantile(scores[:, 0], CLIP_QUANTILE)
    toxic = np.quantile(scores[:, 1], TOXIC_QUANTILE)

    def drops(row: list[Any]) -> bool:
        return row[0] is None or row[0] < low or row[1] > toxic or bool(row[2])

    return float(np.mean([u in short or drops(own[u]) == drops(theirs[u]) for u in theirs]))


SIDES: dict[str, Callable[[Path, Path, Path, bool], dict[str, Any]]] = {
    "the chain by hand": chain, "winnow": winnow,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, {date.today()}, {given.rows} rows")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["WINNOW_CACHE"] = str(folder / "cache")
        fetch.draw(folder / "pictures", given.rows)
        write_models(folder)
        with fetch.serving(folder / "pictures") as base:
            table = folder / "warm.parquet"
            write_list(table, base, 64, dirty=False)
            start = time.monotonic()
            _once(winnow, folder, table, dirty=False)
            print(f"64 rows, and converting both networks: {time.monotonic() - start:.0f} s")
            for dirty in (False, True):
                table = folder / "list.parquet"
                write_list(table, base, given.rows, dirty=dirty)
                _compare(folder, table, given.runs, dirty)


def _compare(folder: Path, table: Path, runs: int, dirty: bool) -> None:
    took: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(runs):
        for side, run in SIDES.items():
            took[side].append(_once(run, folder, table, dirty=dirty))
            print(f"  {side}: {took[side][-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    listed = pq.read_table(table).to_pydict()
    short = {
        url for url, text in zip(listed["url"], listed["caption"], strict=True)
        if dirty and len(text.split()) < 2
    }  # fmt: skip
    first = {side: results[0]["found"] for side, results in took.items()}
    same = agreement(first["winnow"], first["the chain by hand"], short)
    print(f"\n{'dirty' if dirty else 'clean'} list; verdicts that agree: {same:.2%}\n")
    print("| | seconds | pairs/s | × | peak memory, GB |\n| --- | ---: | ---: | ---: | ---: |")
    base = None
    for side, results in took.items():
        times = [one["seconds"] for one in results]
        seconds = statistics.median(times)
        base = base or seconds
        peak = statistics.median(one["peak"] for one in results) / 2**30
        spread = (
            f"{min(r['seconds'] for r in results):.0f}–{max(r['seconds'] for r in results):.0f}"
        )
        print(
            f"| {side} | {seconds:.0f} ({spread}) | {len(listed['url']) / seconds:.1f} | "
            f"{base / seconds:.2f} | {peak:.1f} |", flush=True
        )  # fmt: skip


def _once(run: Callable[..., dict[str, Any]], folder: Path, table: Path, *, dirty: bool) -> Any:
    work = folder / "work"
    work.mkdir()
    try:
        return run(folder, table, work, dirty)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
