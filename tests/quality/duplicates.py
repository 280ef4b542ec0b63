"""Copies of pictures that a job's search finds, among pictures that are not alike: docs/quality.md.

Needs --data: photographs (*.jpg, *.jpeg) below FOLDER/photographs. Thresholds may be looked at on
the first half of them, by name; the tables are of the second half.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.api import run
from pipeline.inspect.query import query
from pipeline.table.run import Run
from tests.copies import COPIES, Picture
from tests.quality.scores import percent, table

BLOCKS = ("copies-photographs", "copies-kept")
COPIED = 100
"""Pictures of which copies are made."""
QUALITY = 92
"""JPEG quality of the copies' files."""
ENDINGS = (".jpg", ".jpeg")


def tables(data: Path | None) -> dict[str, str]:
    paths = sorted(
        path
        for path in (data / "photographs").rglob("*") if path.suffix.lower() in ENDINGS
    ) if data is not None else []  # fmt: skip
    if not paths:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        result = measure(paths[len(paths) // 2 :], Path(folder))
    head = ["pictures", "original kept", "what else was kept"]
    return {
        "copies-photographs": result["table"],
        "copies-kept": table(head, [["photographs", *result["kept"]]]),
    }


def measure(paths: Sequence[Path], folder: Path, **dedup: Any) -> dict[str, Any]:
    """Run a job over the pictures and copies of some of them."""
    files = folder / "files"
    files.mkdir()
    chosen = set(np.random.default_rng(1).permutation(len(paths))[:COPIED].tolist())
    for number, path in enumerate(paths):
        _write(files, f"{number:05d}.original", path)
        if number in chosen:
            picture = _read(path)
            for kind, copy in COPIES.items():
                _save(files, f"{number:05d}.{_word(kind)}", copy(picture))
    done = run(
        {
            "name": "copies", "input": str(files), "input_format": "imagefolder",
            "output": str(folder), "shard_size": 1000,
            "captions": {"toxicity": None, "language": False},
            "download": {"min_image_size": 8, "max_aspect_ratio": 30, "allow_paths": [str(files)]},
            "images": {"nsfw": None}, "dedup": dedup,
            "rules": [{"reason": "duplicate", "when": "dup_group is not null"}],
        },
        quiet=True,
    )  # fmt: skip
    return judge(Run(done.folder))


def judge(of: Run) -> dict[str, Any]:
    """The table of what was found, and who stayed, of a run over files that `measure` wrote."""
    rows = {}
    for row in query(of, "select uid, url, verdict, dup_group from samples").to_pylist():
        family, kind = Path(row["url"]).name.split(".")[:2]
        rows[row["uid"]] = row | {"family": family, "kind": kind}
    group = {(r["family"], r["kind"]): r["dup_group"] for r in rows.values()}
    copied = sorted({family for family, kind in group if kind != "original"})
    lines, shares = [], []
    for kind in COPIES:
        there = [f for f in copied if (f, _word(kind)) in group]
        hits = sum(
            group[f, "original"] is not None and group[f, "original"] == group[f, _word(kind)]
            for f in there
        )
        shares.append(hits / len(there))
        lines.append([kind, percent(hits, len(there))])
    false = _false_groups(rows)
    pairs = len(rows) * (len(rows) - 1) // 2
    lines.append(["**mean**", f"**{100 * float(np.mean(shares)):.1f} %**"])
    lines.append(["pairs joined that are no copies", f"{false:,} of {pairs / 1e6:,.0f} million"])
    stays = [r["kind"] for r in rows.values() if r["family"] in copied and r["verdict"] == "kept"]
    others = [kind for kind in stays if kind != "original"]
    names = {_word(kind): kind for kind in COPIES}
    counts = sorted({(others.count(kind), names[kind]) for kind in others}, reverse=True)
    kept = [
        percent(stays.count("original"), len(copied)),
        ", ".join(f"{kind} ({count})" for count, kind in counts),
    ]
    answer = {"table": table(["copy", "found"], lines), "kept": kept}
    return answer | {"mean": float(np.mean(shares)), "false": false, "pairs": pairs}


def _false_groups(rows: dict[str, dict[str, Any]]) -> int:
    """Pairs of a group's leader and a member that are of different pictures."""
    return sum(
        1
        for row in rows.values()
        if row["dup_group"] is not None and rows[row["dup_group"]]["family"] != row["family"]
    )


def _word(kind: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in kind)


def _read(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write(files: Path, name: str, path: Path) -> None:
    (files / f"{name}{path.suffix}").write_bytes(path.read_bytes())
    (files / f"{name}.txt").write_text("a picture")


def _save(files: Path, name: str, picture: Picture) -> None:
    Image.fromarray(picture).save(files / f"{name}.jpg", quality=QUALITY)
    (files / f"{name}.txt").write_text("a picture")
