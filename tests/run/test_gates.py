"""Changed keys of `download:` on a finished run: which rows are fetched and measured again."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from lab import Lab

from pipeline.config.load import load_job
from pipeline.demo.web import Route, write_site
from pipeline.inspect.preview import preview
from pipeline.inspect.query import query

HEADERS = {
    "/noai.jpg": Route(headers={"X-Robots-Tag": "noai"}),
    "/reserved.jpg": Route(headers={"TDM-Reservation": "1"}),
}
FORBIDDEN = "User-agent: *\nDisallow: /closed.jpg\n"


@pytest.fixture
def odd(own: Lab) -> Lab:
    """Six plain pictures, and one for each key that refuses a picture."""
    www = own.site.folder / "www"
    for name in ("noai.jpg", "reserved.jpg", "closed.jpg"):
        shutil.copy(www / "7.jpg", www / name)
        with (www / name).open("ab") as handle:
            handle.write(name.encode())  # so that no two have the same bytes
    rng = np.random.default_rng(3)
    for name, (height, width) in {"small.jpg": (40, 90), "long.jpg": (70, 230)}.items():
        cv2.imwrite(str(www / name), rng.integers(0, 255, (height, width, 3), np.uint8))
    cv2.imwrite(str(www / "heavy.png"), rng.integers(0, 255, (256, 256, 3), np.uint8))
    (www / "robots.txt").write_text(FORBIDDEN)
    write_site(own.site.folder, HEADERS)
    return own


NAMES = (
    "0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "noai.jpg", "reserved.jpg", "closed.jpg",
    "small.jpg", "long.jpg", "heavy.png", "gone.jpg",
)  # fmt: skip
SETTINGS: dict[str, Any] = {"min_image_size": 64, "max_bytes": 100_000}


def run(lab: Lab, **download: Any):
    rows = [{"url": f"{lab.site.url}/{name}", "caption": f"a thing {name}"} for name in NAMES]
    path = lab.folder / "job.yaml"
    if not path.exists():
        lab.job(rows, download=SETTINGS, embed={"model": "winnow-tiny"}, rules=[])
    return lab.run(path, *(f"download.{key}={value}" for key, value in download.items()))


def reasons(result) -> dict[str, str]:
    rows = query(result.run, "select url, reason from samples where reason is not null")
    return {row["url"].rsplit("/", 1)[1]: row["reason"] for row in rows.to_pylist()}


FIRST = {
    "noai.jpg": "opted_out_robots_tag", "reserved.jpg": "opted_out_tdm",
    "closed.jpg": "opted_out_robots_txt", "small.jpg": "image_too_small",
    "long.jpg": "image_aspect_ratio", "heavy.png": "too_large", "gone.jpg": "http_not_found",
}  # fmt: skip


def without(*names: str, **others: str) -> dict[str, str]:
    return {k: v for k, v in FIRST.items() if k not in names} | {
        name.replace("__", "."): reason for name, reason in others.items()
    }


CHANGES: dict[str, tuple[dict[str, Any], list[str], dict[str, str]]] = {
    # The settings, the paths that are requested again, and the reasons afterwards.
    "contact": ({"user_agent_contact": "https://example.org/bot"}, [], FIRST),
    "timeout": ({"timeout": 3, "deadline": 9, "retries": 1, "connect_timeout": 3}, [], FIRST),
    "decode_timeout": ({"decode_timeout": 5, "decode_memory_mb": 999}, [], FIRST),
    "threads": ({"thread_count": 3, "per_host": 2}, [], FIRST),
    "smaller": ({"min_image_size": 40}, [], without("small.jpg")),
    "larger": (
        {"min_image_size": 65}, [], FIRST,
    ),
    "much larger": (
        {"min_image_size": 71}, [],
        without("long.jpg", long__jpg="image_too_small"),
    ),
    "aspect": ({"max_aspect_ratio": 4}, [], without("long.jpg")),
    "side": ({"max_image_side": 95}, [], None),
    "no png": ({"formats": "[jpeg]"}, [], FIRST),
    "bytes": ({"max_bytes": 1_000_000}, ["/heavy.png"], without("heavy.png")),
    "fewer bytes": ({"max_bytes": 90_000}, [], FIRST),
    "robots tag": ({"respect_robots_tag": False}, ["/noai.jpg"], without("noai.jpg")),
    "tdm": ({"respect_tdm_reservation": False}, ["/reserved.jpg"], without("reserved.jpg")),
    "robots.txt": ({"respect_robots_txt": False}, ["/closed.jpg"], without("closed.jpg")),
    "pixels": ({"max_image_pixels": 1_000_000}, [], FIRST),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_gate_fetches_only_the_rows_that_it_concerns(odd, asked, counts, change):
    first = run(odd)
    assert reasons(first) == FIRST
    measured = query(first.run, "select count(clip_score) as n from samples").to_pylist()[0]["n"]
    asked.clear()
    settings, stale, expected = CHANGES[change]
    second = run(odd, **settings)
    assert sorted(asked) == stale
    if expected is not None:
        assert reasons(second) == expected
    assert counts(second)["conserved"] is True
    now = query(second.run, "select count(clip_score) as n from samples").to_pylist()[0]["n"]
    assert now == measured + len(stale)
    asked.clear()
    back = run(odd)
    # A row that a cap refused is fetched again when the cap is raised, even back to its old value.
    assert asked == (["/heavy.png"] if change == "fewer bytes" else [])
    # robots.txt was not read for a picture fetched while it was not respected, so it stays.
    assert reasons(back) == (expected if change == "robots.txt" else FIRST)
    if not stale:
        assert back.digest == first.digest


def test_opt_outs_are_stored_even_if_they_are_not_respected(odd, asked):
    """So respecting it later needs no request: the stored picture is dropped by a rule."""
    loose = {"respect_robots_tag": False, "respect_tdm_reservation": False}
    result = run(odd, **loose)
    text = "select robots_tag, tdm_reservation, robots_txt, reason from samples where url like "
    said = query(result.run, f"{text} '%/noai.jpg'").to_pylist()
    assert said == [
        {"robots_tag": "noai", "tdm_reservation": False, "robots_txt": "allowed", "reason": None}
    ]
    asked.clear()
    strict = run(odd)
    assert (asked, reasons(strict)) == ([], FIRST)
    said = query(strict.run, f"{text} '%/reserved.jpg'").to_pylist()
    assert (said[0]["tdm_reservation"], said[0]["reason"]) == (True, "opted_out_tdm")


def test_a_higher_pixel_cap_fetches_only_the_pictures_that_fit_now(odd, asked):
    small = {f"/{i}.jpg" for i in range(5)}  # 96 × 96 pixels; long.jpg has 70 × 230
    refused = reasons(run(odd, max_image_pixels=9_000))
    assert {name for name, why in refused.items() if why == "image_too_many_pixels"} == {
        "long.jpg", *(name[1:] for name in small)
    }  # fmt: skip
    asked.clear()
    result = run(odd, max_image_pixels=10_000)
    assert set(asked) == small
    assert reasons(result)["long.jpg"] == "image_too_many_pixels"
    run(odd, max_image_pixels=9_000)
    asked.clear()
    assert reasons(run(odd, max_image_pixels=10_000)) == reasons(result)
    assert asked == []


def stored(result) -> set[str]:
    """Names of the pictures in the download stage's tars."""
    rows = query(result.run, "select url from samples where status = 'success'").to_pylist()
    return {row["url"].rsplit("/", 1)[1] for row in rows}


