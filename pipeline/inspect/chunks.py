"""A run's samples chunk by chunk, so that any number of rows is counted on all cores in little
memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb

from pipeline.engine.parts import Parts, index_of
from pipeline.inspect.alignment import aligned_parts
from pipeline.inspect.view import connect
from pipeline.table.run import Run
from pipeline.words.heartbeat import beat
from pipeline.words.threads import worker_threads

ROWS = 250_000
"""Rows of a chunk whose columns are all held, unless one shard has more."""

T = TypeVar("T")


def first_shards(run: Run, rows: int) -> list[int]:
    """The first shards that have `rows` rows together, or all. Rows are dealt to shards by their
    uid, so these are a fair sample."""
    return next(_chunks(run, rows), [])


def each_chunk(
    run: Run,
    parts: Sequence[Parts],
    count: Callable[[duckdb.DuckDBPyConnection], T],
    rows: int | None = None,
) -> Iterator[T]:
    """`count` of each chunk of shards, in their order; several run at once, in threads.

    Its database holds the chunk's rows: see `connect`, of which all SQL must be `own`. A chunk has
    at least `rows` rows (default `ROWS`).
    """
    chunks = list(_chunks(run, rows or ROWS))
    workers = max(1, min(worker_threads(), len(chunks)))

    def one(shards: list[int]) -> T:
        # With one thread the rows come in their order, so that the same files give the same counts.
        aligned = aligned_parts(run, parts, shards)
        with connect(run, shards, parts, own=True, threads=1, aligned=aligned) as db:
            counted = count(db)
        beat()
        return counted

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(one, chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(run: Run, rows: int) -> Iterator[list[int]]:
    chunk: list[int] = []
    held = 0
    for shard, (own, _) in enumerate(index_of(run).shards):
        chunk.append(shard)
        held += own
        if held >= rows:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
