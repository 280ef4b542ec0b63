"""Why a picture could not be fetched, in a form that survives img2dataset's `str(err)`."""

import re

from pipeline.words.reasons import FETCH, TAKEDOWN

MAX_DETAIL = 300
_ADDRESS = re.compile(r"(?: object)? at 0x[0-9a-fA-F]{6,}|(?<=\b0x)[0-9a-fA-F]{9,16}\b")
_PLACE = re.compile(r" ?\(_ssl\.c:\d+\)|/\S*/(?=[\w.-]+\.(?:c|cc|cpp|py|pyx|rs)\b)")
"""Where things lie in a process's memory, and in the sources of a library."""


class FetchError(Exception):
    """A row's failure: one of `reasons` and a detail; its text is `reason: detail`.

    `passing` failures can be tried again, after `wait` seconds if the server gave a time.
    """

    def __init__(
        self, reason: str, detail: str, *, passing: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.passing = passing
        self.wait = wait


def printable(text: str) -> str:
    """The text on one line, at most 300 characters, without control or other unprintable ones.

    Details quote hosts and headers, which come from foreign servers and could contain escape
    sequences for the user's terminal; and messages of libraries, which hold addresses of memory,
    other ones in each process: without these the same bytes give the same cells.
    """
    text = _PLACE.sub("", _ADDRESS.sub("", text[: 4 * MAX_DETAIL]))
    shown = "".join(c if c.isprintable() else " " for c in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAX_DETAIL else f"{shown[: MAX_DETAIL - 1]}…"


def split_message(message: str) -> tuple[str, str]:
    """`reason: detail` to (reason, printable detail); any other text is `download_internal`."""
    reason, colon, detail = message.partition(": ")
    if colon and (reason in FETCH or reason in TAKEDOWN):
        return reason, printable(detail)
    return "download_internal", printable(message) or "no message"
