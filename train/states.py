"""Whether a training state on disk is whole. Imports no torch, so that `winnow verify` can ask.

Beside `step-00000100.pt` lies its record `step-00000100.json`: step, bytes and sha256.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

from pipeline.table.checked import CHANGED, CUT, MISSING
from pipeline.table.part import file_digest
from pipeline.table.sealed import seal, unseal

RECORD = ".json"


def states(folder: Path) -> list[Path]:
    """The states in a folder, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def write_record(state: Path, step: int) -> str:
    """The text of a state's record."""
    found = {"step": step, "bytes": state.stat().st_size, "sha256": file_digest(state)}
    return seal(found).decode()


def remove_state(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(RECORD).unlink(missing_ok=True)


def damage_of(path: Path) -> str | None:
    """What is wrong with a state, or None.

    Without a valid record (earlier versions wrote none) the CRC-32 of its zip members are compared.
    """
    if not path.is_file():
        return MISSING
    said = _record(path)
    if said is None:
        return _damaged_member(path)
    if path.stat().st_size != said["bytes"]:
        return CUT
    return None if file_digest(path) == said["sha256"] else CHANGED


def damaged_states(folder: Path) -> dict[Path, str]:
    """Damaged states and records in a folder and those below it, with what is wrong."""
    found = {}
    names = {one.with_suffix(".pt") for one in folder.rglob("step-*") if one.suffix != ".tmp"}
    for path in sorted(names):
        record = path.with_suffix(RECORD)
        if record.is_file() and _record(path) is None:
            found[record] = CHANGED
        if (what := damage_of(path)) is not None:
            found[path] = what
    return found


def _record(path: Path) -> dict[str, Any] | None:
    """A state's record; None without one that was written for this step."""
    try:
        said = unseal(path.with_suffix(RECORD).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return said if said.get("step") == int(path.stem[5:]) and "sha256" in said else None


def _damaged_member(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as file:
            return None if file.testzip() is None else CHANGED
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError):
        return CUT
