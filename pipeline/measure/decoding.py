"""One reading and decoding of a shard's tar for every picture stage that is stale."""

import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.measure.stage import Output, PictureStage, Session
from pipeline.table.shard import ShardData
from pipeline.words.errors import PartError
from pipeline.words.heartbeat import beat
from pipeline.words.threads import worker_threads

Decoded = tuple[int, dict[str, Any]]
"""A row and, by stage, what its `prepare` made of the picture."""


def measure_pictures(
    shard: ShardData,
    stages: list[PictureStage],
    rows: Mapping[str, npt.NDArray[np.bool_]],
    scratch: Path,
) -> dict[str, Output]:
    """Run picture stages over a shard; `rows` marks per stage the rows to measure.

    PartError if a picture is missing from the tar. ValueError for a stored picture that does not
    decode: winnow wrote it, so this is a disk error or a bug.
    """
    sinks = {stage.name: _Sink(stage, shard, rows[stage.name]) for stage in stages}
    # A stage without pictures to measure loads no model.
    busy = {name: sink for name, sink in sinks.items() if sink.expected}
    sessions = {name: sink.open() for name, sink in busy.items()}
    wanted = {name: rows[name] for name in busy}
    if busy:
        with shard.file("download", "tar") as path, ThreadPoolExecutor(worker_threads()) as pool:
            for row, prepared in _decode(path, pool, sessions, wanted):
                for name, item in prepared.items():
                    sinks[name].add(row, item)
    return {name: sink.finish(scratch) for name, sink in sinks.items()}


def _decode(
    path: Path,
    pool: ThreadPoolExecutor,
    sessions: Mapping[str, Session],
    rows: Mapping[str, npt.NDArray[np.bool_]],
) -> Iterator[Decoded]:
    """Pictures in row order; at most 64 are decoded ahead of the models."""
    import cv2

    # OpenCV's threads would compete with the models' for the cores.
    cv2.setNumThreads(1)

    def work(row: int, data: bytes) -> Decoded:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise ValueError(f"row {row}: the stored picture does not decode")
        rgb: npt.NDArray[np.uint8] = np.ascontiguousarray(bgr[:, :, ::-1], np.uint8)
        return row, {n: s.prepare(rgb) for n, s in sessions.items() if rows[n][row]}

    ahead: list[Future[Decoded]] = []
    with tarfile.open(path, "r|") as tar:
        for member in tar:
            row = int(member.name.split(".")[0])
            handle = tar.extractfile(member)
            if handle is None or not any(mask[row] for mask in rows.values()):
                continue
            ahead.append(pool.submit(work, row, handle.read()))
            if len(ahead) > 64:
                yield ahead.pop(0).result()
    for future in ahead:
        yield future.result()


class _Sink:
    """Collects a stage's batches and its columns over the whole shard."""

    def __init__(
        self,
        stage: PictureStage,
        shard: ShardData,
        wanted: npt.NDArray[np.bool_],
    ) -> None:
        self._stage = stage
        self._session: Session | None = None
        self._place = f"{stage.name}, shard {shard.name}"
        fetched = pc.equal(shard.table("status")["status"], "success")
        self.expected = int((wanted & fetched.to_numpy(zero_copy_only=False)).sum())
        self._table = shard.table(*stage.reads)
        self._columns: dict[str, list[Any]] = {
            column.name: [None] * self._table.num_rows for column in stage.writes
        }
        self._arrays: dict[str, npt.NDArray[np.float16]] = {}
        self._rows: list[int] = []
        self._items: list[Any] = []
        self._measured = 0

    def open(self) -> Session:
        """Load the models."""
        self._session = self._stage.session()
        return self._session

    def add(self, row: int, item: Any) -> None:
        self._rows.append(row)
        self._items.append(item)
        if len(self._rows) == self._stage.batch:
            self._flush()

    def _flush(self) -> None:
        assert self._session is not None
        measured = self._session.measure(self._items, self._table.take(self._rows))
        for name, values in measured.columns.items():
            for row, value in zip(self._rows, values, strict=True):
                self._columns[name][row] = value
        for name, values in measured.arrays.items():
            if name not in self._arrays:
                shape = (self._table.num_rows, values.shape[1])
                self._arrays[name] = np.zeros(shape, np.float16)
            self._arrays[name][self._rows] = values
        beat()
        self._measured += len(self._rows)
        self._rows, self._items = [], []

    def finish(self, scratch: Path) -> Output:
        if self._rows:
            self._flush()
        if self._measured != self.expected:
            raise PartError(
                f"{self._place}: expected {self.expected} pictures, the tar has {self._measured}"
            )
        files = {}
        for name in self._stage.arrays:
            path = Path(tempfile.mkdtemp(dir=scratch)) / f"{name}.npy"
            array = self._arrays.get(name, np.zeros((self._table.num_rows, 0), np.float16))
            np.save(path, array, allow_pickle=False)
            files[f"{name}.npy"] = path
        types = {column.name: column.type for column in self._stage.writes}
        columns = {name: pa.array(v, types[name]) for name, v in self._columns.items()}
        table = pa.table({"uid": self._table["uid"], **columns})
        facts: dict[str, Any] = getattr(self._session, "facts", dict)()
        return Output(table, files, {"measured": self._measured, **facts})
