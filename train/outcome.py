"""The result of a training: the model and the marker by which a later call finds it finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from train.checkpoint import replace_folder, write_atomically
from train.folder import digest
from train.model import Diffusion, save

MARKER = "done.json"


def finished_model(out: Path, fingerprint: str) -> Path | None:
    """`out/model` if its marker has this fingerprint and its files have the marker's digest."""
    marker, model = out / MARKER, out / "model"
    if not marker.is_file():
        return None
    said = json.loads(marker.read_text(encoding="utf-8"))
    if said["fingerprint"] != fingerprint or digest(model) != said["digest"]:
        return None
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
    marker = {"fingerprint": fingerprint, "digest": digest(target), **notes}
    write_atomically(out / MARKER, json.dumps(marker, indent=2) + "\n")
    return target
