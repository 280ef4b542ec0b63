"""All stages of a job: those that measure, and `decide`, which judges."""

from collections.abc import Mapping

import pyarrow as pa

from pipeline.config.job import Job
from pipeline.judge.decide import DecideStage
from pipeline.measure.registry import measuring
from pipeline.measure.stage import Stage


def stages_for(job: Job, shard_schema: Mapping[str, pa.DataType]) -> list[Stage]:
    """The job's stages in an order in which each reads only columns made before it.

    `shard_schema` names the columns of a shard, passthrough ones included. InputError for a rule
    that reads a column which no stage of the job makes, and for an unknown measurement.
    """
    found = measuring(job, shard_schema)
    schema = dict(shard_schema) | {c.name: c.type for stage in found for c in stage.writes}
    return [*found, DecideStage(job, schema)]
