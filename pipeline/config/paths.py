"""Where the files lie that a job names: beside the job file, or in the working folder.

Relative paths become absolute, because a cluster's workers have other working folders.
"""

import glob
from pathlib import Path
from typing import TypeVar

from pipeline.config.base import Section
from pipeline.config.job import Job
from pipeline.words.errors import InputError

S = TypeVar("S", bound=Section)
_PATHS = (
    "vocabulary", "blocklist", "opted_out_domains", "checkpoint", "weights", "pretrained", "model",
    "descriptor",
)  # fmt: skip


def with_absolute_paths(job: Job, folder: Path | None = None) -> Job:
    """The job with every relative path of a file or folder replaced by the absolute path.

    It is looked for in `folder`, that of the job file, and then in the working folder; `output` and
    `cluster.scratch` in the latter alone. `~` is the home folder. Values that name no existing file
    (a model's name, a pretrained tag) stay as they are. InputError for one that is in both.
    """
    captions, images = _absolute(job.captions, folder), job.images
    if captions.toxicity is not None:
        captions = captions.model_copy(update={"toxicity": _absolute(captions.toxicity, folder)})
    heads = tuple(_absolute(head, folder) for head in images.heads)
    changed: dict[str, object] = {
        "captions": captions,
        "images": images.model_copy(update={"heads": heads}),
        "embed": _absolute(job.embed, folder),
    }
    folders = tuple(_found(one, folder, "download.allow_paths") for one in job.download.allow_paths)
    download = _absolute(job.download, folder)
    changed["download"] = download.model_copy(update={"allow_paths": folders})
    sets = tuple(
        one.model_copy(update={"path": _found(one.path, folder, f"dedup.against[{i}].path")})
        for i, one in enumerate(job.dedup.against)
    )
    changed["dedup"] = _absolute(job.dedup, folder).model_copy(update={"against": sets})
    if job.output.startswith("~"):
        changed["output"] = str(_expanded(job.output, "output"))
    if job.cluster.scratch is not None:
        place = str(_expanded(job.cluster.scratch, "cluster.scratch").absolute())
        changed["cluster"] = job.cluster.model_copy(update={"scratch": place})
    _check_output(str(changed.get("output", job.output)))
    if folder is not None:
        found = tuple(_found(one, folder, "input") for one in job.inputs())
        changed["input"] = found[0] if isinstance(job.input, str) else found
    return job.model_copy(update=changed)


def _check_output(output: str) -> None:
    """InputError if no folder can be made there: a file is in the way, or a name is too long."""
    if "://" in output:
        return
    path = Path(output).absolute()
    try:
        there = next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise InputError(f"output: {output}: {error.strerror}; name another folder") from None
    if not there.is_dir():
        raise InputError(f"output: {there} is a file; name a folder")


def _absolute(section: S, folder: Path | None) -> S:
    changed: dict[str, object] = {}
    for name in _PATHS:
        value = getattr(section, name, None)
        if isinstance(value, dict):
            changed[name] = {key: _place(one, folder, name) for key, one in value.items()}
        elif isinstance(value, tuple):
            changed[name] = tuple(_place(one, folder, name) for one in value)
        elif isinstance(value, str):
            changed[name] = _place(value, folder, name)
    return section.model_copy(update=changed) if changed else section


def _place(value: str, folder: Path | None, key: str) -> str:
    """The absolute path of an existing file or folder; other values as they are."""
    if not value.strip():
        return value
    place = Path(_found(value, folder, key))
    return str(place) if place.is_absolute() and place.exists() else value


def _found(value: str, folder: Path | None, key: str) -> str:
    """The absolute path; beside the job file if there is nothing of that name. URLs stay."""
    if "://" in value or not value.strip():
        return value
    path = _expanded(value, key)
    places = [place for place in (folder, Path.cwd()) if place is not None]
    if path.is_absolute():
        return str(path)
    found = [place.absolute() / path for place in places if _exists(place, path)]
    if len(found) == 2 and not _is_same(*found):
        raise InputError(
            f"{key}: {value} is beside the job file ({found[0]}) and in the working folder "
            f"({found[1]}); write the whole path"
        )
    if found and not found[0].exists():  # a pattern: the folder's own name is none
        return f"{glob.escape(str(found[0])[: -len(str(path))])}{path}"
    return str(found[0] if found else places[0].absolute() / path)


def _expanded(value: str, key: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise InputError(f"{key}: {value}: there is no such user") from None


def _exists(place: Path, path: Path) -> bool:
    try:
        if (place / path).exists():
            return True
        is_pattern = any(sign in str(path) for sign in "*?[")
        return is_pattern and next(place.glob(str(path)), None) is not None
    except (OSError, ValueError):
        return False


def _is_same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()
