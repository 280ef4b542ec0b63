"""What a user is told to do about a process that ran out of memory."""

import functools

import pytest

from pipeline.config.job import Job
from pipeline.config.sections import ClusterConfig
from pipeline.engine.remedies import BATCHES, for_memory
from pipeline.measure.registry import registered


@pytest.mark.parametrize(
    ("cluster", "names", "steps"),
    [
        (
            {},
            ("embed", "images"),
            "start fewer compute workers (`cluster.compute_workers`), or give them more memory "
            "(`cluster.memory_limit`), or lower `embed.batch_size`",
        ),
        (
            {"scheduler": "tcp://127.0.0.1:9"},
            ("toxicity",),
            "give its workers more memory (`dask worker --memory-limit`), or lower "
            "`captions.toxicity.batch_size`",
        ),
        ({"executor": "inline"}, ("dedup",), "free memory on this machine"),
    ],
)
def test_the_next_step_fits_the_job(cluster, names, steps):
    assert for_memory(names, ClusterConfig(**cluster)) == steps


def test_keys_that_are_named_exist():
    for stage, key in BATCHES.items():
        assert stage in registered()
        sections = {"captions": {"toxicity": {}}, "embed": {"model": "ViT-B-32"}}
        job = Job(input="pairs.parquet", **sections)
        assert functools.reduce(getattr, key.split("."), job) > 0
