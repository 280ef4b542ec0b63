"""`python -m pipeline` is `winnow`."""

from pipeline.cli import entry

entry()
