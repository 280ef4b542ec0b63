"""Training states on disk: written whole or not at all, newest kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file so that a reader sees the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], limit: int) -> Path:
    """Write `step-00000100.pt` with fsync and rename, then drop all but the newest `limit`."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{step:08d}.pt"
    temporary = target.with_suffix(".pt.tmp")
    with temporary.open("wb") as file:
        torch.save({"step": step, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    for old in sorted(folder.glob("step-*.pt"))[:-limit]:
        old.unlink()
    return target


def newest_checkpoint(folder: Path, last_step: int) -> dict[str, Any] | None:
    """The newest state up to `last_step`, on the CPU, or None. Loaded without unpickling code."""
    found = [p for p in sorted(folder.glob("step-*.pt")) if int(p.stem[5:]) <= last_step]
    return torch.load(found[-1], map_location="cpu", weights_only=True) if found else None


def replace_folder(new: Path, target: Path) -> None:
    """Put a finished folder in the place of another. A kill in between leaves no half folder."""
    if target.exists():
        old = target.with_name(target.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.rename(target)


def keep_log(path: Path, trajectory: str, step: int) -> None:
    """Cut a log back to the lines of this training up to `step`; a resumed run writes the rest."""
    lines = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the line that a kill cut short
                continue
            if entry.get("trajectory") == trajectory and entry.get("step", 0) <= step:
                lines.append(line)
    write_atomically(path, "".join(line + "\n" for line in lines))
