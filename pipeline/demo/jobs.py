"""The checkout's own job files."""

from pathlib import Path

import pipeline
from pipeline.words.errors import InputError


def own_job(name: str) -> Path:
    """`configs/<name>` of the checkout. InputError where winnow was installed without it."""
    path = Path(pipeline.__file__).resolve().parents[1] / "configs" / name
    if not path.is_file():
        raise InputError(f"{path} is missing: this command runs from a checkout of winnow")
    return path
