"""Decodes pictures on the fetching threads, and gives img2dataset placeholders for their bytes.

img2dataset calls its resizer on one thread, one picture at a time. So each fetching thread has its
picture decoded and resized before it returns, and returns a placeholder; the resizer looks up the
finished picture by it.
"""

import hashlib
import itertools
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import IO, Any

from pipeline.fetch.lists import HashList
from pipeline.fetch.opt_outs import OptOuts
from pipeline.fetch.picture.decoders import Decoders
from pipeline.fetch.picture.make import Made
from pipeline.words.failure import FetchError


@dataclass(frozen=True)
class Facts:
    """What was learned about fetched bytes; hashes in hex, `size` in bytes."""

    sha256: str
    md5: str
    size: int
    made: Made


class Picture(bytes):
    """A stored JPEG. img2dataset passes it to the writer unchanged, and with it its facts."""

    facts: Facts


class Refusal(str):
    """Why bytes were refused, as `reason: detail`, with what was learned about them."""

    facts: Facts


Resized = tuple[Picture | None, int | None, int | None, int | None, int | None, Refusal | None]


class Resizer:
    """For one shard: many threads call `accept`; the object itself is img2dataset's resizer.

    `blocklist` and `forgotten` (sha256 in hex) name pictures of which nothing may be kept.
    """

    def __init__(
        self,
        decoders: Decoders,
        blocklist: HashList | None,
        forgotten: Collection[str] = (),
    ) -> None:
        self._decoders = decoders
        self._blocklist = blocklist
        self._forgotten = forgotten
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[bytes, Facts] = {}

    def accept(self, data: bytes, opt_outs: OptOuts) -> bytes:
        """Have the picture decoded and resized; the placeholder for it.

        Raises FetchError (forgotten, blocklisted) for a picture of which nothing may be kept: only
        the list's entry is noted, in `opt_outs.listed`.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        md5 = hashlib.md5(data).hexdigest()  # noqa: S324 - lists and inputs name pictures by it
        if sha256 in self._forgotten:
            raise FetchError("forgotten", "taken down by its hash")
        if self._blocklist is not None:
            self._refuse_listed(self._blocklist.entry_of_bytes(sha256, md5), opt_outs)
        made = self._decoders.make(data)
        if self._blocklist is not None and made.phash:
            self._refuse_listed(
                self._blocklist.entry_of_picture(made.phash, made.plain_pdq), opt_outs
            )
        with self._lock:
            placeholder = str(next(self._numbers)).encode()
            self._waiting[placeholder] = Facts(sha256, md5, len(data), made)
        return placeholder

    def _refuse_listed(self, entry: str | None, opt_outs: OptOuts) -> None:
        if entry is not None:
            opt_outs.listed = entry
            raise FetchError("blocklisted", "on the job's list")

    def __call__(self, stream: IO[bytes], boxes: Any = None) -> Resized:
        """`(jpeg, width, height, original width, original height, error)` for a placeholder."""
        stream.seek(0)
        with self._lock:
            facts = self._waiting.pop(stream.read())
        made = facts.made
        if made.reason is not None:
            refusal = Refusal(f"{made.reason}: {made.detail}")
            refusal.facts = facts
            return None, None, None, None, None, refusal
        picture = Picture(made.jpeg)
        picture.facts = facts
        size = (made.width, made.height, made.original_width, made.original_height)
        return picture, *size, None
