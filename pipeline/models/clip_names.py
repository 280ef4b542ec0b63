"""The model names and pretrained tags that open_clip knows, read from its files.

Importing open_clip imports torch, which takes seconds that a check of a job file need not cost.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import lru_cache
from pathlib import Path

from pipeline.words.errors import InputError

Tags = dict[str, dict[str, str]]
_FIELDS = ("url", "hf_hub", "quick_gelu")


def model_names() -> tuple[str, ...]:
    """open_clip's built-in model names, sorted."""
    return tuple(sorted(path.stem for path in _package().glob("model_configs/*.json")))


def config_path(name: str) -> Path:
    """The file with the architecture of a built-in model."""
    return _package() / "model_configs" / f"{name}.json"


@lru_cache(maxsize=1)
def pretrained_tags() -> dict[str, Tags]:
    """For each model its tags, and for each tag where its weights are: `hf_hub`, `url`.

    Read from the literals of open_clip/pretrained.py; if that file has not the expected form,
    open_clip itself is imported and called.
    """
    tree = ast.parse((_package() / "pretrained.py").read_text(encoding="utf-8"))
    named: dict[str, ast.expr] = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    table = named.get("_PRETRAINED")
    found: dict[str, Tags] = {}
    if isinstance(table, ast.Dict):
        for key, value in zip(table.keys, table.values, strict=True):
            tags = _tags(named.get(value.id) if isinstance(value, ast.Name) else value)
            if isinstance(key, ast.Constant) and tags:
                found[str(key.value)] = tags
    return _with_quickgelu(found) if found else _ask_open_clip()


def _tags(call: ast.expr | None) -> Tags:
    if not isinstance(call, ast.Call):
        return {}
    return {
        keyword.arg.lower().replace("-", "_"): {
            field.arg: str(field.value.value)
            for field in keyword.value.keywords
            if field.arg in _FIELDS and isinstance(field.value, ast.Constant) and field.value.value
        }
        for keyword in call.keywords
        if keyword.arg is not None and isinstance(keyword.value, ast.Call)
    }


def _with_quickgelu(found: dict[str, Tags]) -> dict[str, Tags]:
    # open_clip lists weights trained with OpenAI's activation under a second model name too.
    second = {
        f"{name}-quickgelu": quick
        for name, tags in found.items()
        if (quick := {tag: entry for tag, entry in tags.items() if "quick_gelu" in entry})
    }
    return {**found, **second}


def _ask_open_clip() -> dict[str, Tags]:
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    found: dict[str, Tags] = {}
    for name, tag in list_pretrained():
        entry = get_pretrained_cfg(name, tag)
        found.setdefault(name, {})[tag] = {
            field: str(entry[field]) for field in _FIELDS if entry.get(field)
        }
    return found


def _package() -> Path:
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("open_clip is not installed: pip install open_clip_torch")
    return Path(spec.submodule_search_locations[0])
