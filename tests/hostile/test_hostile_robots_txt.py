"""Valid, malformed and missing robots.txt files (RFC 9309)."""

import gzip
from dataclasses import dataclass, field
from typing import Any

import pytest
from hazard import by_options, good
from loopback_site import Handler, Page
from shard_run import IMPATIENT
from wire_pages import flood, hang_up, redirect, reset, stalled, status

ALLOWED = None
FORBIDDEN = "opted_out_robots_txt"
UNREACHABLE = "robots_txt_unreachable"
PAGE = b"<!DOCTYPE html><html><body>Disallow: /</body></html>"
ALL = "User-agent: *\nDisallow: /"


@dataclass(frozen=True)
class Robots:
    """A robots.txt, and whether it allows `/a/b.jpg`."""

    page: Page
    reason: str | None
    asked: int = 1
    """How often robots.txt is requested."""
    most: float = 4.0
    options: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)


def says(text: str | bytes, code: int = 200) -> Page:
    body = text if isinstance(text, bytes) else text.encode()
    return lambda h: h.answer(code, body, {"Content-Type": "text/plain"})


def coded(body: bytes, coding: str) -> Page:
    return lambda h: h.answer(200, body, {"Content-Encoding": coding})


def _step(h: Handler) -> None:
    """`/robots/3` redirects to `/robots/2` and so on, to one that forbids all."""
    left = int(h.path.rsplit("/", 1)[-1])
    (redirect(f"/robots/{left - 1}") if left else says(ALL))(h)


