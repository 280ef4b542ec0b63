"""The two sides: how each is started, when it was done, where its pictures lie."""

import json
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simplejpeg

ROOT = Path(__file__).resolve().parents[2]
SIDE, QUALITY = 256, 95


@dataclass(frozen=True)
class Setting:
    """What a run is asked for. `threads` of None is the side's own default."""

    processes: int
    threads: int | None
    rows: int
    """Pictures per shard, the same on both sides."""


class Img2dataset:
    """`img2dataset`, its own command; resizing, quality, sha256 and X-Robots-Tag as winnow's."""

    name = "img2dataset"

    def command(self, setting: Setting, urls: Path, work: Path) -> list[str]:
        return [
            str(Path(sys.executable).parent / "img2dataset"),
            "--url_list", str(urls), "--input_format", "txt",
            "--output_folder", str(work / "out"), "--output_format", "webdataset",
            "--image_size", str(SIDE), "--resize_mode", "keep_ratio",
            "--resize_only_if_bigger", "True",
            "--encode_quality", str(QUALITY), "--encode_format", "jpg",
            "--processes_count", str(setting.processes),
            "--thread_count", str(setting.threads or 256),  # 256 is its default
            "--number_sample_per_shard", str(setting.rows),
            "--compute_hash", "sha256", "--extract_exif", "False",  # winnow keeps no EXIF
        ]  # fmt: skip

    def end(self, work: Path, log: Path) -> float:
        return max(json.loads(p.read_text())["end_time"] for p in work.glob("out/*_stats.json"))

    def tars(self, work: Path) -> list[Path]:
        return list(work.glob("out/*.tar"))


def _job(setting: Setting, urls: Path, work: Path) -> dict[str, Any]:
    """Fetching alone: every other measurement off. One host is asked, so its limits are off."""
    download = {
        "image_size": SIDE, "resize_mode": "keep_ratio", "encode_quality": QUALITY,
        "allow_addresses": ["127.0.0.1/32"], "per_host": 1024, "per_host_rate": None,
        "decoders": max(1, setting.processes - 1),
    }  # fmt: skip
    if setting.threads:
        download["thread_count"] = setting.threads
    return {
        "name": "bench", "input": str(urls), "output": str(work / "runs"),
        "shard_size": setting.rows, "rules": [], "download": download,
        "captions": {"toxicity": None, "language": False},
        "images": {"nsfw": None},
        "dedup": {"bytes": False, "phash_distance": None, "vector_similarity": None},
    }  # fmt: skip


class Stage:
    """winnow's download stage alone: one process that fetches, the others decode."""

    name = "winnow, the stage"

    def command(self, setting: Setting, urls: Path, work: Path) -> list[str]:
        job = work / "job.json"
        job.write_text(json.dumps(_job(setting, urls, work)))
        script = str(Path(__file__).with_name("alone.py"))
        return [sys.executable, script, str(job), str(urls), str(work), str(setting.rows)]

    def end(self, work: Path, log: Path) -> float:
        return float(json.loads(log.read_text().splitlines()[-1])["end"])

    def tars(self, work: Path) -> list[Path]:
        return list(work.glob("tars/*.tar"))


class WholeRun:
    """`winnow run`: the cluster, the captions' counts, the rules, the export and the report too."""

    name = "winnow run"

    def command(self, setting: Setting, urls: Path, work: Path) -> list[str]:
        rows = [f"{url},a picture" for url in urls.read_text().split()]
        table, job = work / "urls.csv", work / "job.yaml"
        table.write_text("\n".join(["url,caption", *rows]) + "\n")
        job.write_text(json.dumps(_job(setting, table, work)))  # JSON is YAML
        return [sys.executable, "-m", "pipeline", "run", str(job)]

    def end(self, work: Path, log: Path) -> float:
        lines = (work / "runs" / "bench" / "log.jsonl").read_text().splitlines()
        done = [json.loads(line) for line in lines]
        return max(d["end"] for d in done if "download" in d.get("stages", ()))

    def tars(self, work: Path) -> list[Path]:
        return list(work.glob("runs/bench/parts/download-*/*.tar"))


SIDES = {"img2dataset": Img2dataset(), "stage": Stage(), "run": WholeRun()}


def check(tars: list[Path], pictures: int, width: int, height: int) -> float:
    """Mean bytes of the stored pictures. ValueError unless all are there and of the right size."""
    sizes: list[int] = []
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    data = tar.extractfile(member).read()
                    found = simplejpeg.decode_jpeg_header(data)[:2]
                    if found != (height, width):
                        raise ValueError(f"{member.name}: {found[1]}×{found[0]}")
                    sizes.append(len(data))
    if len(sizes) != pictures:
        raise ValueError(f"{len(sizes)} of {pictures} pictures stored")
    return sum(sizes) / len(sizes)
