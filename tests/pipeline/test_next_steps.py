"""What a user is told to do about a process that ran out of memory."""

import functools

import pytest

from pipeline.config.job import Job
from pipeline.config.sections import ClusterConfig
from pipeline.engine.dispatch import BATCHES, Dispatcher, PendingTask
from pipeline.engine.plan import Plan
from pipeline.measure.registry import registered
from pipeline.table.run import Run
from pipeline.words.errors import DiedError

MEMORY = DiedError("memory: 9 MiB held, the worker's limit is 9 MiB", True)


@pytest.mark.parametrize(
    ("cluster", "names", "steps"),
    [
        (
            {},
            ("embed", "images"),
            "; start fewer compute workers (`cluster.compute_workers`), or give them more memory "
            "(`cluster.memory_limit`), or lower `embed.batch_size`",
        ),
        (
            {"scheduler": "tcp://127.0.0.1:9"},
            ("toxicity",),
            "; give its workers more memory (`dask worker --memory-limit`), or lower "
            "`captions.toxicity.batch_size`",
        ),
        ({"executor": "inline"}, ("dedup",), "; free memory on this machine"),
    ],
)
def test_the_next_step_fits_the_job(tmp_path, cluster, names, steps):
    job = Job(input="pairs.parquet", cluster=ClusterConfig(**cluster))
    plan = Plan(Run(str(tmp_path)), job, (), {})
    dispatcher = Dispatcher(plan, None, {}, None, {})
    assert dispatcher._next_step(PendingTask(names, 3), MEMORY) == steps
    assert dispatcher._next_step(PendingTask(names, 3), DiedError("exit code 1", False)) == ""
    dispatcher.close()


def test_keys_that_are_named_exist():
    for stage, key in BATCHES.items():
        assert stage in registered()
        sections = {"captions": {"toxicity": {}}, "embed": {"model": "ViT-B-32"}}
        job = Job(input="pairs.parquet", **sections)
        assert functools.reduce(getattr, key.split("."), job) > 0
