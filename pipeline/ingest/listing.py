"""Finds the files of the input list."""

import difflib
import re
from typing import Any
from urllib.parse import unquote

import fsspec

from pipeline.config.job import Job
from pipeline.ingest.folders import folder_source, picture_files, without_side_files
from pipeline.ingest.source import COMPRESSIONS, Source, first_line
from pipeline.table.stored import stamp_of
from pipeline.words.errors import InputError

EXTENSIONS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".tar": "webdataset",
}  # fmt: skip
_NO_LISTS = re.compile(r"_stats\.json$|^(manifest|sizes|dataset_infos?|state|croissant)\.json$")
"""Names of JSON files that tools write beside lists and shards."""
_SIGN = re.compile(r"[*?\[]")
_HIVE = re.compile(r"([^=/]+)=([^/]*)")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def find_sources(job: Job) -> list[Source]:
    """The list's files in a stable order. InputError for a missing file or an unknown format."""
    return [source for url in job.inputs() for source in _find(url, job.input_format)]


def _find(url: str, wanted: str) -> list[Source]:
    if not url.strip():
        raise InputError("input: the path is blank; name a file, a folder or a glob")
    try:
        fs, path = fsspec.core.url_to_fs(url)
        paths = _paths(fs, path, url, wanted)
    except (ImportError, ValueError, OSError) as error:
        # An unknown protocol, a store whose package is not installed, a folder without access.
        raise InputError(f"input: {url} cannot be reached: {first_line(error)}") from error
    found = []
    for one in paths:
        if one == path and fs.isdir(one):
            found.append(folder_source(fs, one, fs.find(one, detail=True)))
            continue
        if wanted == "imagefolder":
            raise InputError(f"input: {one} is no folder; name the folder of the pictures")
        known = wanted if wanted != "auto" else _format_of(one)
        if known is None:
            raise InputError(
                f"input: cannot tell the format of {one} by its name; set `input_format` to csv, "
                "tsv, jsonl, json, parquet or webdataset"
            )
        info = _info(fs, one)
        found.append(
            Source(
                fs.unstrip_protocol(one), known, fs.ukey(one), info.get("size") or 0,
                () if one == path else _partition(one, path), stamp=stamp_of(info),
            )
        )  # fmt: skip
    return found


def _info(fs: Any, path: str) -> Any:
    """What the file system says of a file. InputError for anything but a file: reading a pipe would
    wait for ever, and a device has no end."""
    try:
        info = fs.info(path)
    except OSError as error:  # a link to nothing, or to itself
        raise InputError(f"input: {path} cannot be read: {first_line(error)}") from error
    if info.get("type", "file") != "file":
        raise InputError(
            f"input: {path} is a pipe, a socket or a device; remove it, or name the list's files"
        )
    return info


def _partition(path: str, folder: str) -> tuple[tuple[str, str | None], ...]:
    """What the folders below `folder`, or below a pattern's fixed part, say of all their rows."""
    root = folder if path.startswith(f"{folder.rstrip('/')}/") else _SIGN.split(folder)[0]
    folders = path.removeprefix(root.rpartition("/")[0] if root != folder else root).split("/")[:-1]
    pairs = [match.groups() for name in folders if (match := _HIVE.fullmatch(name))]
    return tuple((unquote(k), None if v == _HIVE_NULL else unquote(v)) for k, v in pairs)


def _paths(fs: Any, path: str, url: str, wanted: str) -> list[str]:
    if fs.isdir(path):
        paths = _in_folder(fs, path, wanted)
        if not paths:
            what = "pictures" if wanted == "imagefolder" else f"{wanted.upper()} file"
            what = what if wanted != "auto" else "CSV, TSV, JSON lines, Parquet, tar or picture"
            raise InputError(f"input: no {what} in {url}; name the file, or another folder")
        return paths
    if fs.exists(path):
        return [path]
    if any(sign in path for sign in "*?["):
        paths = sorted(p for p in fs.glob(path) if not fs.isdir(p))
        if not paths:
            raise InputError(f"input: nothing matches {url}; check the folder and the pattern")
        return paths
    near = difflib.get_close_matches(path.rsplit("/", 1)[-1], _siblings(fs, path), n=1)
    hint = f"did you mean {near[0]}?" if near else "check the path"
    raise InputError(f"input: {url} does not exist; {hint}")


def _in_folder(fs: Any, path: str, wanted: str) -> list[str]:
    """The list's files in a folder; the folder itself if that holds nothing but pictures."""
    files = [p for p in sorted(fs.find(path)) if not _is_hidden(p, path)]
    if wanted == "imagefolder":
        return [path] if picture_files(files) else []
    kinds = {wanted} if wanted != "auto" else set(EXTENSIONS.values())
    kinds |= {"json", "jsonl"} if kinds & {"json", "jsonl"} else set()
    files = without_side_files(files)
    lists = [p for p in files if _format_of(p) in kinds and not _NO_LISTS.search(_file(p))]
    if wanted == "auto":
        tars = [p for p in lists if _format_of(p) == "webdataset"]
        # Beside tars lie tables of the same rows, without the pictures.
        return tars or lists or ([path] if picture_files(files) else [])
    return lists


def _siblings(fs: Any, path: str) -> list[str]:
    parent = path.rpartition("/")[0]
    if not fs.isdir(parent):
        return []
    return [p.rstrip("/").rsplit("/", 1)[-1] for p in fs.ls(parent, detail=False)]


def _is_hidden(path: str, folder: str) -> bool:
    """Whether a name below the folder starts with `.` or `_`, which Hive and Arrow skip too."""
    below = path[len(folder.rstrip("/")) :].strip("/")
    return any(name.startswith((".", "_")) for name in below.split("/"))


def _file(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _format_of(path: str) -> str | None:
    name = path.lower().replace(".tgz", ".tar")
    for packed in COMPRESSIONS:
        name = name.removesuffix(packed)
    return next((kind for ending, kind in EXTENSIONS.items() if name.endswith(ending)), None)
