"""The user's lists: reading, errors that name the line, and matching."""

import numpy as np
import pytest

from pipeline.fetch.lists import DomainList, read_domains, read_hashes
from pipeline.words.errors import InputError


def test_a_domain_covers_its_subdomains_and_nothing_else(tmp_path):
    path = tmp_path / "domains.txt"
    path.write_text("# asked us in May\nExample.com\n*.photos.example.org.\n\nbücher.example # x\n")

    domains = read_domains(str(path))

    matches = {
        host: domains.match(host)
        for host in (
            "example.com", "EXAMPLE.com.", "cdn.img.example.com", "badexample.com", "com",
            "example.org", "photos.example.org", "a.photos.example.org", "xn--bcher-kva.example",
        )
    }  # fmt: skip
    assert matches == {
        "example.com": "example.com", "EXAMPLE.com.": "example.com",
        "cdn.img.example.com": "example.com", "badexample.com": None, "com": None,
        "example.org": None, "photos.example.org": "photos.example.org",
        "a.photos.example.org": "photos.example.org",
        "xn--bcher-kva.example": "xn--bcher-kva.example",
    }  # fmt: skip


def test_without_a_list_nothing_matches():
    assert read_domains(None) == DomainList(frozenset())
    assert read_hashes(None, 31) is None


@pytest.mark.parametrize(
    "line", ["http://example.com", "example.com/path", "a b", "example.com:80"]
)
def test_a_line_that_is_not_a_domain_is_named(tmp_path, line):
    path = tmp_path / "domains.txt"
    path.write_text(f"example.org\n{line}\n")

    with pytest.raises(InputError, match=r"download\.opted_out_domains: .*, line 2: a domain is"):
        read_domains(str(path))


def test_hashes_by_kind(tmp_path):
    path = tmp_path / "hashes.txt"
    path.write_text(f"sha256:{'AB' * 32}\nmd5: {'01' * 16} # old\npdq:{'f0' * 32}\n")

    hashes = read_hashes(str(path), 31)

    assert hashes is not None
    assert hashes.entry_of_bytes("ab" * 32, None) in hashes.entries
    assert hashes.entry_of_bytes("00" * 32, "01" * 16) in hashes.entries
    assert hashes.entry_of_bytes("00" * 32, "ff" * 16) is None
    assert len(hashes.entries) == len(hashes.sha256) + len(hashes.md5) + len(hashes.pdq)


@pytest.mark.parametrize(("bits", "near"), [(0, True), (31, True), (32, False), (200, False)])
def test_near_pdq_hashes_match_up_to_the_distance(tmp_path, bits, near):
    path = tmp_path / "hashes.txt"
    rng = np.random.default_rng(0)
    listed = rng.integers(0, 256, (40, 32), dtype=np.uint8)
    path.write_text("".join(f"pdq:{row.tobytes().hex()}\n" for row in listed))
    flipped = np.unpackbits(listed[7])
    flipped[rng.choice(256, bits, replace=False)] ^= 1

    hashes = read_hashes(str(path), 31)

    assert hashes is not None
    entry = hashes.entry_of_picture(np.packbits(flipped).tobytes())
    assert (entry in hashes.entries) is near


@pytest.mark.parametrize(
    "line", ["deadbeef" * 8, "sha1:" + "ab" * 20, "sha256:" + "ab" * 31, "md5:" + "zz" * 16]
)
def test_a_line_that_is_not_a_hash_is_named_only_by_its_number(tmp_path, line):
    path = tmp_path / "hashes.txt"
    path.write_text(f"{line}\n")

    with pytest.raises(InputError, match=r"download\.blocklist: .*, line 1: ") as error:
        read_hashes(str(path), 31)
    assert line not in str(error.value)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(InputError, match=r"download\.blocklist: cannot read .*none\.txt"):
        read_hashes(str(tmp_path / "none.txt"), 31)
