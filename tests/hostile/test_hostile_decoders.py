"""Pictures that crash, hang or exhaust their decoder: only the row fails."""

import os
import shutil
import signal
import time
import zlib
from pathlib import Path

import decoder_faults
import pytest
from hazard import good
from odd_pictures import deflated_zeros, jpeg_of_scans, jpeg_segment, png, with_segments
from peak_memory import children
from wire_pages import picture

# 9,400² white pixels, 265 MB as RGB, a quarter of a megabyte on the wire.
HUGE = png(9_400, 9_400, 8, 2, deflated_zeros(253 << 20))
LARGE = {"max_bytes": 2_000_000}
DETAILS = {
    "abort": f"signal {signal.SIGABRT.value}",
    "segfault": f"signal {signal.SIGSEGV.value}",
    "exit": "exit code 0",
    "quit": "exit code 3",
    "hang": "no answer after 1 s",
    "exhaust": "memory",
    "babble": "died",
}


def _faulty(fault: str) -> bytes:
    return with_segments(jpeg_segment(0xFE, decoder_faults.MARK + fault.encode() + b";"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory, serve, run):
    """Every fault between two good pictures, in one shard, and another shard after it."""
    folder: Path = tmp_path_factory.mktemp("faults")
    shutil.copy(decoder_faults.__file__, folder / "sitecustomize.py")
    # A different contact starts new decoders: they are kept while the settings are the same.
    options = {
        "user_agent_contact": folder.as_uri(),
        "decode_memory_mb": 256,
        "decode_timeout": 1.0,
        "decoders": 2,
    }
    bad = {f"/{fault}": picture(_faulty(fault)) for fault in DETAILS}
    site = serve(bad | {f"/{i}": good for i in range(len(DETAILS) + 1)})
    paths = [name for pair in enumerate(DETAILS) for name in pair]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        outcome = run([f"{site.base}/{path}" for path in paths], options)
        after = run([f"{site.base}/{len(DETAILS)}"], options)
    return dict(zip(paths, outcome.rows, strict=True)), outcome, after


@pytest.mark.parametrize("fault", DETAILS)
def test_a_broken_decoder_fails_only_one_row(fault, broken):
    row = broken[0][fault]

    assert row["fetch_reason"] == "decoder_crash", row["error_message"]
    assert DETAILS[fault] in row["error_message"]
    assert len(row["sha256"]) == 64
    assert (row["phash"], row["thumb"], row["width"]) == (None, None, None)


def test_pictures_during_and_after_a_decoder_crash_are_kept(broken):
    rows, outcome, after = broken

    assert [rows[i]["status"] for i in range(len(DETAILS))] == ["success"] * len(DETAILS)
    assert after.reasons == [None]
    assert outcome.seconds + after.seconds < 12


@pytest.mark.parametrize(("times", "reason"), [(1, None), (2, "decoder_crash")])
@pytest.mark.parametrize("fault", ["segfault", "hang", "exhaust", "exit"])
def test_a_decoder_that_failed_once_does_not_cost_its_picture(
    tmp_path, serve, run, fault, times, reason
):
    shutil.copy(decoder_faults.__file__, tmp_path / "sitecustomize.py")
    options = {
        "user_agent_contact": tmp_path.as_uri(),
        "decode_memory_mb": 256,
        "decode_timeout": 1.0,
        "decoders": 1,
    }
    site = serve({"/sick": picture(_faulty(f"{fault} {times}")), "/a": good, "/b": good})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        outcome = run([f"{site.base}/{name}" for name in ("a", "sick", "b")], options)

    assert outcome.reasons == [None, reason, None], outcome.rows
    assert (tmp_path / f"{fault}-asked").read_text() == "x" * 2


def test_a_picture_beyond_the_decoders_memory(serve, run):
    site = serve({"/huge": picture(HUGE), "/a": good, "/b": good})
    options = LARGE | {"decode_memory_mb": 256}

    outcome = run([f"{site.base}/{name}" for name in ("a", "huge", "b")], options)

    assert outcome.reasons == [None, "decoder_crash", None], outcome.rows
    assert "256 MiB" in outcome.rows[1]["error_message"]
    assert outcome.memory.grown_mb < 48
    assert outcome.memory.children_mb < 160 + 256 + 48
    assert outcome.seconds < 6


def test_a_picture_beyond_the_decoders_time(serve, run):
    site = serve({"/huge": picture(HUGE), "/a": good, "/b": good})
    options = LARGE | {"decode_timeout": 0.2}

    outcome = run([f"{site.base}/{name}" for name in ("a", "huge", "b")], options)

    assert outcome.reasons == [None, "decoder_crash", None], outcome.rows
    assert "0.2 s" in outcome.rows[1]["error_message"]
    assert outcome.seconds < 6


def test_a_jpeg_with_a_thousand_scans_ends_at_the_time_limit(serve, run):
    """Each repetition of 31 bytes of a progressive JPEG takes 20 ms to decode."""
    site = serve({"/scans": picture(jpeg_of_scans(1_000)), "/a": good})

    outcome = run(
        [f"{site.base}/{name}" for name in ("scans", "a")], LARGE | {"decode_timeout": 0.8}
    )

    assert outcome.reasons == ["decoder_crash", None], outcome.rows
    assert "0.8 s" in outcome.rows[0]["error_message"]
    assert outcome.seconds < 6


def test_a_picture_within_memory_and_time_limits(serve, run):
    """The same picture is decoded if the limits allow it."""
    site = serve({"/huge": picture(HUGE)})

    outcome = run([f"{site.base}/huge"], LARGE)

    assert outcome.reasons == [None], outcome.rows
    assert outcome.rows[0]["original_pixels"] == 9_400**2
    assert outcome.memory.grown_mb < 48


def test_decoders_killed_between_shards_are_started_again(serve, run):
    site = serve({f"/{i}": good for i in range(4)})
    assert run([f"{site.base}/0"], {}).reasons == [None]
    for pid in children():
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.1)

    outcome = run([f"{site.base}/{i}" for i in range(1, 4)], {})

    assert outcome.reasons == [None] * 3, outcome.rows


def test_no_more_decoders_than_the_job_says(serve, run):
    site = serve({f"/{i}": picture(png(900, 900, 8, 2, zlib.compress(bytes(2_430_900 + 900))))
                  for i in range(12)})  # fmt: skip

    outcome = run([f"{site.base}/{i}" for i in range(12)], {"decoders": 2})

    assert outcome.reasons == [None] * 12, outcome.rows
    assert len(children()) <= 2
