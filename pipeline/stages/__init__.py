"""The stages, in order. A new measurement is one file here and one line in `stages_for`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pipeline.config.job import Job
    from pipeline.stage import Stage


def stages_for(job: "Job", shard_schema: Mapping[str, pa.DataType]) -> list["Stage"]:
    """The job's stages in an order in which each reads only what stands.

    `shard_schema` names the columns of a shard, passthrough ones included. InputError for a rule
    or `only_if` that no stage of the job can answer.
    """
    from pipeline.stages.captions import CaptionsStage
    from pipeline.stages.decide import DecideStage
    from pipeline.stages.dedup import DedupStage
    from pipeline.stages.download import DownloadStage
    from pipeline.stages.embed import EmbedStage
    from pipeline.stages.heads import HeadsStage
    from pipeline.stages.images import ImagesStage
    from pipeline.stages.language import LanguageStage
    from pipeline.stages.pii import PIIStage
    from pipeline.stages.toxicity import ToxicityStage
    from pipeline.stages.vocabulary import VocabularyStage

    stages: list[Stage] = [CaptionsStage(job), PIIStage(job)]
    if job.captions.vocabulary is not None:
        stages.append(VocabularyStage(job))
    if job.captions.language:
        stages.append(LanguageStage(job))
    if job.captions.toxicity is not None:
        stages.append(ToxicityStage(job))
    stages.append(DownloadStage(job, shard_schema))
    if job.embed.model:
        stages.append(EmbedStage(job))
    if job.images.nsfw:
        stages.append(ImagesStage(job))
    if job.images.heads:
        stages.append(HeadsStage(job))
    stages.append(DedupStage(job))
    schema = dict(shard_schema) | {c.name: c.type for stage in stages for c in stage.writes}
    return [*stages, DecideStage(job, schema)]