def test_a_list_of_domains_removes_stored_pictures_without_a_request(odd, asked):
    kept = stored(run(odd))
    domains = odd.folder / "domains.txt"
    host = odd.site.url.split("//")[1].split(":")[0]
    domains.write_text("example.org\n")
    asked.clear()
    assert stored(run(odd, opted_out_domains=domains)) == kept
    domains.write_text(f"example.org\n{host}\n")
    taken = run(odd, opted_out_domains=domains)
    assert (asked, stored(taken)) == ([], set())
    reported = reasons(taken)
    assert reported["0.jpg"] == "opted_out_domain"
    assert {reported[name] for name in ("noai.jpg", "gone.jpg")} == {"opted_out_domain"}
    assert set(reported) == set(NAMES)
    again = run(odd)
    assert reasons(again) == FIRST
    assert stored(again) == kept
    assert "/0.jpg" in asked


@pytest.mark.parametrize("kind", ["sha256", "md5", "pdq"])
def test_a_blocklist_removes_stored_pictures_without_a_request(odd, asked, counts, kind):
    first = run(odd)
    data = (odd.site.folder / "www" / "1.jpg").read_bytes()
    hashes: dict[str, Callable[[], str]] = {
        "sha256": lambda: hashlib.sha256(data).hexdigest(),
        "md5": lambda: hashlib.md5(data).hexdigest(),
        "pdq": lambda: query(
            first.run, "select hex(phash) as h from samples where url like '%/1.jpg'"
        ).to_pylist()[0]["h"].lower(),
    }  # fmt: skip
    blocklist = odd.folder / "blocklist.txt"
    blocklist.write_text(f"{kind}:{hashes[kind]()}\n")
    asked.clear()
    blocked = run(odd, blocklist=blocklist)
    assert asked == []
    assert reasons(blocked) == FIRST | {"1.jpg": "blocklisted"}
    assert counts(blocked)["conserved"] is True
    facts = query(
        blocked.run,
        "select sha256, md5, phash, width, clip_score from samples where url like '%/1.jpg'",
    ).to_pylist()
    assert set(facts[0].values()) == {None}
    # Another list with the same picture causes no request; one without it, only for this picture.
    blocklist.write_text(f"{kind}:{hashes_of_another(kind)}\n{blocklist.read_text()}")
    run(odd, blocklist=blocklist)
    assert asked == []
    blocklist.write_text(f"{kind}:{hashes_of_another(kind)}\n")
    freed = run(odd, blocklist=blocklist)
    assert asked == ["/1.jpg"]
    assert reasons(freed) == FIRST
    assert freed.digest == first.digest


