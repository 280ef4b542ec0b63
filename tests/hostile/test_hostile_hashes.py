"""Pictures that differ from the input's hash, or whose hash is on the blocklist."""

import hashlib
from pathlib import Path

import numpy as np
import pdqhash
import pytest
from hazard import good
from PIL import Image
from plain_scenes import GOOD, encoded, noise, scene
from wire_pages import picture

SHA256 = hashlib.sha256(GOOD).hexdigest()
MD5 = hashlib.md5(GOOD).hexdigest()
OTHER = encoded(scene(120, 90))
FACTS = (
    "sha256", "bytes", "format", "width", "height", "original_width", "original_height",
    "original_pixels", "phash", "phash_quality", "thumb",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["input_sha256", "input_md5"])
def test_bytes_with_another_hash_than_the_lists_are_refused(kind, serve, run):
    right = MD5 if kind == "input_md5" else SHA256
    promised = [right, right.upper(), "0" * len(right), None, "", "no hash", right]
    site = serve({f"/{i}": good for i in range(7)})
    column = {"input_sha256": promised} if kind == "sha256" else {kind: promised}

    outcome = run([f"{site.base}/{i}" for i in range(7)], {}, **column)

    wrong = "hash_mismatch"
    assert outcome.reasons == [None, None, wrong, None, None, wrong, None], outcome.rows
    assert outcome.rows[2]["sha256"] == SHA256
    assert (outcome.rows[2]["phash"], outcome.rows[2]["thumb"]) == (None, None)
    assert sorted(outcome.pictures) == [0, 1, 3, 4, 6]


def test_both_hashes_are_compared_with_the_bytes(serve, run):
    site = serve({f"/{i}": good for i in range(3)})

    outcome = run(
        [f"{site.base}/{i}" for i in range(3)],
        {},
        input_sha256=[SHA256, SHA256, "0" * 64],
        input_md5=[MD5, "0" * 32, MD5],
    )

    assert outcome.reasons == [None, "hash_mismatch", "hash_mismatch"]


def test_one_url_may_be_listed_with_two_hashes(serve, run):
    site = serve({"/a": good})

    outcome = run([f"{site.base}/a"] * 2, {}, input_sha256=[SHA256, "0" * 64])

    assert outcome.reasons == [None, "hash_mismatch"]
    assert site.requests["/a"] == 1


def test_hashes_are_not_compared_if_the_job_says_so(serve, run):
    site = serve({"/a": good})

    outcome = run([f"{site.base}/a"], {"verify_hash": False}, input_sha256=["0" * 64])

    assert outcome.reasons == [None]


def _photo() -> Image.Image:
    """Smooth noise, which has a distinct perceptual hash."""
    return Image.fromarray(noise(12, 10)).resize((360, 300), Image.Resampling.BICUBIC)


def _pdq(image: Image.Image) -> str:
    """The PDQ hash as other tools compute it."""
    bits, quality = pdqhash.compute(np.asarray(image))
    assert quality >= 50
    return np.packbits(bits).tobytes().hex()


COPIES = {
    "itself": encoded(_photo(), "PNG"),
    "recompressed": encoded(_photo(), quality=60),
    "smaller": encoded(_photo().resize((180, 150)), quality=90),
    "as-webp": encoded(_photo().resize((240, 200)), "WEBP", quality=80),
}


@pytest.fixture(scope="module")
def blocklist(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("lists") / "hashes.txt"
    lines = [f"sha256:{SHA256.upper()}", f"md5:{hashlib.md5(OTHER).hexdigest()}  # why"]
    file.write_text("\n".join(["# not for every eye", *lines, "", f"pdq:{_pdq(_photo())}"]))
    return file


@pytest.fixture(scope="module")
def blocked(serve, run, blocklist):
    pages = {"by-sha256": GOOD, "by-md5": OTHER, **COPIES, "free": encoded(noise(90, 80, 7))}
    site = serve({f"/{name}": picture(data) for name, data in pages.items()})
    urls = [f"{site.base}/{name}" for name in pages]
    return dict(zip(pages, run(urls, {"blocklist": str(blocklist)}).rows, strict=True))


@pytest.mark.parametrize("name", ["by-sha256", "by-md5", *COPIES])
def test_nothing_is_kept_of_a_blocklisted_picture(name, blocked, blocklist):
    row = blocked[name]

    assert row["fetch_reason"] == "blocklisted", row["error_message"]
    assert {fact: row[fact] for fact in FACTS} == dict.fromkeys(FACTS)
    for word in blocklist.read_text().replace(":", " ").split():
        assert len(word) < 32 or word.lower() not in row["error_message"].lower()


def test_a_picture_that_is_not_blocklisted_is_kept(blocked):
    assert blocked["free"]["status"] == "success"


def test_a_blocklisted_picture_is_blocked_even_if_it_has_other_faults(serve, run, blocklist):
    site = serve({"/a": good, "/b": good})

    outcome = run(
        [f"{site.base}/a", f"{site.base}/b"],
        {"blocklist": str(blocklist), "min_image_size": 4_000},
        input_sha256=["0" * 64, None],
    )

    assert outcome.reasons == ["blocklisted", "blocklisted"], outcome.rows
    assert outcome.rows[0]["sha256"] is None
