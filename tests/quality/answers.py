"""How often we store what curl or a browser shows: the tables of oddities in tests/hostile.

What curl and Chromium say is recorded with the cases; what we make of them is measured here.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.quality.scores import table

BLOCKS = ("answers", "damaged pictures")
_TESTS = Path(__file__).resolve().parents[1]
_MAGIC = {b"\xff\xd8": "JPEG", b"\x89P": "PNG", b"GI": "GIF", b"RI": "WebP"}


def tables(data: Path | None) -> dict[str, str]:
    """Both blocks; `data` is not needed."""
    sys.path[:0] = [str(_TESTS), str(_TESTS / "hostile")]
    from odd_answers import ANSWERS, PAGES
    from odd_files import FILES
    from wire_pages import picture

    answers = _stored(PAGES, [f"/odd/{i}" for i in range(len(ANSWERS))])
    pages = {f"/file/{i}": picture(odd.data) for i, odd in enumerate(FILES.values())}
    files = _stored(pages, list(pages))
    return {
        BLOCKS[0]: _counted(ANSWERS, answers, _kind_of_answer),
        BLOCKS[1]: _counted(FILES, files, lambda name, odd: _MAGIC[odd.data[:2]]),
    }


def _stored(pages: Mapping[str, Any], paths: list[str]) -> list[bool]:
    """Whether the download stage stores what each path gives."""
    from hostile_dns import HostileDns, addresses
    from loopback_site import Site
    from shard_run import run_shard

    with (
        HostileDns({}, addresses("127.0.0.1")) as dns,
        Site(pages, name="site.test") as site,
        tempfile.TemporaryDirectory() as folder,
    ):
        options = {"nameservers": (dns.address,), "host_failures": None}
        outcome = run_shard(Path(folder), [site.base + path for path in paths], options)
    return [reason is None for reason in outcome.reasons]


def _kind_of_answer(name: str, odd: Any) -> str:
    head = odd.data.partition(b"\r\n\r\n")[0]
    for mark, kind in (
        (b"Location: /", "redirects"), (b"Content-Encoding", "content codings"),
        (b"Transfer-Encoding", "bodies in chunks"),
    ):  # fmt: skip
        if mark in head:
            return kind
    return "lengths" if name.startswith("length") else "heads and status lines"


def _counted(cases: Mapping[str, Any], stored: list[bool], kind_of: Any) -> str:
    """By kind: cases, what curl and Chromium show, what we store, and with how many we agree."""
    rows: dict[str, list[int]] = {}
    for (name, odd), kept in zip(cases.items(), stored, strict=True):
        shown = odd.curl or odd.chromium
        row = rows.setdefault(kind_of(name, odd), [0] * 5)
        for i, hit in enumerate((True, odd.curl, odd.chromium, kept, kept == shown)):
            row[i] += hit
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    header = ["kind", "cases", "curl shows", "Chromium shows", "we store", "we agree with either"]
    lines = [[kind, *map(str, row)] for kind, row in sorted(rows.items())]
    return table(header, [*lines, ["all", *map(str, total)]])
