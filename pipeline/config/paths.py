"""Makes a job's relative paths absolute, because a cluster's workers have other working folders."""

from pathlib import Path
from typing import TypeVar

from pipeline.config.base import Section
from pipeline.config.job import Job

S = TypeVar("S", bound=Section)
_PATHS = (
    "vocabulary", "blocklist", "opted_out_domains", "checkpoint", "weights", "pretrained", "model",
)  # fmt: skip


def with_absolute_paths(job: Job) -> Job:
    """The job with every relative path of a file or folder replaced by the absolute path.

    Values that name no existing file (a model's name, a pretrained tag) stay as they are.
    """
    captions, images = _absolute(job.captions), job.images
    if captions.toxicity is not None:
        captions = captions.model_copy(update={"toxicity": _absolute(captions.toxicity)})
    images = images.model_copy(update={"heads": tuple(_absolute(head) for head in images.heads)})
    changed: dict[str, Section] = {
        "captions": captions,
        "images": images,
        "embed": _absolute(job.embed),
    }
    folders = tuple(
        folder if "://" in folder else str(Path(folder).expanduser().absolute())
        for folder in job.download.allow_paths
    )
    changed["download"] = _absolute(job.download).model_copy(update={"allow_paths": folders})
    return job.model_copy(update=changed)


def _absolute(section: S) -> S:
    changed = {}
    for name in _PATHS:
        value = getattr(section, name, None)
        if isinstance(value, str) and not Path(value).is_absolute() and Path(value).exists():
            changed[name] = str(Path(value).absolute())
    return section.model_copy(update=changed) if changed else section