STEPS: dict[str, Page] = {f"/robots/{n}": _step for n in range(7)}
# 500 KiB are read: what comes before counts, what comes after does not, a line cut in two
# has no effect.
COMMENTS = "# nothing to see\n" * (500 * 1024 // 17)

CASES: dict[str, Robots] = {
    "none": Robots(status(404), ALLOWED),
    "410": Robots(status(410), ALLOWED),
    "401": Robots(status(401), ALLOWED),
    "403": Robots(status(403), ALLOWED),
    "empty": Robots(says(""), ALLOWED),
    "forbids-all": Robots(says(ALL), FORBIDDEN),
    "forbids-us": Robots(says("User-agent: winnow\nDisallow: /"), FORBIDDEN),
    "forbids-us-in-capitals": Robots(says("USER-AGENT: WINNOW\nDISALLOW: /"), FORBIDDEN),
    "forbids-us-with-others": Robots(
        says("User-agent: googlebot\nUser-agent: winnow\nDisallow: /a/"), FORBIDDEN
    ),
    "forbids-others": Robots(says("User-agent: googlebot\nDisallow: /"), ALLOWED),
    "ours-beats-all": Robots(says(f"{ALL}\n\nUser-agent: winnow\nDisallow: /x"), ALLOWED),
    "ours-beats-all-the-other-way": Robots(
        says("User-agent: winnow\nDisallow: /a\n\nUser-agent: *\nAllow: /"), FORBIDDEN
    ),
    "ours-in-two-groups": Robots(
        says("User-agent: winnow\nDisallow: /x\n\nUser-agent: winnow\nDisallow: /a"), FORBIDDEN
    ),
    "the-longer-rule-wins": Robots(
        says("User-agent: *\nDisallow: /a\nAllow: /a/b.jpg\n"), ALLOWED
    ),
    "pattern": Robots(says("User-agent: *\nDisallow: /*/b.j*g"), FORBIDDEN),
    "percent-encoded": Robots(says("User-agent: *\nDisallow: /%61/b.jpg"), FORBIDDEN),
    "another-token": Robots(
        says("User-agent: sieve\nDisallow: /"), FORBIDDEN, options={"user_agent_token": "sieve"}
    ),
    "byte-order-mark": Robots(says(b"\xef\xbb\xbf" + ALL.encode()), FORBIDDEN),
    "crlf": Robots(says(ALL.replace("\n", "\r\n")), FORBIDDEN),
    "cr": Robots(says(ALL.replace("\n", "\r")), FORBIDDEN),
    "comments": Robots(says("User-agent: * # all\nDisallow: / # of it\n"), FORBIDDEN),
    "no-spaces": Robots(says("user-agent:*\ndisallow:/"), FORBIDDEN),
    "html-in-its-place": Robots(says(PAGE), ALLOWED),
    "bytes-of-all-kinds": Robots(says(bytes(range(256)) * 40), ALLOWED),
    "rules-amid-broken-bytes": Robots(says(b"\xff\xfe\x80\n" + ALL.encode()), FORBIDDEN),
    "a-million-wildcards": Robots(
        says("User-agent: *\nDisallow: /" + "*a" * 200_000 + "\n"), ALLOWED
    ),
    "wildcards-that-backtrack": Robots(
        says("User-agent: *\nDisallow: /" + "*a*.*b*j*" * 200 + "z$\n"), ALLOWED
    ),
    "28,000-rules": Robots(
        says("User-agent: *\n" + "".join(f"Disallow: /*{n:05}\n" for n in range(28_000))), ALLOWED
    ),
    "within-500-KiB": Robots(says(f"{ALL}\n{COMMENTS * 3}"), FORBIDDEN),
    "beyond-500-KiB": Robots(says(f"{COMMENTS}# pad to the edge\n{ALL}"), ALLOWED),
    "endless": Robots(flood(b"HTTP/1.1 200 OK\r\n\r\n" + ALL.encode(), b"\n# more"), FORBIDDEN),
    "500": Robots(status(500), UNREACHABLE),
    "503-once": Robots(
        lambda h: (status(503) if h.server.requests[h.path] == 1 else says(""))(h),
        ALLOWED, asked=2, options={"retries": 1},
    ),
    "503-for-ever": Robots(status(503), UNREACHABLE, asked=2, options={"retries": 1}),
    "silence": Robots(stalled, UNREACHABLE, options=IMPATIENT),
    "reset": Robots(reset(b""), UNREACHABLE),
    "hang-up": Robots(hang_up, UNREACHABLE),
    "slow": Robots(
        lambda h: h.drip(b"HTTP/1.1 200 OK\r\n\r\n" + b"#" * 99, 0.1),
        UNREACHABLE, options={"deadline": 1.0},
    ),
    "redirect": Robots(redirect("/robots/0"), FORBIDDEN, pages=STEPS),
    "five-redirects": Robots(redirect("/robots/4"), FORBIDDEN, pages=STEPS),
    "six-redirects": Robots(redirect("/robots/5"), ALLOWED, pages=STEPS),
    "redirect-loop": Robots(redirect("/robots.txt"), ALLOWED),
    **{
        f"coding-{name}": Robots(coded(ALL.encode(), name), FORBIDDEN)
        for name in ("utf-8", "none", "binary", "aws-chunked", "gzip", "gzip, gzip", "deflate",
                     "br")
    },
    "coding-utf-8-allows": Robots(coded(b"User-agent: *\nAllow: /", "utf-8"), ALLOWED),
    "gzip": Robots(coded(gzip.compress(ALL.encode()), "gzip"), FORBIDDEN),
    "gzip-and-identity": Robots(coded(gzip.compress(ALL.encode()), "gzip, identity"), FORBIDDEN),
    "gzip-without-saying": Robots(says(gzip.compress(ALL.encode())), FORBIDDEN),
    "gzip-called-otherwise": Robots(coded(gzip.compress(ALL.encode()), "none"), FORBIDDEN),
    "gzip-cut": Robots(coded(gzip.compress(ALL.encode())[:15], "gzip"), UNREACHABLE),
    "brotli": Robots(coded(b"\x0b\x0e\x80" + ALL.encode() + b"\x03", "br"), UNREACHABLE),
    "brotli-of-a-missing-page": Robots(
        lambda h: h.answer(404, b"\x0b\x0e\x80", {"Content-Encoding": "br"}), ALLOWED
    ),
    "utf-16": Robots(says(ALL.encode("utf-16")), FORBIDDEN),
    "203": Robots(says(ALL, 203), FORBIDDEN),
    "not-respected": Robots(
        says(ALL), ALLOWED, asked=0, options={"respect_robots_txt": False}
    ),
    "opted-out-by-header": Robots(
        lambda h: h.answer(200, b"", {"X-Robots-Tag": "noindex"}), ALLOWED
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", by_options(CASES))
def test_what_robots_txt_allows(name, serve, run):
    case = CASES[name]
    site = serve({"/a/b.jpg": good, "/robots.txt": case.page} | case.pages)
    neighbour = serve({"/b.jpg": good})
    urls = [f"{site.base}/a/b.jpg", f"{neighbour.base}/b.jpg", f"{site.base}/a/b.jpg?again"]

    outcome = run(urls, case.options)

    assert outcome.reasons == [case.reason, None, case.reason], outcome.rows
    assert site.requests["/robots.txt"] == case.asked
    assert site.requests["/a/b.jpg"] == (0 if case.reason else 2)
    assert outcome.seconds < case.most


def test_robots_txt_is_requested_once_and_first(serve, run):
    site = serve({f"/{i}.jpg": good for i in range(20)})

    outcome = run([f"{site.base}/{i}.jpg" for i in range(20)], {"thread_count": 8})

    assert outcome.reasons == [None] * 20
    assert site.order[0][1] == "/robots.txt"
    assert site.requests["/robots.txt"] == 1


def test_each_origin_has_its_own_robots_txt(serve, run):
    """Another port or another name is another site, although it is the same machine."""
    closed, open_ = serve({"/a": good, "/robots.txt": says(ALL)}), serve({"/a": good})
    urls = [f"{closed.base}/a", closed.under("other.test") + "/a", f"{open_.base}/a"]

    outcome = run(urls, {})

    assert outcome.reasons == [FORBIDDEN, FORBIDDEN, None]
    assert (closed.requests["/robots.txt"], open_.requests["/robots.txt"]) == (2, 1)


def test_a_redirect_target_is_checked_by_its_own_robots_txt(serve, run):
    target = serve({"/a": good, "/robots.txt": says(ALL)})
    site = serve(
        {
            "/there": redirect(f"{target.base}/a"),
            "/here": redirect("/closed"),
            "/closed": good,
            "/robots.txt": says("User-agent: *\nDisallow: /closed"),
        }
    )

    outcome = run([f"{site.base}/there", f"{site.base}/here"], {})

    assert outcome.reasons == [FORBIDDEN, FORBIDDEN], outcome.rows
    assert (target.requests["/a"], site.requests["/closed"]) == (0, 0)


def test_a_redirect_of_robots_txt_into_a_private_network_is_refused(serve, run):
    site = serve({"/a": good, "/robots.txt": redirect("http://10.0.0.1/robots.txt")})

    outcome = run([f"{site.base}/a"], {})

    assert outcome.reasons[0] in ("address_forbidden", UNREACHABLE), outcome.rows
    assert site.requests["/a"] == 0
    assert "10.0.0.1" in outcome.rows[0]["error_message"]
