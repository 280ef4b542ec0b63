"""Reads a folder of pictures whose captions lie beside them, in files of the same name."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import fsspec

from pipeline.ingest.samples import LONGEST, PICTURES, SIDE_FILES, Sample, sample_row
from pipeline.ingest.source import Source
from pipeline.table.part import digest_of
from pipeline.table.places import Place, read_place
from pipeline.table.stored import InFolder, stamp_of
from pipeline.words.failure import FetchError


def picture_files(paths: Collection[str]) -> list[str]:
    """Those of the paths that are pictures by their names."""
    return [path for path in paths if _kind(path) in PICTURES]


def without_side_files(paths: Collection[str]) -> list[str]:
    """The paths but for those that lie beside a picture and have its name."""
    stems = {_stem(path) for path in picture_files(paths)}
    return [path for path in paths if _stem(path) not in stems or _kind(path) not in SIDE_FILES]


def folder_source(fs: Any, folder: str, infos: Mapping[str, Mapping[str, Any]]) -> Source:
    """The folder as one file of the list; `infos` are those of its files, by path."""
    key = digest_of([[path, stamp_of(info)] for path, info in infos.items()])
    size = sum(int(info.get("size") or 0) for info in infos.values())
    return Source(fs.unstrip_protocol(folder.rstrip("/")), "imagefolder", key, size)


def read_folder(source: Source) -> Iterator[Sample | str]:
    """A row for each picture, in the order of their paths; or a text that names one whose side
    files cannot be read."""
    fs, folder = fsspec.core.url_to_fs(source.url)
    infos = fs.find(folder, detail=True)
    pictures = picture_files(sorted(infos))
    sides: dict[str, dict[str, str]] = {}
    for path in infos:
        if _kind(path) in SIDE_FILES:
            sides.setdefault(_stem(path), {})[_kind(path)] = path[len(folder.rstrip("/")) + 1 :]
    for path in pictures:
        name = path[len(folder.rstrip("/")) + 1 :]
        if any(part.startswith((".", "_")) for part in name.split("/")):
            continue
        beside = sides.get(_stem(path), {})
        address = fs.unstrip_protocol(path)
        try:
            places = {kind: Place(source.url, side) for kind, side in beside.items()}
            files = {kind: read_place(at, LONGEST) for kind, at in places.items()}
            row = sample_row(files)
        except FetchError:  # a link out of the folder, a pipe, a file beyond all measure
            row = None
        if row is None:
            yield f"{address}: its side files cannot be read"
        else:
            place = InFolder(source.url, name, stamp_of(infos[path]))
            yield Sample(row, str(place), address, sum(map(len, files.values())))


def _kind(path: str) -> str:
    return path.rsplit("/", 1)[-1].rpartition(".")[2].lower()


def _stem(path: str) -> str:
    return path.rpartition(".")[0]
