"""Real pictures without a hub: Debian's Open Clip Art Library, served on loopback.

`python -m pipeline.demo.openclipart --out DIR` fetches the packages `openclipart-png` and
`openclipart-svg` (157 MB; every picture is dedicated to the public domain), pairs the pictures with
the titles and keywords of their drawings, and serves them for `configs/openclipart.yaml`. Many
titles are missing, repeated a thousand times, or misspelt.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.jobs import own_job
from pipeline.demo.svg import read_metadata
from pipeline.demo.web import serve
from pipeline.words.errors import InputError

PACKAGES = ("openclipart-png", "openclipart-svg")
_VERSION = 1
_SHARE = Path("usr/share")
SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("keywords", pa.string()),
        ("collection", pa.string()),
    ]
)
"""`rows.parquet`. `caption` is the drawing's title or null, `keywords` are joined by a comma,
`collection` is the picture's folder."""


def prepare(out: Path, base_url: str) -> Path:
    """Fetch and unpack the packages into `out`, and list the pictures; returns `out/rows.parquet`.

    What is there already is used again; for another `base_url` only the list is written again.
    InputError if this is neither Debian nor derived from it, or the packages cannot be downloaded.
    """
    unpacked = out / "unpacked.json"
    if not unpacked.exists():
        _require_tools()
        _unpack(_download(out / "debs"), out)
        unpacked.write_text(json.dumps({"packages": PACKAGES}))
    recipe = {"version": _VERSION, "base_url": base_url}
    listed = out / "openclipart.json"
    if listed.exists() and json.loads(listed.read_text()) == recipe:
        return out / "rows.parquet"
    listed.unlink(missing_ok=True)
    table = list_pictures(out / "www", out / "svg", base_url)
    pq.write_table(table, out / "rows.parquet", compression="zstd")
    listed.write_text(json.dumps(recipe))
    return out / "rows.parquet"


def list_pictures(pictures: Path, drawings: Path, base_url: str) -> pa.Table:
    """One row (`SCHEMA`) per PNG below `pictures`, by path, with the metadata of its SVG."""
    rows = []
    for file in sorted(pictures.rglob("*.png")):
        name = file.relative_to(pictures)
        drawing = drawings / name.with_suffix(".svg")
        found = read_metadata(drawing.read_bytes() if drawing.is_file() else b"")
        rows.append(
            {
                "url": f"{base_url}/{quote(name.as_posix())}",
                "caption": found.title,
                "keywords": ", ".join(found.keywords) or None,
                "collection": name.parent.as_posix(),
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _require_tools() -> None:
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} not found: these pictures come as Debian packages; run this "
            "on Debian or Ubuntu and copy the folder, or use `winnow demo`, which needs neither"
        )


def _download(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    if not _apt(folder, "download", *PACKAGES):
        if os.geteuid() != 0:
            raise InputError(
                "apt-get cannot download openclipart-png and openclipart-svg (its error is "
                "above); if its package lists are missing, `sudo apt-get update` fetches them"
            )
        _say("apt-get has no package lists, or old ones: updating them")
        if not (_apt(folder, "update") and _apt(folder, "download", *PACKAGES)):
            raise InputError(
                "apt-get cannot download openclipart-png and openclipart-svg (its error is above);"
                " check the network and /etc/apt/sources.list"
            )
    return [max(folder.glob(f"{name}_*.deb"), key=lambda p: p.stat().st_mtime) for name in PACKAGES]


def _apt(folder: Path, *words: str) -> bool:
    done = subprocess.run(["apt-get", "-q", *words], cwd=folder, stdout=sys.stderr, check=False)
    return done.returncode == 0


def _unpack(packages: Sequence[Path], out: Path) -> None:
    scratch = out / "unpack.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    for package in packages:
        _say(f"unpacking {package.name}")
        done = subprocess.run(["dpkg-deb", "-x", package, scratch], check=False)
        if done.returncode != 0:
            raise InputError(f"dpkg-deb cannot unpack {package}; delete it and try again")
    share = scratch / _SHARE
    for source, target in (("png", "www"), ("svg", "svg")):
        shutil.rmtree(out / target, ignore_errors=True)
        (share / "openclipart" / source).rename(out / target)
    shutil.copy(share / "doc" / "openclipart-png" / "copyright", out / "COPYRIGHT")
    shutil.rmtree(scratch)
    shutil.rmtree(packages[0].parent)


def _run(rows: Path) -> int:
    """Curate the list with the checkout's job; the exit code."""
    words = ["run", str(own_job("openclipart.yaml")), "--set", f"input={rows}"]
    return subprocess.run([sys.executable, "-m", "pipeline", *words], check=False).returncode


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code (0, or 2 if the pictures cannot be had)."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.demo.openclipart",
                                     description=(__doc__ or "").partition("\n")[0])  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and list")
    parser.add_argument("--port", type=int, help="port to serve at (default: last time's)")
    parser.add_argument("--no-serve", action="store_true", help="prepare the folder only")
    parser.add_argument("--run", action="store_true", help="run configs/openclipart.yaml, then end")
    options = parser.parse_args(arguments)
    out: Path = options.out
    try:
        with serve(out, options.port) as base_url:
            rows = prepare(out, base_url)
            if options.run:
                return _run(rows)
            print(rows)
            if options.no_serve:
                return 0
            _say(
                f"serving {pq.read_metadata(rows).num_rows} pictures at {base_url}; in another "
                f"terminal: winnow run configs/openclipart.yaml --set input={rows} (Ctrl-C ends)"
            )
            while True:
                time.sleep(3600)
    except InputError as error:
        _say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
