"""Reads the samples of a WebDataset tar without its pictures, but with the place of each."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pipeline.ingest.samples import LONGEST, PICTURES, SIDE_FILES, Sample, sample_row
from pipeline.ingest.source import Source
from pipeline.table.stored import InTar, Nowhere
from pipeline.words.errors import InputError

_BLOCK = tarfile.BLOCKSIZE
_HEADER = 1 << 20
"""Bytes of a header's extension, such as a long name."""
_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE,
               tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)  # fmt: skip


class _Header(tarfile.TarInfo):
    """A header whose extensions are bounded; tarfile reads them into memory whatever their size."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.type in _EXTENSIONS and self.size > _HEADER:
            raise tarfile.ReadError(
                f"the header at byte {self.offset:,} has {self.size:,} bytes, of at most "
                f"{_HEADER:,}"
            )
        return super()._proc_member(tar)  # type: ignore[misc]


@dataclass
class _Sample:
    key: str
    name: str
    """Its name in the pictures' addresses."""
    files: dict[str, bytes] = field(default_factory=dict)
    pictures: dict[str, InTar] = field(default_factory=dict)
    oversize: bool = False

    def has(self, kind: str) -> bool:
        return kind in self.files or kind in self.pictures


def read_tar(source: Source) -> Iterator[Sample | str]:
    """A row for each sample, or a text that names one whose side files cannot be read.

    Members that follow each other and have the same name up to its first dot are one sample, as in
    WebDataset. InputError if the tar is cut or damaged.
    """
    sample: _Sample | None = None
    seen: set[str] = set()
    with source.open() as handle:
        for member, tar in _members(source, handle):
            folder, slash, name = member.name.rpartition("/")
            stem, _, kind = name.partition(".")
            if not stem or (stem.startswith("__") and stem.endswith("__")):
                continue  # hidden files, and WebDataset's own `__…__`
            key, kind = f"{folder}{slash}{stem}", kind.lower()
            if sample is None or sample.key != key or sample.has(kind):
                if sample is not None:
                    yield _row(source, sample)
                # A key that comes again is another sample, so it needs another address.
                sample = _Sample(key, f"{key}@{member.offset}" if key in seen else key)
                seen.add(key)
            if kind.rpartition(".")[2] in PICTURES:
                sample.pictures[kind] = InTar(
                    source.url, member.offset_data, member.size, source.stamp
                )
            elif kind in SIDE_FILES and member.size > LONGEST:
                sample.oversize = True
            elif kind in SIDE_FILES:
                data = tar.extractfile(member)
                sample.files[kind] = data.read() if data is not None else b""
    if sample is not None:
        yield _row(source, sample)


def _row(source: Source, sample: _Sample) -> Sample | str:
    address = f"{source.url}#{sample.name}"
    row = None if sample.oversize else sample_row(sample.files)
    if row is None:
        return f"{address}: its side files cannot be read"
    kind = next((kind for kind in (*PICTURES, *sample.pictures) if kind in sample.pictures), None)
    place = sample.pictures[kind] if kind is not None else Nowhere(source.url, source.stamp)
    size = sum(map(len, sample.files.values()))
    return Sample(row, str(place), address + (f".{kind}" if kind else ""), size)


def _members(source: Source, handle: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """The regular files, also those of tars that were appended to this one byte by byte."""
    start, size = 0, handle.seek(0, io.SEEK_END)
    while True:
        handle.seek(start)
        try:
            with tarfile.open(fileobj=handle, mode="r:", tarinfo=_Header) as tar:
                last = start - 1
                for member in tar:
                    # A header may say anything, also what leads tarfile back to an earlier one.
                    if not last < member.offset or member.size < 0:
                        raise tarfile.ReadError(f"broken header at byte {member.offset:,}")
                    if not member.issparse() and member.offset_data + member.size > size:
                        raise tarfile.ReadError(f"it ends within {member.name!a}")
                    last = member.offset
                    if member.isreg() and not member.issparse():
                        yield member, tar
                    kept: Any = tar
                    kept.members = []  # tarfile keeps every member otherwise
                end = tar.offset
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise InputError(f"input: {source.url} is no whole tar: {error}") from error
        following = _after_end(source, handle, end)
        if following is None:
            return
        start = following


def _after_end(source: Source, handle: BinaryIO, end: int) -> int | None:
    """Where another tar begins after the zeros that end one; None at the end of the file.

    tarfile takes any header that it cannot read for the end, which would lose the rows after it.
    """
    handle.seek(end)
    place, seen = end, False
    while block := handle.read(_BLOCK):
        if block.strip(b"\0"):
            if seen:
                return place
            raise InputError(
                f"input: {source.url} is no whole tar: what stands at byte {place:,} is no header"
            )
        seen, place = True, place + len(block)
    return None
