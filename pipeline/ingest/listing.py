"""Finds the input list: its files, and which of their columns hold URL and caption."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec

from pipeline.config.job import Job
from pipeline.words.errors import InputError

EXTENSIONS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
PACKED = (".gz", ".gzip")
URL_NAMES = ("url", "URL")
CAPTION_NAMES = ("caption", "text", "TEXT", "alt")
_SHOWN = 20


@dataclass(frozen=True)
class Source:
    """One file of the list."""

    url: str
    format: str
    key: str
    """A text that changes when the file does."""
    size: int
    """Bytes, as stored."""

    def open(self) -> Any:
        if self.format == "parquet":
            return fsspec.open(self.url, "rb").open()
        return fsspec.open(self.url, "rb", compression="infer").open()


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
        known = wanted if wanted != "auto" else _format_of(one)
        if known is None:
            raise InputError(
                f"input: cannot tell the format of {one} by its name; set `input_format` to csv, "
                "tsv, jsonl or parquet"
            )
        found.append(Source(fs.unstrip_protocol(one), known, fs.ukey(one), fs.size(one) or 0))
    return found


def _paths(fs: Any, path: str, url: str, wanted: str) -> list[str]:
    if fs.isdir(path):
        kinds = {wanted} if wanted != "auto" else set(EXTENSIONS.values())
        paths = [p for p in sorted(fs.find(path)) if _format_of(p) in kinds]
        paths = [p for p in paths if not _is_hidden(p, path)]
        if not paths:
            what = wanted.upper() if wanted != "auto" else "CSV, TSV, JSON lines or Parquet"
            raise InputError(f"input: no {what} file in {url}; name the file, or another folder")
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


def _siblings(fs: Any, path: str) -> list[str]:
    parent = path.rpartition("/")[0]
    if not fs.isdir(parent):
        return []
    return [p.rstrip("/").rsplit("/", 1)[-1] for p in fs.ls(parent, detail=False)]


def _is_hidden(path: str, folder: str) -> bool:
    """Whether a name below the folder starts with `.` or `_`, which Hive and Arrow skip too."""
    below = path[len(folder.rstrip("/")) :].strip("/")
    return any(name.startswith((".", "_")) for name in below.split("/"))


def _format_of(path: str) -> str | None:
    name = path.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return next((kind for ending, kind in EXTENSIONS.items() if name.endswith(ending)), None)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def find_column(
    names: Iterable[str],
    wanted: str | None,
    usual: Sequence[str],
    what: str,
    place: str = "input",
) -> str:
    """The column that holds `what`. InputError names those found and the nearest name."""
    names = list(names)
    if wanted is not None:
        if wanted in names:
            return wanted
        near = difflib.get_close_matches(wanted, names, n=1)
    else:
        for name in usual:
            if name in names:
                return name
        near = _like(names, usual, what)
    hint = f"; is it `{near[0]}`? Then set `columns.{what}: {near[0]}`" if near else ""
    if any("://" in name for name in names):
        hint = "; is the header line missing?"
    expected = wanted or " or ".join(f"`{name}`" for name in usual)
    shown = ", ".join(name if len(name) <= 60 else f"{name[:57]}…" for name in names[:_SHOWN])
    more = ", …" if len(names) > _SHOWN else ""
    raise InputError(f"{place}: no {what} column ({expected}); the columns are {shown}{more}{hint}")


def _like(names: list[str], usual: Sequence[str], what: str) -> list[str]:
    lower = {name.lower(): name for name in names}
    near = [
        lower[match]
        for name in usual
        for match in difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    ]
    return near + [name for name in names if what in name.lower()]
