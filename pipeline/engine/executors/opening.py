"""The executor that a job asks for."""

import contextlib
from collections.abc import Iterator

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors.base import Executor
from pipeline.words.threads import worker_threads


@contextlib.contextmanager
def open_executor(config: ClusterConfig, light: bool = False) -> Iterator[Executor]:
    """Start the executor; at the end of the block pending tasks are cancelled.

    `light` work takes less time than starting a local cluster, so `executor: auto` runs it in
    threads of this process.

    InputError if the scheduler does not answer; ClusterLostError if a local worker does not start.
    """
    with contextlib.ExitStack() as stack:
        executor: Executor
        here = config.executor == "auto" and config.scheduler is None and light
        if config.executor == "inline" or here:
            from pipeline.engine.executors.inline import InlineExecutor

            executor = InlineExecutor(worker_threads() if here else 1)
        else:
            from pipeline.engine.executors.dask import open_dask

            executor = stack.enter_context(open_dask(config))
        stack.callback(executor.cancel)
        yield executor
