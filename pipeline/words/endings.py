"""How the command `winnow` ends: one line and an exit code for every error that is not a bug."""

import contextlib
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
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
_LAST_WORDS = 10.0
"""Seconds for the line of a command that is ended from another thread: what it writes to may be
what hangs."""
_commands: list[bool] = []


@contextlib.contextmanager
def endings() -> Iterator[None]:
    """Run a command in the block; an error that is not a bug becomes one line and an exit code."""
    _commands.append(True)
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
    finally:
        _commands.pop()


def is_command() -> bool:
    """Whether this process is a command of ours, which may end it."""
    return bool(_commands)


def end_at_once(code: int, message: Callable[[], str]) -> NoReturn:
    """End this process from any thread, as a kill would, after the line of `message`.

    If that hangs, the process ends without it.
    """

    def last_words() -> None:
        line = f"winnow: {one_line(message())}\n".encode(errors="replace")
        # A bar of progress may have hidden the cursor.
        shown = b"\n\x1b[?25h" if os.isatty(2) else b""
        with contextlib.suppress(OSError):
            os.write(2, shown + line)

    speaker = threading.Thread(target=last_words, daemon=True)
    speaker.start()
    speaker.join(_LAST_WORDS)
    os._exit(code)


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
