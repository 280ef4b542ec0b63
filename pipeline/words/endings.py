"""How the command `winnow` ends: one line and an exit code for every error that is not a bug."""

import contextlib
import os
import signal
import sys
import unicodedata
from collections.abc import Iterator
from typing import NoReturn

from pipeline.words.errors import (
    GOES_ON,
    DamagedError,
    InputError,
    PlanMismatchError,
    StoppedError,
)
from pipeline.words.interrupts import heeding_signals, interrupted_by

DONE, BUG, INVALID, INCOMPLETE, OUTPUT_CLOSED = 0, 1, 2, 3, 141
CODES = (
    "Exit codes: 0 done; 2 the job, its input or the run folder is wrong, and the line says what "
    "to do; 3 not all is done, and the same command goes on from here: shards are quarantined and "
    "listed, or a cluster or a disk failed; 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP; "
    "141 the reader of the output closed it early; 1 a bug, with its traceback."
)
LONGEST = 2_000
"""Characters of an error that are printed: a path has at most 4,096, most errors a hundred."""
_END = 500
"""Those of them from the end of the message, where the next step stands."""


@contextlib.contextmanager
def endings() -> Iterator[None]:
    """Run a command in the block; an error that is not a bug becomes one line and an exit code."""
    try:
        with heeding_signals():
            try:
                yield
            finally:
                sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        if (by := interrupted_by()) is not None:
            _end(128 + by, f"stopped{'' if by == signal.SIGINT else f' by {by.name}'}; {GOES_ON}")
        if isinstance(error, BrokenPipeError):
            _leave_closed_output()
        if (found := _code_and_line(error)) is not None:
            _end(*found)
        raise


def _leave_closed_output() -> NoReturn:
    """The reader of our output (`head`, a pager) has closed it. Writing the rest of the buffer
    would fail again while the interpreter exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(OUTPUT_CLOSED)


def _code_and_line(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the line for an error that is not a bug; None for a bug."""
    if isinstance(error, InputError | DamagedError | PlanMismatchError):
        return INVALID, str(error)
    if isinstance(error, StoppedError):
        return INCOMPLETE, str(error)
    if isinstance(error, PermissionError) and error.filename is not None:
        needs = "it must be readable, and so must be the folders above it"
        return INVALID, f"{error.filename}: {error.strerror}; {needs}"
    return None


def _end(code: int, message: str) -> NoReturn:
    with contextlib.suppress(OSError):  # nobody sees it
        print(f"winnow: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


def one_line(message: str) -> str:
    """The message without line breaks and control characters, which names of keys, columns and
    files may have, and without the middle of one that is too long."""
    if len(message) > LONGEST:
        message = f"{message[: LONGEST - _END]} … {message[-_END:]}"
    return "".join(
        sign if sign.isprintable() or unicodedata.category(sign) == "Zs" else ascii(sign)[1:-1]
        for sign in message
    )
