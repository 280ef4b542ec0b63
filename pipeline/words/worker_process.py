"""Dask imports this module first in every local worker, in its main thread, for its effects."""

import pipeline.words.quiet_exit  # noqa: F401
from pipeline.words.interrupts import ignore_terminal

ignore_terminal()
