"""The cheap path, timed as a user runs it: a list without pictures, a new threshold, nothing to do.

`python tests/bench/cheap.py [--rows 1000000] [--runs 3]` prints the medians of whole commands in
seconds, and the greatest resident memory of any of their processes. Needs an idle machine.

In the same run it measures what no such command can be faster than: a process that imports what
winnow needs (`imports`), and one that reads the run's tables once with pyarrow on all cores and
writes one of the columns of text again (`tables`). `additions` is 10⁷ additions in a loop of
Python, to compare runs on a machine whose speed changes.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

WORDS = ("kangaroo", "cheese", "hill", "grass", "wooden", "ship", "snow", "a", "of", "on", "made")


def write_list(path: Path, rows: int) -> None:
    """Pairs with captions of 1 to 12 words."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 13, rows)
    words = np.array(WORDS)[rng.integers(0, len(WORDS), int(lengths.sum()))]
    ends = np.cumsum(lengths)
    captions = [
        " ".join(words[end - n : end]) for end, n in zip(ends, lengths.tolist(), strict=True)
    ]
    urls = [f"https://example.org/{i}.jpg" for i in range(rows)]
    pq.write_table(pa.table({"url": urls, "caption": captions}), path)


def job(folder: Path, words: int) -> Path:
    values = {
        "input": str(folder / "pairs.parquet"),
        "output": str(folder / "runs"),
        "captions": {"toxicity": None, "language": False},
        "images": {"nsfw": None},
        "download": {"only_if": "false"},  # nothing is fetched
        "audit_fraction": 0,
        "rules": [{"reason": "caption_short", "when": f"caption_words < {words}"}],
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


ADDITIONS = "x = 0\nfor i in range(10**7): x += i"
IMPORTS = (
    "import pyarrow.parquet, pyarrow.compute, duckdb, pydantic, typer, rich.table, fsspec, yaml"
)
TABLES = (
    IMPORTS
    + """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
run, copy = Path(sys.argv[1]), Path(sys.argv[2])
def read(name):
    return pyarrow.parquet.ParquetFile(name).read(use_threads=False)
def write(name):
    pyarrow.parquet.write_table(read(name).select(["uid"]), copy / name.name, compression="zstd")
newest = max(run.glob("parts/decide-*"), key=os.path.getmtime)
tables = [name for name in run.glob("**/?????.parquet") if not name.match("parts/decide-*/*")]
with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(read, [*tables, *newest.glob("?????.parquet")]))
    list(pool.map(write, run.glob("shards/?????.parquet")))
"""
)


def run_job(path: Path) -> tuple[float, float]:
    """Seconds and MiB of one whole `winnow run`."""
    return timed([sys.executable, "-m", "pipeline", "run", str(path), "--json"])


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and MiB of a command."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"cheap: `{' '.join(command[:4])}` ended with {process.returncode}")
    return time.monotonic() - begin, peak


def _resident(parent: int) -> float:
    """MiB of the largest process below `parent`, itself included."""
    found, todo = 0.0, [parent]
    while todo:
        pid = todo.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue  # it has ended
        line = next((x for x in status.splitlines() if x.startswith("VmRSS")), "VmRSS: 0")
        found = max(found, int(line.split()[1]) / 1024)
        todo += map(int, children)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    print(f"{given.rows:,} rows; {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        folder = Path(name)
        write_list(folder / "pairs.parquet", given.rows)
        steps = {"first run": [run_job(job(folder, 3))], "new threshold": [], "nothing to do": []}
        steps |= {"imports": [], "tables": [], "additions": []}
        (folder / "copy").mkdir()
        places = [str(folder / "runs" / "job"), str(folder / "copy")]
        for i in range(given.runs):
            steps["new threshold"].append(run_job(job(folder, 4 + i)))
            steps["nothing to do"].append(run_job(job(folder, 4 + i)))
            steps["imports"].append(timed([sys.executable, "-c", IMPORTS]))
            steps["tables"].append(timed([sys.executable, "-c", TABLES, *places]))
            steps["additions"].append(timed([sys.executable, "-c", ADDITIONS]))
    for step, found in steps.items():
        seconds = statistics.median(second for second, _ in found)
        memory = max(peak for _, peak in found)
        span = f"{min(s for s, _ in found):.1f}–{max(s for s, _ in found):.1f}"
        print(f"{step:>14}: {seconds:7.1f} s ({span}), largest process {memory:,.0f} MiB")


if __name__ == "__main__":
    main()
