"""The same answers give the same cells: in another process, and from another port of the server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from odd_answers import ANSWERS
from odd_files import FILES
from odd_pictures import GOOD_GIF, GOOD_PNG, GOOD_WEBP
from plain_scenes import GOOD
from wire_pages import OK, hang_up, picture, raw, redirect, reset, stalled, status

LENGTH = b"Content-Length: %d\r\n" % len(GOOD)
PAGES = {
    **{f"/status-{code}": status(code) for code in (400, 401, 403, 404, 410, 418, 500, 503)},
    "/rate": status(429, Retry_After="90"),
    "/busy": status(503, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"),
    "/loop": redirect("/loop"),
    "/to-nowhere": redirect("http://10.0.0.1/"),
    "/to-a-file": redirect("file:///etc/passwd"),
    "/hang-up": hang_up,
    "/reset": reset(b""),
    "/reset-in-head": reset(OK + b"X-A: b\r\n"),
    "/reset-in-body": reset(OK + LENGTH + b"\r\n" + GOOD[:500]),
    "/stalled": stalled,
    "/short": raw(OK + LENGTH + b"\r\n" + GOOD[:500]),
    "/long": picture(Content_Length="900000000"),
    "/no-http": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "/no-chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    "/cut-head": raw(OK + b"Content-Type: im"),
    "/cut-gzip": picture(b"\x1f\x8b\x08\0", Content_Encoding="gzip"),
    "/brotli": picture(Content_Encoding="br"),
    "/html": picture(b"<!DOCTYPE html>"),
    "/empty": picture(b""),
    "/header-only": picture(GOOD[:3]),
    "/cut-jpeg": picture(GOOD[:-200]),
    "/cut-png": picture(GOOD_PNG[:-60]),
    "/png-of-a-wrong-header-sum": picture(GOOD_PNG[:29] + b"\0\1\2\3" + GOOD_PNG[33:]),
    "/cut-gif": picture(GOOD_GIF[:-60]),
    "/gif-of-broken-data": picture(GOOD_GIF[:60] + b"\xff" * 9 + GOOD_GIF[69:]),
    "/gif-of-no-frame": picture(GOOD_GIF[:13]),
    "/cut-webp": picture(GOOD_WEBP[:-20]),
    "/webp-of-no-chunk": picture(b"RIFF\x40\0\0\0WEBPVP8 " + bytes(40)),
    "/noai": picture(X_Robots_Tag="noai"),
    "/reserved": picture(TDM_Reservation="1"),
    **{f"/answer-{i}": raw(odd.data) for i, odd in enumerate(ANSWERS.values())},
    **{f"/file-{i}": picture(odd.data) for i, odd in enumerate(FILES.values())},
}
HOSTS = ["no-such-name.invalid", "also..wrong", "127.0.0.1:1"]
CODE = """
import json, sys, tempfile
from pathlib import Path
from hostile_dns import HostileDns, addresses
from loopback_site import Site
from shard_run import run_shard
from test_hostile_repeats import HOSTS, PAGES
with (
    HostileDns({}, addresses("127.0.0.1")) as dns, Site(PAGES, name="site.test") as site,
    tempfile.TemporaryDirectory() as folder,
):
    # Each from a host of its own: a host that fails or asks to wait answers for its other rows too.
    urls = [site.under(f"host-{i}.test") + path for i, path in enumerate(PAGES)]
    urls += [f"http://{host}/a.jpg" for host in HOSTS]
    options = {"nameservers": (dns.address,), "host_failures": None, "timeout": 0.5,
               "first_byte_timeout": 0.5, "respect_robots_txt": False, "thread_count": 1}
    found = run_shard(Path(folder), urls, options)
rows = [{k: v.hex() if isinstance(v, bytes) else v for k, v in r.items()} for r in found.rows]
json.dump(rows, sys.stdout)
"""


def _rows() -> list[dict[str, object]]:
    here = Path(__file__).parent
    places = [str(here.parents[1]), str(here.parent), str(here)]
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_same_answers_give_the_same_cells_in_two_processes():
    first, second = _rows(), _rows()

    for page, one, other in zip([*PAGES, *HOSTS], first, second, strict=True):
        assert one == other, page
    failing = {str(row["error_message"]) for row in first if row["status"] == "failed"}
    assert len(failing) >= 30, sorted(failing)
    assert not [said for said in failing if "0x7f" in said or " at 0x" in said or "/tmp" in said]
