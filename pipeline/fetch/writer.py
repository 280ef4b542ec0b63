"""Where fetched pictures go: the sample writer that img2dataset calls, and the tar made of it."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.fetch.opt_outs import OptOuts
from pipeline.fetch.resizer import Facts, Picture
from pipeline.words.failure import split_message


@dataclass(frozen=True)
class Fetched:
    """The result for one URL: `reason` is null on success."""

    reason: str | None
    message: str | None
    facts: Facts | None = None
    span: tuple[int, int] | None = None
    """Offset and length of the JPEG in the spool."""
    opt_outs: OptOuts = field(default_factory=OptOuts)


class Spool:
    """Collects one shard's results in any order, the JPEGs in a file, to be read by row.

    The file is in `folder`, and is removed by `close`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Without a buffer, so that a full disk is noticed by the picture that it has no room for.
        self._file = (folder / "spool").open("w+b", buffering=0)
        self._end = 0
        self.broken: OSError | None = None
        """The first error of the disk; nothing is written after it."""
        self.results: dict[int, Fetched] = {}
        self.held_back = 0.0
        """Seconds, over all threads, for which the job's own limits held requests back."""

    def add(self, key: int, jpeg: Picture) -> None:
        if self.broken is not None:
            return
        try:
            written = 0
            while written < len(jpeg):
                written += self._file.write(jpeg[written:]) or 0
        except OSError as error:
            # img2dataset would print it and lose the row, and then ask for the next one.
            self.broken = error
            return
        self.results[key] = Fetched(None, None, jpeg.facts, (self._end, len(jpeg)))
        self._end += len(jpeg)

    def read(self, span: tuple[int, int]) -> bytes:
        self._file.seek(span[0])
        return self._file.read(span[1])

    def write_tar(self, path: Path, members: Iterable[tuple[str, tuple[int, int]]]) -> None:
        """A plain ustar of the named spans, in the order given, the same bytes every time."""
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, span in members:
                info = tarfile.TarInfo(name)
                info.size = span[1]
                tar.addfile(info, io.BytesIO(self.read(span)))

    def close(self) -> None:
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SampleWriter:
    """img2dataset's sample writer: gets every row, kept or failed, and maps its keys back."""

    def __init__(self, spool: Spool, *_img2dataset: Any) -> None:
        self._spool = spool

    def write(self, img: Any, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        row = int(key)
        message = meta["error_message"]
        if isinstance(img, Picture):
            self._spool.add(row, img)
            return
        reason, detail = split_message(str(message))
        facts = getattr(message, "facts", None)
        self._spool.results[row] = Fetched(reason, detail, facts)

    def close(self) -> None:
        """Every row has been written already; the spool stays open for the stage."""