def hashes_of_another(kind: str) -> str:
    return ("5a" * 32)[: 32 if kind == "md5" else 64]


def test_hashes_of_the_list_are_compared_with_stored_pictures(own, asked):
    rows = [dict(row) for row in own.site.rows[:4]]
    data = [(own.site.folder / "www" / f"{i}.jpg").read_bytes() for i in range(4)]
    for i, row in enumerate(rows):
        row["sha256"] = hashlib.sha256(data[i]).hexdigest() if i else "0" * 64
    job = own.job(rows, download={"verify_hash": False})
    assert reasons(own.run(job)) == {}
    asked.clear()
    assert reasons(own.run(job, "download.verify_hash=true")) == {"0.jpg": "hash_mismatch"}
    assert asked == []


def test_plan_names_the_changed_gate_and_what_it_concerns(odd):
    run(odd)
    job = odd.folder / "job.yaml"

    def why(*overrides: str) -> dict[str, Any]:
        rows = {row["stage"]: row for row in preview(load_job(job, overrides))["stages"]}
        return {name: rows[name]["why"] for name in ("download", "embed", "decide")}

    reported = why("download.max_bytes=1000000")
    assert "max_bytes: 100000 → 1000000" in reported["download"]
    assert "only the rows that this concerns" in reported["download"]
    reported = why("download.timeout=3")
    assert reported["download"].startswith("up to date; timeout")
    assert "winnow retry" in reported["download"]
    reported = why("download.min_image_size=65")
    assert (reported["download"], reported["embed"]) == ("up to date", "up to date")
    assert "65" in reported["decide"]


def test_a_new_mask_and_a_new_gate_in_one_run(odd, asked):
    """Both at once, on an existing shard: each row once."""
    lab = odd
    run(lab, only_if="url not like '%/0.jpg'")
    asked.clear()
    result = run(lab, max_bytes=1_000_000)
    assert sorted(asked) == ["/0.jpg", "/heavy.png"]
    assert reasons(result) == without("heavy.png")
    assert Path(result.run.folder.path("report.html")).exists() is False
