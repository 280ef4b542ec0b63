"""Training states on disk: written whole or not at all, newest kept, and read only if whole."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from train.states import RECORD, damage_of, remove_state, states, write_record


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file so that a reader sees the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], limit: int) -> Path:
    """Write `step-00000100.pt` and its record, then drop all but the newest `limit`."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{step:08d}.pt"
    temporary = target.with_suffix(".pt.tmp")
    with temporary.open("wb") as file:
        torch.save({"step": step, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    # The record comes first: one without its state is harmless.
    write_atomically(target.with_suffix(RECORD), write_record(temporary, step))
    temporary.replace(target)
    for old in states(folder)[:-limit]:
        remove_state(old)
    return target


def newest_checkpoint(
    folder: Path, last_step: int, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """The newest whole state up to `last_step`, on the CPU, or None.

    Damaged ones that are newer are removed, and `say` gets a line for each. Loaded without
    unpickling code.
    """
    for path in reversed([one for one in states(folder) if int(one.stem[5:]) <= last_step]):
        if (state := _read(path)) is not None:
            return state
        remove_state(path)
        say(f"{path} was cut or changed from outside and is not used")
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """A state; None if it is damaged or that of another step."""
    if damage_of(path) is not None:
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        return None
    return state if state.get("step") == int(path.stem[5:]) else None


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
