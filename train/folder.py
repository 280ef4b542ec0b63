"""Model folders on disk: the folder of a model's name, and the digest of its content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline.config.training import TrainConfig
from pipeline.models.clip_files import check_clip, clip_digest
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError

PACKAGED = {"winnow-base": Path(__file__).parent / "data" / "winnow-base"}
OWN_CLASS = "WinnowPixelDiffusion"
WEIGHTS = "diffusion_pytorch_model.safetensors"

_OFFLINE = "use winnow-base (packaged) or the path of a diffusers folder"
_REQUIRED = {
    OWN_CLASS: ("unet/config.json", f"unet/{WEIGHTS}", "scheduler/scheduler_config.json"),
    "StableDiffusionPipeline": (
        "unet/config.json",
        f"unet/{WEIGHTS}",
        "vae/config.json",
        f"vae/{WEIGHTS}",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer_config.json",
        "scheduler/scheduler_config.json",
    ),
}
_HUB_FILES = [*_REQUIRED["StableDiffusionPipeline"], "model_index.json", "tokenizer/*"]


def resolve(name: str | Path) -> Path:
    """The checked local folder of a packaged name, a path, or a hub name (fetched to its cache).

    Raises InputError naming the missing file and the offline choice. Imports no torch.
    """
    folder = PACKAGED.get(str(name), Path(name).expanduser())
    if not folder.is_dir():
        parts = str(name).split("/")
        if len(parts) != 2 or not all(parts) or parts[0] in {".", "..", "~"}:
            raise InputError(f"no model folder {folder}; {_OFFLINE}")
        folder = _from_hub(str(name))
    index = read_index(folder)
    required = _REQUIRED.get(index.get("_class_name", ""))
    if required is None:
        raise InputError(
            f"{folder}/model_index.json names {index.get('_class_name')!r}; "
            f"only {' and '.join(_REQUIRED)} can be trained here; {_OFFLINE}"
        )
    for file in required:
        if not (folder / file).is_file():
            raise InputError(f"{folder}/{file} is missing; {_OFFLINE}")
    return folder


def read_index(folder: Path) -> dict[str, Any]:
    """A folder's model_index.json. Raises InputError when it is missing or is no JSON object."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise InputError(f"{path} is missing, so {folder} is no model; {_OFFLINE}")
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder; InputError when it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); {_OFFLINE}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; {_OFFLINE}")
    return content


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES, etag_timeout=5))
    # The hub's client raises errors of several unrelated libraries; each means "not available".
    except Exception as error:
        raise InputError(
            f"{name}/model_index.json is neither in the hub's cache nor reachable "
            f"({type(error).__name__}); {_OFFLINE}"
        ) from error


def digest(folder: Path) -> str:
    """sha256 over the names and contents of a model folder's files, without `.md` and dot files."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix != ".md" and not path.name.startswith("."):
            name = path.relative_to(folder).as_posix()
            total.update(f"{name}\0{file_digest(path)}\n".encode())
    return total.hexdigest()


def base_digest(config: TrainConfig) -> str:
    """The content hash of the base model; from scratch, of the text encoder.

    Raises InputError when the model, or the hub that should hold it, is not available.
    """
    if config.pretrained_model_name_or_path is None:
        encoder = config.text_encoder or "winnow-tiny"
        check_clip(encoder, config.text_encoder_pretrained)
        return clip_digest(encoder, config.text_encoder_pretrained)
    return digest(resolve(config.pretrained_model_name_or_path))
