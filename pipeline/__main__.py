"""`python -m pipeline` is `winnow`."""

from pipeline.shell.cli import entry

entry()
