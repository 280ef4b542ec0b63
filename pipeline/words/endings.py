"""How the command `winnow` ends: one line and an exit code for every error that is not a bug."""

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import NoReturn

from pipeline.words.errors import DamagedError, InputError, PlanMismatchError, StoppedError

DONE, BUG, INVALID, INCOMPLETE, INTERRUPTED, OUTPUT_CLOSED = 0, 1, 2, 3, 130, 141
CODES = (
    "Exit codes: 0 done; 2 the job, its input or the run folder is wrong, and the line says what "
    "to do; 3 not all is done, and the same command goes on from here: shards are quarantined and "
    "listed, or a cluster or a disk failed; 130 stopped by Ctrl-C; 141 the reader of the output "
    "closed it early; 1 a bug, with its traceback."
)
LONGEST = 2_000
"""Characters of an error that are printed: a path has at most 4,096, most errors a hundred."""
_END = 500
"""Those of them from the end of the message, where the next step stands."""


@contextlib.contextmanager
def endings() -> Iterator[None]:
    """Run a command in the block; an error that is not a bug becomes one line and an exit code."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (InputError, DamagedError, PlanMismatchError) as error:
        _end(INVALID, str(error))
    except StoppedError as error:
        _end(INCOMPLETE, str(error))
    except PermissionError as error:
        if error.filename is None:
            raise
        _end(INVALID, f"{error.filename}: {error.strerror}; it must be readable, and so must be "
             "the folders above it")  # fmt: skip
    except KeyboardInterrupt:
        _end(INTERRUPTED, "stopped; the same command goes on from here")
    except BrokenPipeError:
        # The reader of our output (`head`, a pager) has closed it. Writing the rest of the buffer
        # would fail again while the interpreter exits.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OUTPUT_CLOSED)


def _end(code: int, message: str) -> NoReturn:
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
