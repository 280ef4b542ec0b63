"""The result of a training: the model and the marker by which a later call finds it finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from train.checkpoint import replace_folder, write_atomically
from train.folder import digest
from train.healing import MARKER, NOTES
from train.model import Diffusion, save


def finished_model(out: Path, fingerprint: str) -> Path | None:
    """`out/model` if its marker has this fingerprint and its files have the marker's digest."""
    model = out / "model"
    try:
        said = json.loads((out / MARKER).read_bytes())
        if said["fingerprint"] != fingerprint or digest(model) != said["digest"]:
            return None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # no marker, or one that was cut
    return model


def commit(
    model: Diffusion,
    weights: dict[str, torch.Tensor],
    out: Path,
    fingerprint: str,
    notes: dict[str, Any],
) -> Path:
    """Write the new model to another folder, replace `out/model` by it, write the marker last."""
    fresh, target = out / "model.tmp", out / "model"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save(model, weights, fresh, notes)
    (out / MARKER).unlink(missing_ok=True)
    replace_folder(fresh, target)
    write_atomically(out / MARKER, _marker(target, fingerprint, notes))
    return target


def marker_again(model: Path, fingerprint: str) -> str:
    """The marker's text as `commit` wrote it, from the model's own notes. OSError or ValueError."""
    return _marker(model, fingerprint, json.loads((model / NOTES).read_bytes()))


def _marker(model: Path, fingerprint: str, notes: dict[str, Any]) -> str:
    marker = {"fingerprint": fingerprint, "digest": digest(model), **notes}
    return json.dumps(marker, indent=2) + "\n"
