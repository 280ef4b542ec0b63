"""Fetching, measured: winnow's download stage against img2dataset's own command.

Both fetch the same pictures of 1024×768 from the same server on loopback and store them at 341×256,
quality 95, run by run in turns after one warm-up each. `make bench`; not a test, and never one.

Steady time runs from the server's first request to the last picture written. "Middle" leaves out
the first and the last tenth of the requests too: a process that is still importing while another
fetches, and the last shard's end. The server's CPU is in nobody's account. A picture that is
missing, or has another size, is an error.
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
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import floor
import pictures
import watch
from rich.console import Console
from rich.table import Table
from sides import ROOT, SIDE, SIDES, Setting, check

WIDTH = round(pictures.WIDTH * SIDE / pictures.HEIGHT)
SHARDS = 3
"""For each process; more than 5 and img2dataset's pool replaces its processes on the way."""
Result = dict[str, float]


def draw(folder: Path, count: int) -> list[Path]:
    """The pictures, made once."""
    cv2.setNumThreads(1)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06d}.jpg" for number in range(count)]
    photos = pictures.photographs()

    def one(number: int) -> None:
        if not paths[number].exists():
            fresh = paths[number].with_suffix(".new")
            fresh.write_bytes(pictures.encode(pictures.draw(photos, number)))
            fresh.rename(paths[number])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(count)))
    return paths


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    script = Path(__file__).with_name("server.py")
    server = subprocess.Popen(
        [sys.executable, str(script), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.stdin.close()  # which ends it
        server.wait(10)
        server.stdout.close()


def once(name: str, setting: Setting, base: str, urls: Path, work: Path) -> Result:
    """One run of one side, checked."""
    side, count = SIDES[name], len(urls.read_text().split())
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=work))
    try:
        log = folder / "log.txt"
        env = {"NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(ROOT)}
        _served(base)  # from here on it counts anew
        watched = watch.run(side.command(setting, urls, folder), env, ROOT, log)
        served = _served(base)
        times = served["times"]
        if len(times) != count:
            raise ValueError(f"{side.name} asked for {len(times)} of {count} pictures")
        end = side.end(folder, log)
        stored = check(side.tars(folder), count, WIDTH, SIDE)
        tenth = count // 10
        low, high, middle = times[tenth], times[-1 - tenth], count - 2 * tenth - 1
        return {
            "per_second": count / (end - times[0]),
            "cpu": (watched.cpu_at(end) - watched.cpu_at(times[0])) / count,
            "middle_per_second": middle / (high - low),
            "middle_cpu": (watched.cpu_at(high) - watched.cpu_at(low)) / middle,
            "whole_per_second": count / (watched.end - watched.start),
            "whole_cpu": watched.cpu / count,
            "peak_bytes": watched.peak,
            "stored_bytes": stored,
            "server_cpu": served["cpu"] / count,
            "connections": served["connections"] - 1,
        }
    finally:
        shutil.rmtree(folder)


def _served(base: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{base}/_stats") as response:
        return json.loads(response.read())


def tuned(args: argparse.Namespace, rows: int, count: int, base: str, urls: Path) -> int:
    """img2dataset's best number of threads, one run each."""
    found = {}
    for threads in args.threads:
        setting = Setting(count, threads, rows)
        found[threads] = once("img2dataset", setting, base, urls, args.work)["per_second"]
        note(f"img2dataset, {count} processes, {threads} threads: {found[threads]:.0f}/s")
    return max(found, key=found.__getitem__)


def compare(args: argparse.Namespace, base: str, urls: Path) -> list[dict[str, Any]]:
    entries = []
    for count in args.processes:
        rows = -(-args.pictures // (count * SHARDS))
        best = args.threads[0]
        if "img2dataset" in args.sides and len(args.threads) > 1:
            best = tuned(args, rows, count, base, urls)
        runs: dict[str, list[Result]] = {name: [] for name in args.sides}
        for turn in range(args.runs + 1):  # the first is the warm-up
            for name in args.sides:
                setting = Setting(count, best if name == "img2dataset" else None, rows)
                result = once(name, setting, base, urls, args.work)
                note(f"{SIDES[name].name}, {count} processes: {result['per_second']:.0f}/s")
                if turn:
                    runs[name].append(result)
        for name, results in runs.items():
            threads = best if name == "img2dataset" else None
            entries.append(
                {"side": name, "processes": count, "threads": threads, "runs": results}
                | {key: statistics.median(r[key] for r in results) for key in results[0]}
            )
        sizes = [e["stored_bytes"] for e in entries]
        if max(sizes) > 1.15 * min(sizes):
            raise ValueError(f"the sides' pictures differ in bytes: {sizes}")
    return entries


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    packages = ("img2dataset", "opencv-python-headless", "simplejpeg", "urllib3")
    return {
        "date": date.today().isoformat(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def show(report: dict[str, Any]) -> None:
    here, console, entries = report["machine"], Console(width=120), report["entries"]
    table = Table(
        title=f"{report['pictures']} pictures of 1024×768, {report['mean_bytes'] / 1000:.0f} kB, "
        f"to {WIDTH}×{SIDE}; median of {report['runs']} (least–most); {here['cores']} cores, "
        f"{here['date']}"
    )
    heads = "|processes|pictures/s|×|CPU ms|middle: /s|×|CPU ms|whole command: /s|CPU ms|peak MB"
    for head in heads.split("|"):
        table.add_column(head, justify="right" if head else "left")
    for entry in entries:
        base = next((e for e in _of(report, "img2dataset") if _same(e, entry)), None)
        threads = f", {entry['threads']} threads" if entry["threads"] else ""
        table.add_row(
            SIDES[entry["side"]].name + threads, str(entry["processes"]),
            _spread(entry, "per_second"), _ratio(entry, base, "per_second"),
            f"{entry['cpu'] * 1e3:.2f}",
            _spread(entry, "middle_per_second"), _ratio(entry, base, "middle_per_second"),
            f"{entry['middle_cpu'] * 1e3:.2f}",
            f"{entry['whole_per_second']:.0f}", f"{entry['whole_cpu'] * 1e3:.2f}",
            f"{entry['peak_bytes'] / 1e6:.0f}",
        )  # fmt: skip
    console.print(table)
    best = [
        max(found, key=lambda e: e["per_second"])
        for name in SIDES if (found := _of(report, name))
    ]  # fmt: skip
    for entry in best:
        console.print(
            f"Best of {SIDES[entry['side']].name}: {entry['per_second']:.0f}/s with "
            f"{entry['processes']} processes, × {_ratio(entry, best[0], 'per_second')}"
        )
    table = Table(title="Where the time goes: single calls on one thread, CPU µs a picture")
    for head in ("step", "img2dataset", "winnow"):
        table.add_column(head, justify="left" if head == "step" else "right")
    both = ("img2dataset", "winnow")
    for who, what, cost in report["steps"]:
        table.add_row(what, *(f"{cost:.0f}" if who in ("both", side) else "" for side in both))
    served = statistics.median(entry["server_cpu"] for entry in entries) * 1e6
    sums = [floor.floor(report["steps"], side) for side in both]
    table.add_section()
    table.add_row("all steps", *(f"{cost:.0f}" for cost in sums))
    table.add_row("the server, on the same cores", f"{served:.0f}", f"{served:.0f}")
    ceilings = [here["cores"] * 1e6 / (cost + served) for cost in sums]
    table.add_row("ceiling, pictures/s: cores / sum", *(f"{rate:.0f}" for rate in ceilings))
    console.print(table)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["processes"] == other["processes"])


def _ratio(entry: dict[str, Any], base: dict[str, Any] | None, key: str) -> str:
    return f"{entry[key] / base[key]:.2f}" if base else ""


def _spread(entry: dict[str, Any], key: str) -> str:
    values = [run[key] for run in entry["runs"]]
    return f"{entry[key]:.0f} ({min(values):.0f}–{max(values):.0f})"


def _of(report: dict[str, Any], side: str) -> list[dict[str, Any]]:
    return [entry for entry in report["entries"] if entry["side"] == side]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=5, help="after a warm-up; the median counts")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 3], help="of each side")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[16, 32, 64, 256],
        help="img2dataset's thread counts to try; its best is compared",
    )  # fmt: skip
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--work", type=Path, help="folder for pictures and runs; else a new one")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as temporary:
        args.work = (args.work or Path(temporary)).resolve()
        paths = draw(args.work / "pictures", args.pictures)
        with serving(args.work / "pictures") as base:
            urls = args.work / "urls.txt"
            names = [f"{base}/{path.name}" for path in paths]
            urls.write_text("\n".join(names) + "\n")
            report = {
                "machine": machine(),
                "pictures": len(paths),
                "mean_bytes": statistics.mean(path.stat().st_size for path in paths),
                "runs": args.runs,
                "steps": floor.measure(names[:48], WIDTH, SIDE),
                "entries": compare(args, base, urls),
            }
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


if __name__ == "__main__":
    main()
