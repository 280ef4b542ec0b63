"""Has the tools next door read an export, each in an environment of its own; no test of the suite.

    python tests/neighbours/run.py --scratch FOLDER [--only NAME …]
        [--datacomp CHECKOUT] [--diffusers CHECKOUT]

Needs a package registry. The two checkouts are those of mlfoundations/datacomp and
huggingface/diffusers; without one, its reader is left out and said so. Prints a table of what each
read, and ends with 1 if one did not read every kept row.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from small_stable_diffusion import write_stable_diffusion  # noqa: E402
from stored_samples import sample, write_tar  # noqa: E402

ROWS = 40
PACKAGES = {
    "clip_retrieval": ["clip-retrieval", "setuptools<80"],
    "croissant": ["mlcroissant[parquet]"],
    "fiftyone": ["fiftyone"],
    "label_studio": ["label-studio-sdk"],
    "datacomp": [
        "cloudpathlib",
        "img2dataset",
        "pysimdjson",
        "webdataset==0.2.48",
        "setuptools<80",
    ],
    "diffusers": ["accelerate"],
}
OURS = {"diffusers"}
"""Readers that run with this environment's packages too, since they train."""


def make_pool(folder: Path) -> Path:
    """Tars as DataComp's downloader writes them; the pool's uid is in each JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    for shard in range(2):
        files = []
        for i in range(shard, ROWS, 2):
            row = {"uid": f"{chance.getrandbits(128):032x}", "url": f"https://a.example/{i}.jpg"}
            files += sample(f"{shard:08d}{i:04d}", i, f"a cat no. {i}", row)
        write_tar(folder / f"{shard:08d}.tar", files)
    (folder / "sizes.json").write_text(json.dumps({f"{s:08d}.tar": ROWS // 2 for s in range(2)}))
    return folder


def make_export(scratch: Path, pool: Path) -> tuple[Path, int]:
    """Curate the pool; every fourth row is dropped. The export's folder and the kept rows."""
    job = {
        "input": str(pool), "output": str(scratch / "runs"), "shard_size": 10,
        "captions": {"toxicity": None, "language": False}, "images": {"nsfw": None},
        "embed": {"model": "winnow-tiny"}, "download": {"min_image_size": 32},
        "cluster": {"executor": "inline"},
        "rules": [{"reason": "x_fourth", "when": "regexp_extract(url, '[0-9]+')::int % 4 = 0"}],
        "export": {"license": "CC0-1.0", "shard_size": 20,
                   "formats": ["imagefolder", "fiftyone", "label-studio", "datacomp",
                               "clip-retrieval"]},
    }  # fmt: skip
    (scratch / "job.yaml").write_text(yaml.safe_dump(job))
    command = [sys.executable, "-m", "pipeline", "run", str(scratch / "job.yaml")]
    subprocess.run(command, check=True, cwd=HERE.parents[1], stdout=sys.stderr)
    (manifest,) = (scratch / "runs" / "job" / "export").glob("*/manifest.json")
    return manifest.parent, json.loads(manifest.read_text())["rows"]


def environment(name: str, scratch: Path) -> tuple[Path, dict[str, str]]:
    """A Python with the reader's packages, made once, and the variables to start it with."""
    place = scratch / "environments" / name
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    clean |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(scratch / "cache")}
    if name in OURS:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place)]
        python = Path(sys.executable)
        clean["PYTHONPATH"] = str(place)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        python = place / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "-q"]
    if not (place / ".ready").exists():
        subprocess.run([*pip, *PACKAGES[name]], check=True, stdout=sys.stderr)
        (place / ".ready").touch()
    return python, clean


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=[*PACKAGES], default=[*PACKAGES])
    parser.add_argument("--datacomp", type=Path)
    parser.add_argument("--diffusers", type=Path)
    asked = parser.parse_args()
    scratch = asked.scratch.resolve()
    pool = make_pool(scratch / "pool")
    export, kept = make_export(scratch, pool)
    more = {"datacomp": [pool, asked.datacomp], "diffusers": [scratch / "model", asked.diffusers]}
    print("| reader | version | rows read | kept rows |\n| --- | --- | ---: | ---: |")
    failed = False
    for name in asked.only:
        words = more.get(name, [])
        if None in words:
            print(f"{name}: left out, because --{name} was not given", file=sys.stderr)
            continue
        if name == "diffusers":
            (scratch / "model").mkdir(exist_ok=True)
            write_stable_diffusion(scratch / "model")
        python, variables = environment(name, scratch)
        command = [str(python), str(HERE / f"read_{name}.py"), str(export), *map(str, words)]
        done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        failed |= found.get("samples") != kept
        print(f"| {name} | {found.get('version')} | {found.get('samples')} | {kept} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
