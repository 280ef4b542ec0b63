"""Reads a job file into a checked `Job`; errors are one line with the key and the nearest key."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pipeline.config.bounded_yaml import DEEPEST, MOST_BYTES, JobYamlError, read_yaml
from pipeline.config.job import Job
from pipeline.config.paths import with_absolute_paths
from pipeline.words.errors import InputError

S = TypeVar("S", bound=BaseModel)


def load_job(path: Path, overrides: Sequence[str] = ()) -> Job:
    """Read and check a job file; `overrides` are `a.b=c` as given to `--set`.

    A job without a name gets the file's name; relative paths are those of `config.paths`. Raises
    InputError that names the wrong key.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(MOST_BYTES + 1)
        text = data.decode() if len(data) <= MOST_BYTES else None
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in _siblings(path)], n=1)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else ""
        raise InputError(f"{path} does not exist{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if text is None:
        raise InputError(
            f"{path} has more than {MOST_BYTES:,} bytes; a job is shorter: name the folder or a "
            "pattern of its input, not every file"
        )
    try:
        values = read_yaml(text)
    except JobYamlError as error:
        raise InputError(f"{path} {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a job is a mapping of keys, e.g. `input: pairs.parquet`")
    for key in values:
        if not isinstance(key, str):
            raise InputError(f"{path}: the key {key!r} is no text; put it in quotes, or rename it")
    for override in overrides:
        _override(values, override)
    if values.get("name") is None:  # also where the line is there without a name
        values["name"] = path.stem
    job = parse_job(values, str(path))
    try:
        return with_absolute_paths(job, path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_job(values: dict[str, Any], place: str) -> Job:
    """Check a mapping; InputError names the first wrong key within `place`."""
    try:
        return Job.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{place}: {_explain(error, Job)}") from error


def check_section(model: type[S], values: Any, place: str) -> S:
    """Check one section against its model; InputError names the wrong key within `place`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{place}: {_explain(error, model)}") from error


def _siblings(path: Path) -> list[Path]:
    return list(path.parent.iterdir()) if path.parent.is_dir() else []


def _override(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise InputError(f"--set {override}: expected `key.key=value`")
    try:
        value = read_yaml(text)
    except JobYamlError as error:
        raise InputError(f"--set {override}: the value {error}") from error
    *parents, last = key.split(".")
    if len(parents) > DEEPEST:
        raise InputError(f"--set {override}: more than {DEEPEST} keys within each other")
    here: Any = values
    for i, name in enumerate(parents):
        if isinstance(here, list) and name.isdigit() and int(name) < len(here):
            here = here[int(name)]
            continue
        if isinstance(here, dict) and here.get(name) is None:
            here[name] = {}
        if not isinstance(here, dict) or not isinstance(here[name], dict | list):
            raise InputError(f"--set {override}: `{'.'.join(parents[: i + 1])}` has no keys")
        here = here[name]
    if isinstance(here, list) and last.isdigit() and int(last) < len(here):
        here[int(last)] = value
    elif isinstance(here, dict):
        here[last] = value
    else:
        raise InputError(f"--set {override}: there is no `{key}`")


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    # An unknown key is often a misspelt one, which pydantic then also reports as missing.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    place = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key `{place}`; {_nearest(first['loc'], model)}"
    if first["type"] == "missing":
        hint = "; write e.g. `input: pairs.parquet`" if place == "input" else ""
        return f"key `{place}` is missing{hint}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_type":
        message = "a section with keys is expected here; remove the line to get the defaults"
    if first["type"] == "tuple_type":
        message = "a list is expected"
    given = first["input"]
    is_explained = isinstance(given, dict | list) or first["type"] == "value_error"
    shown = "" if is_explained else f" (given: {_short(repr(given))})"
    return f"`{place}`: {message}{shown}" if place else message


def _nearest(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """A hint for an unknown key: a similar key, or the section that has this key."""
    name, known = str(loc[-1]), _keys_at(loc[:-1], model)
    near = [f"{key}.{name}" for key in _keys_at((), model) if name in _keys_at((key,), model)]
    near += difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"there are {', '.join(known)}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"


def _dotted(loc: tuple[int | str, ...]) -> str:
    # pydantic adds the branch of a union to the place (`input.str`); users do not know it.
    parts = [p for p in loc if not (isinstance(p, str) and p.startswith(("tuple[", "str")))]
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _keys_at(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Keys of the section at a place within the model; empty where there is no section."""
    here: type[BaseModel] | None = model
    for part in loc:
        if here is not None and isinstance(part, str) and part in here.model_fields:
            here = _model_of(here.model_fields[part].annotation)
    return list(here.model_fields) if here is not None else []


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_of, get_args(annotation))), None)
