"""What a user can do about a task whose process ran out of memory."""

from collections.abc import Sequence

from pipeline.config.sections import ClusterConfig

BATCHES = {"embed": "embed.batch_size", "toxicity": "captions.toxicity.batch_size"}
"""Keys of the job that say how many rows a stage measures at once."""


def for_memory(names: Sequence[str], cluster: ClusterConfig) -> str:
    """The next steps for a task of these products, in words."""
    steps = ["start fewer compute workers (`cluster.compute_workers`)"]
    if cluster.scheduler is not None:
        steps = ["give its workers more memory (`dask worker --memory-limit`)"]
    elif cluster.executor == "inline":
        steps = ["free memory on this machine"]
    else:
        steps.append("give them more memory (`cluster.memory_limit`)")
    steps += [f"lower `{BATCHES[name]}`" for name in names if name in BATCHES]
    return ", or ".join(steps)
