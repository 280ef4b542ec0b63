"""winnow's own job files."""

from pathlib import Path


def own_job(name: str) -> Path:
    """A job file of this package; a checkout has them under `configs/` too."""
    return Path(__file__).resolve().parent / "configs" / name
