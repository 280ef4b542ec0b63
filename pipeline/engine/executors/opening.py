"""The executor that a job asks for."""

import contextlib
from collections.abc import Callable, Iterator

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors.base import Executor
from pipeline.words.threads import worker_threads


@contextlib.contextmanager
def open_executor(
    config: ClusterConfig, light: bool = False, *, say: Callable[[str], None]
) -> Iterator[Executor]:
    """Start the executor; at the end of the block pending tasks are cancelled.

    `say` is called with lines for the user: what is waited for, which task was taken back.

    `light` work takes less time than starting a local cluster, so `executor: auto` runs it in
    threads of this process.

    InputError if no scheduler like this one answers; ClusterLostError if no worker joins, or a
    local one does not start.
    """
    with contextlib.ExitStack() as stack:
        executor: Executor
        here = config.executor == "auto" and config.scheduler is None and light
        if config.executor == "inline" or here:
            from pipeline.engine.executors.inline import InlineExecutor

            executor = InlineExecutor(worker_threads() if here else 1)
        else:
            from pipeline.engine.executors.dask import open_dask

            executor = stack.enter_context(open_dask(config, say))
        stack.callback(executor.cancel)
        yield executor
