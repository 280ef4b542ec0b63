"""How the command `winnow` ends: one line and an exit code for every error that is not a bug."""

import contextlib
import os
import sys
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


def _end(code: int, line: str) -> NoReturn:
    print(f"winnow: {line}", file=sys.stderr)
    sys.exit(code)
