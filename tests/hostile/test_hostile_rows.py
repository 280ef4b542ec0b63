"""Odd rows: repeated, lost by img2dataset, invalid in the input, or left out by only_if."""

from typing import Any

from hazard import good
from plain_scenes import encoded, scene
from wire_pages import picture

from pipeline.fetch.writer import SampleWriter

OTHER = encoded(scene(120, 90))


def test_repeated_rows_share_one_request_and_one_result(serve, run):
    site = serve({"/good.jpg": good, "/none.jpg": lambda h: h.answer(404)})
    same = [f"{site.base}/good.jpg", f"{site.base}/good.jpg#x", f" {site.base}/a/../good.jpg\n"]
    gone = [f"{site.base}/none.jpg"] * 3

    outcome = run([*same, *gone], {})

    assert outcome.reasons == [None] * 3 + ["http_not_found"] * 3
    assert (site.requests["/good.jpg"], site.requests["/none.jpg"]) == (1, 1)
    for rows in (outcome.rows[:3], outcome.rows[3:]):
        alike = [{k: v for k, v in row.items() if k != "uid"} for row in rows]
        assert alike[0] == alike[1] == alike[2]
    assert len(set(outcome.pictures.values())) == 1


def test_a_row_whose_writing_fails_gets_the_reason_download_internal(serve, run, monkeypatch):
    write = SampleWriter.write

    def full(self: SampleWriter, img: Any, key: str, caption: Any, meta: dict[str, Any]) -> None:
        if meta["url"].endswith("/lost.jpg"):
            raise OSError(28, "No space left on device")
        write(self, img, key, caption, meta)

    monkeypatch.setattr(SampleWriter, "write", full)
    site = serve({"/good.jpg": good, "/lost.jpg": good})
    urls = [f"{site.base}/{name}.jpg" for name in ("good", "lost", "none", "lost")]

    outcome = run(urls, {})

    assert outcome.reasons == [None, "download_internal", "http_not_found", "download_internal"]
    assert outcome.rows[1]["sha256"] is None
    assert list(outcome.pictures) == [0]


def test_invalid_and_masked_rows_cause_no_request(serve, run):
    site = serve({"/good.jpg": good, "/other.jpg": picture(OTHER)})
    urls = [f"{site.base}/good.jpg", f"{site.base}/other.jpg", None, f"{site.base}/other.jpg"]

    outcome = run(
        urls,
        {},
        wanted=[True, False, True, True],
        input_error=[None, None, "url_missing", "invalid_utf8"],
    )

    assert outcome.states == ["success", "skipped", "invalid", "invalid"]
    assert site.requests["/other.jpg"] == 0


def test_a_shard_of_only_hostile_urls_is_completed(serve, run):
    site = serve({})

    outcome = run([None, "file:///etc/passwd", f"{site.base}/none.jpg"], {})

    assert outcome.reasons == ["url_invalid", "scheme_forbidden", "http_not_found"]
    assert outcome.pictures == {}
