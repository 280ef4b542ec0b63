"""The run folder: its files, its lock against a second writer, and the index of its shards."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from pipeline.table.disk import mark_of
from pipeline.table.lease import Lease, is_locked
from pipeline.table.links import append_to, check_links
from pipeline.table.parquet import read_parquet
from pipeline.table.part import shard_name
from pipeline.table.sealed import seal, unseal
from pipeline.table.storage import Folder
from pipeline.words.errors import DamagedError, InputError

FORMAT = 3
"""Version of the run folder's layout; raised when folders of earlier versions cannot be used."""


JOB_SUM = "job_yaml"
"""The key of `resolved.json` with the sha256 of `job.yaml`."""
NOT_SETTINGS = ("job_file", "format", JOB_SUM)
"""Keys of `resolved.json` that are not the job's."""


class Dealt(NamedTuple):
    """A shard: `digest` covers its rows, `bytes` and `sha256` are those of its file or unknown."""

    rows: int
    digest: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class ShardIndex:
    """`shards/index.json`: what the list consisted of, and every shard's rows and digest."""

    fingerprint: str
    """sha256 over how the list was read and dealt."""
    inputs: dict[str, str]
    """The list's files by URL, each with a text that changes when the file does."""
    rows_in: int
    shards: tuple[tuple[int, str], ...]
    """Rows of each shard, and the digest of their content."""
    passthrough: dict[str, str] = field(default_factory=dict)
    """Column of the shards -> column of the list."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Digest of what added rows must have in common with the shards that exist."""
    seconds: float = field(default=0.0, compare=False)
    peak_memory_mb: float = field(default=0.0, compare=False)
    files: tuple[tuple[int, str], ...] = field(default=(), compare=False)
    """Bytes and sha256 of each shard's file; empty if an earlier version wrote the index."""

    @property
    def policy(self) -> None:
        """Always None: shards have no settings of this kind; see `freshness.Expected`."""
        return None

    def __len__(self) -> int:
        return len(self.shards)

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.shards)

    @property
    def dealt(self) -> list[Dealt]:
        """Each shard with what is known of its file."""
        files = self.files or [(None, None)] * len(self.shards)
        return [Dealt(*shard, *file) for shard, file in zip(self.shards, files, strict=True)]

    def with_dealt(self, dealt: Sequence[Dealt]) -> "ShardIndex":
        """The same index with these shards."""
        known = [(one.bytes, one.sha256) for one in dealt if one.bytes and one.sha256]
        return replace(
            self,
            shards=tuple((one.rows, one.digest) for one in dealt),
            files=tuple(known) if len(known) == len(dealt) else (),
        )

    def encode(self) -> bytes:
        return seal(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> "ShardIndex":
        values = unseal(data)
        values["shards"] = tuple((int(rows), str(digest)) for rows, digest in values["shards"])
        values["files"] = tuple((int(size), str(sum_)) for size, sum_ in values.get("files", ()))
        return cls(**values)


class Run:
    """One run folder, `output/name`."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.folder = Folder(url)
        self._lock: IO[str] | None = None
        self._lease: Lease | None = None
        self._sums: tuple[Any, list[str | None]] | None = None

    def __reduce__(self) -> tuple[type["Run"], tuple[str]]:
        return (Run, (self.folder.url,))

    def check_format(self) -> None:
        """InputError if the folder was written in another format than this winnow's."""
        if (found := int(self.job.get("format", 1))) != FORMAT:
            raise InputError(
                f"{self.folder.url} was written in format {found} of the run folder, this winnow "
                f"reads format {FORMAT}; nothing in it was touched: read it with the winnow that "
                "wrote it, or start the job under another `name` or `output`"
            )

    @classmethod
    def open(cls, url: str | os.PathLike[str]) -> "Run":
        """A run that exists; InputError names what is missing."""
        run = cls(url)
        run.check_there(str(url))
        return run

    def check_there(self, url: str | None = None) -> None:
        """InputError if this is no run folder, or one of another format; `url` is its name in the
        message, as the user gave it."""
        folder, url = self.folder, url or self.folder.url
        if not folder.exists("resolved.json"):
            near = [n for n in folder.names() if folder.exists(f"{n}/resolved.json")]
            hint = (
                f"did you mean {url}/{near[0]}?" if near else "start one with `winnow run JOB.yaml`"
            )
            raise InputError(f"{url} is not a run folder (no resolved.json); {hint}")
        self.check_format()

    @property
    def index(self) -> ShardIndex | None:
        try:
            return ShardIndex.decode(self.folder.read("shards/index.json"))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            return None  # with a broken index the list is dealt again

    def sum_of_shard(self, shard: int) -> str | None:
        """sha256 of a shard's file as it is on record; None if it is not.

        The index is read again only after it has changed: with many shards it is large.
        """
        path = self.folder.path("shards/index.json")
        try:
            key = mark_of(Path(path)) if self.folder.is_local else None
        except FileNotFoundError:
            return None
        if key is None or self._sums is None or self._sums[0] != key:
            index = self.index
            self._sums = (key, [one.sha256 for one in index.dealt] if index else [])
        sums = self._sums[1]
        return sums[shard] if shard < len(sums) else None

    def write_job(self, resolved: dict[str, Any]) -> None:
        """Write `resolved.json`, and forget the `job` that was read from it before."""
        self.folder.write("resolved.json", seal(resolved))
        self.__dict__.pop("job", None)

    @cached_property
    def job(self) -> dict[str, Any]:
        """The resolved job as it was written at the start of the last run. DamagedError.

        Its checksum is not compared, because who moves a run folder may change paths in it.
        """
        return self._values("resolved.json", strict=False)

    @property
    def state(self) -> dict[str, Any]:
        """Fingerprints of the last run's stages, `state.json`. DamagedError."""
        try:
            return self._values("state.json")
        except FileNotFoundError:
            return {}

    def _values(self, name: str, *, strict: bool = True) -> dict[str, Any]:
        try:
            return unseal(self.folder.read(name), strict=strict)
        except ValueError:
            raise DamagedError(
                f"{self.folder.path(name)} was cut or changed from outside; "
                "`winnow run JOB.yaml` writes it anew"
            ) from None

    def shard(self, shard: int, columns: list[str] | None = None) -> pa.Table:
        return read_parquet(self.folder, f"shards/{shard_name(shard)}.parquet", columns)

    def lock(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Lock out other drivers until `unlock` or the end of this process, however it ends.

        InputError if another driver holds the lock or the folder cannot be written to. On an object
        store it is a lease, and `say` gets what there is to wait for (`pipeline.table.lease`).
        """
        if not self.folder.is_local:
            self._lease = Lease.acquire(self.folder.objects, self.folder.url, say)
            return
        path = Path(self.folder.path(".lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            check_links(path.parent)
            handle = append_to(path)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            handle.close()
            raise is_locked(self.folder.url, f"process {owner}") from None
        try:
            os.ftruncate(handle.fileno(), 0)
            os.write(handle.fileno(), str(os.getpid()).encode())
        except OSError as error:
            handle.close()
            raise self._unwritable(error) from error
        self._lock = handle

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{self.folder.url} cannot be written to: {error.strerror}; "
            "repair that, or give the job another `output`"
        )

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the `lock` during a block."""
        self.lock(say)
        try:
            yield
        finally:
            self.unlock()

    def check_lock(self) -> None:
        """StoppedError if another driver has taken over a lease meanwhile."""
        if self._lease is not None:
            self._lease.check()

    def unlock(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None
            self.folder.objects.guard = lambda: None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
