"""The executor that a job asks for."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

from pipeline.config.sections import ClusterConfig
from pipeline.engine.executors.base import Executor
from pipeline.words.errors import GOES_ON, ClusterLostError, InputError
from pipeline.words.threads import worker_threads


@contextlib.contextmanager
def open_executor(
    config: ClusterConfig,
    light: bool = False,
    *,
    say: Callable[[str], None],
    packages: Iterable[str] = (),
) -> Iterator[Executor]:
    """Start the executor; at the end of the block pending tasks are cancelled.

    `say` is called with lines for the user: what is waited for, which task was taken back.

    `light` work takes less time than starting a local cluster, so `executor: auto` runs it in
    threads of this process. `packages` must have the same versions on all workers.

    ClusterLostError if the scheduler can no longer be used, no worker joins, or a local one does
    not start.
    """
    with contextlib.ExitStack() as stack:
        executor: Executor
        here = config.executor == "auto" and config.scheduler is None and light
        if config.executor == "inline" or here:
            from pipeline.engine.executors.inline import InlineExecutor

            executor = InlineExecutor(worker_threads() if here else 1)
        else:
            from pipeline.engine.executors.dask import open_dask

            try:
                executor = stack.enter_context(open_dask(config, say, packages))
            except InputError as error:  # it could be used when `asked_scheduler` asked
                raise ClusterLostError(f"{error}; {GOES_ON}") from error
        stack.callback(executor.cancel)
        yield executor


@contextlib.contextmanager
def asked_scheduler(
    config: ClusterConfig, *, say: Callable[[str], None], packages: Iterable[str]
) -> Iterator[None]:
    """Before any work: InputError if the job names a scheduler and it, or a worker that is there,
    cannot be used. Workers that join within the block and cannot be used are refused."""
    if config.scheduler is None:
        yield
        return
    from pipeline.engine.executors.dask import ask_scheduler

    with ask_scheduler(config, say, packages):
        yield
