"""One entry of a table of hazards: a bad page among good ones, and the expected result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from loopback_site import Page, Site
from peak_memory import IDLE_CHILD_MB
from plain_scenes import GOOD
from shard_run import Outcome


@dataclass(frozen=True)
class Hazard:
    """A page, and the expected result of a row with its URL."""

    page: Page
    reason: str | None
    """None: the row succeeds."""
    detail: str = ""
    """Part of the row's message; if a rule drops it, part of its size."""
    judged: bool = False
    """Whether the picture is stored and a rule of the `download:` section drops the row."""
    requests: int = 1
    """How often the page is requested."""
    least: float = 0.0
    """Least seconds that the fetch takes."""
    most: float = 4.0
    """Most seconds: far below the deadline, with time for a busy machine and a decoder's start."""
    grows_mb: int = 48
    """Most growth of the fetching process's memory, and of a decoder's above an idle one's."""
    options: Mapping[str, Any] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
    """Further pages of the site."""


def by_options(table: Mapping[str, Any]) -> list[str]:
    """The names of the table, grouped by options.

    A process whose job stays the same keeps its decoders, and new ones take half a second.
    """
    return sorted(table, key=lambda name: repr(table[name].options))


def good(h: Any) -> None:
    h.answer(200, GOOD, {"Content-Type": "image/jpeg"})


def assert_as_expected(
    hazard: Hazard, serve: Callable[..., Site], run: Callable[..., Outcome]
) -> Outcome:
    """Fetch the page between two good ones of another host, and check all expectations.

    The neighbours are of another host: what a host does to its own further rows is no harm.
    """
    pages: dict[str, Page] = {"/hazard": hazard.page, "/good": good}
    site = serve(pages | dict(hazard.pages))
    quiet = serve({"/before": good, "/after": good})
    urls = [f"{quiet.base}/before", f"{site.base}/hazard", f"{quiet.base}/after"]

    outcome = run(urls, hazard.options)

    row = outcome.rows[1]
    if hazard.judged:
        assert (row["status"], outcome.judged[1]) == ("success", hazard.reason)
        assert hazard.detail in f"{row['original_width']}×{row['original_height']}"
    else:
        assert row["fetch_reason"] == hazard.reason, row["error_message"]
        assert hazard.detail in (row["error_message"] or "")
        assert hazard.reason or outcome.judged[1] is None
    assert outcome.states[::2] == ["success", "success"], outcome.rows
    assert site.requests["/hazard"] == hazard.requests
    assert (quiet.requests["/before"], quiet.requests["/after"]) == (1, 1)
    assert hazard.least <= outcome.seconds <= hazard.most, f"{outcome.seconds:.2f} s"
    assert_little_memory(outcome, hazard.grows_mb)
    return outcome


def assert_little_memory(outcome: Outcome, grows_mb: int) -> None:
    if outcome.memory.unknown:
        pytest.skip(f"all but memory is as it should be. {outcome.memory.unknown}")
    assert outcome.memory.grown_mb <= grows_mb, f"{outcome.memory.grown_mb:.0f} MiB"
    children_mb = outcome.memory.children_mb
    assert children_mb <= IDLE_CHILD_MB + grows_mb, f"a decoder of {children_mb:.0f} MiB"
