"""Where a CLIP model's files are: names to paths and hub entries, without importing torch."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.models.clip_names import config_path, model_names, pretrained_tags
from pipeline.words.errors import InputError

TINY = "winnow-tiny"
CONFIG_NAME = "open_clip_config.json"
BPE_NAME = "bpe.txt.gz"
_SAFE_WEIGHTS = "open_clip_model.safetensors"
_PLAIN_WEIGHTS = "open_clip_pytorch_model.bin"
_PREFERRED = (
    _SAFE_WEIGHTS,
    "open_clip_pytorch_model.safetensors",
    _PLAIN_WEIGHTS,
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
OFFLINE_CHOICE = (
    f'give a local weights file or folder, or take the packaged "{TINY}" (for demos and tests only)'
)


@dataclass(frozen=True)
class Source:
    """A model's files: local paths, or names on the hub.

    `open_clip_name` and `pretrained` are passed to open_clip. `repository` is None where everything
    is local; its `candidates` are tried in order.
    """

    open_clip_name: str
    pretrained: str | None
    files: tuple[Path, ...]
    folder: Path | None = None
    repository: str | None = None
    candidates: tuple[str, ...] = ()
    url: str | None = None


def tiny_folder() -> Path:
    """The packaged folder of `winnow-tiny`."""
    return Path(__file__).parent / "data" / TINY


def find_source(model: str, pretrained: str | None = None) -> Source:
    """Where the files of `model` are or come from; InputError when the names are wrong."""
    if model == TINY:
        return _folder_source(tiny_folder(), model, pretrained)
    if model.startswith("hf-hub:"):
        _refuse_pretrained(model, pretrained)
        repository = model.removeprefix("hf-hub:")
        return Source(model, None, (), None, repository, (_SAFE_WEIGHTS, _PLAIN_WEIGHTS))
    folder = Path(model.removeprefix("local-dir:")).expanduser()
    if model.startswith("local-dir:") or folder.is_dir():
        return _folder_source(folder, model, pretrained)
    return _builtin_source(model, pretrained)


def _folder_source(folder: Path, model: str, pretrained: str | None) -> Source:
    _refuse_pretrained(model, pretrained)
    if not folder.is_dir():
        raise InputError(f'clip model "{model}": there is no folder {folder}; {OFFLINE_CHOICE}')
    config = folder / CONFIG_NAME
    if not config.is_file():
        raise InputError(f'clip model "{model}": {config} is missing; {OFFLINE_CHOICE}')
    weights = next((folder / n for n in _PREFERRED if (folder / n).is_file()), None)
    if weights is None:
        others = sorted(p for s in ("safetensors", "bin", "pth") for p in folder.glob(f"*.{s}"))
        if not others:
            raise InputError(
                f'clip model "{model}": {folder / _SAFE_WEIGHTS} is missing; {OFFLINE_CHOICE}'
            )
        weights = others[0]
    vocabulary = [folder / BPE_NAME] if (folder / BPE_NAME).is_file() else []
    return Source(f"local-dir:{folder}", None, (config, *vocabulary, weights), folder)


def _builtin_source(model: str, pretrained: str | None) -> Source:
    names = model_names()
    name = model.replace("/", "-")
    if name not in names:
        near = difflib.get_close_matches(name, (*names, TINY), n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise InputError(f'clip model "{model}" is neither a folder nor known to open_clip{hint}')
    config = config_path(name)
    tags = pretrained_tags().get(name, {})
    if pretrained is None:
        known = f"a tag ({_some(tags)}) or " if tags else ""
        raise InputError(
            f'clip model "{model}" needs "pretrained": {known}the path of a local weights file'
        )
    tag = pretrained.lower().replace("-", "_")
    if tag in tags:
        hub, url = tags[tag].get("hf_hub", ""), tags[tag].get("url", "")
        if hub:
            repository, _, filename = hub.rpartition("/")
            return Source(name, pretrained, (config,), None, repository, _candidates(filename))
        return Source(name, pretrained, (config,), url=url)
    weights = Path(pretrained).expanduser()
    if weights.is_file():
        return Source(name, str(weights), (config, weights))
    near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.4) or sorted(tags)
    raise InputError(
        f'clip model "{model}": "{pretrained}" is neither a weights file nor one of its tags'
        + (f" ({_some(near)})" if near else "")
    )


_USUAL_TAGS = ("openai", "laion2b_s34b_b79k", "datacomp_xl_s13b_b90k", "webli")


def _some(names: Iterable[str]) -> str:
    listed = sorted(names, key=lambda name: (name not in _USUAL_TAGS, name))
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")


def _candidates(filename: str) -> tuple[str, ...]:
    if not filename:
        return _SAFE_WEIGHTS, _PLAIN_WEIGHTS
    stem, dot, suffix = filename.rpartition(".")
    if dot and suffix in ("bin", "pth"):
        return (_SAFE_WEIGHTS if filename == _PLAIN_WEIGHTS else f"{stem}.safetensors"), filename
    return (filename,)


def _refuse_pretrained(model: str, pretrained: str | None) -> None:
    if pretrained is not None:
        raise InputError(
            f'clip model "{model}" brings its own weights; remove "pretrained: {pretrained}"'
        )


def vector_width(model: str, pretrained: str | None = None) -> int | None:
    """Numbers of the model's vectors, by its config; None where only the hub has that."""
    files = find_source(model, pretrained).files
    config = next((path for path in files if path.suffix == ".json"), None)
    if config is None:
        return None
    values = json.loads(config.read_text(encoding="utf-8"))
    width = values.get("model_cfg", values).get("embed_dim")
    return int(width) if width is not None else None
