"""Which rows a takedown matches, and how it is stored."""

import json

import pyarrow as pa
import pytest

from pipeline.table.storage import Folder
from pipeline.table.tombstones import NAME, Scope, Tombstones
from pipeline.words.errors import InputError

UID = "0123456789abcdef0123456789abcdef"


def stones(**given: str) -> Tombstones:
    return Tombstones().with_(Scope.parse(kind, text, f"--{kind}") for kind, text in given.items())


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://example.org/a.jpg", True),
        ("https://EXAMPLE.org:8443/a.jpg", True),
        ("http://img.cdn.example.org/a.jpg", True),
        ("http://user:word@example.org/a", True),
        ("http://example.org./a.jpg", True),
        ("ftp://example.org/a.jpg", True),
        ("http://ex%61mple.org/a.jpg", True),
        ("http://notexample.org/a.jpg", False),
        ("http://example.org.evil.test/a.jpg", False),
        ("http://other.test/example.org/a.jpg", False),
        ("no url at all, example.org", False),
        (None, False),
    ],
)
def test_a_domain_matches_its_host_and_subdomains(url, taken):
    found = stones(domain="Example.ORG.")
    assert found.takes(UID, url) is taken
    assert found.mask(
        pa.chunked_array([[UID]]), pa.chunked_array([pa.array([url], pa.string())])
    ) == [taken]


def test_an_international_domain_is_found_in_unicode_and_punycode():
    found = stones(domain="bücher.example")
    assert found.domains == {"xn--bcher-kva.example"}
    for host in ("bücher.example", "xn--bcher-kva.example", "www.BÜCHER.example"):
        urls = pa.chunked_array([[f"http://{host}/1.jpg"]])
        assert found.mask(pa.chunked_array([[UID]]), urls).tolist() == [True], host


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://example.org/a.jpg", True),
        ("HTTP://Example.org/x/../a.jpg#top", True),
        ("http://example.org/b.jpg", False),
        ("https://example.org/a.jpg", False),
    ],
)
def test_a_url_is_compared_in_normal_form(url, taken):
    assert stones(url="http://example.org/a.jpg").takes(UID, url) is taken


def test_a_url_that_cannot_be_parsed_is_compared_as_it_is():
    found = stones(url="not a url")
    assert (found.takes(UID, "not a url"), found.takes(UID, "not a URL")) == (True, False)


def test_many_domains_are_all_matched():
    many = Tombstones().with_(Scope.parse("domain", f"d{i}.test", "x") for i in range(50))
    urls = pa.chunked_array([["http://d49.test/a", "http://e.test/a", None]])
    assert many.mask(pa.chunked_array([[UID] * 3]), urls).tolist() == [True, False, False]


def test_uids_are_those_named_and_those_matched():
    other = "f" * 32
    found = Tombstones().with_([Scope("domain", "a.test", (other,)), Scope("uid", UID)])
    assert found.uids == {UID, other}
    assert found.takes(other, None)
    assert found.took(other) == [{"date": found.stones[0].date, "kind": "domain"}]
    uids = pa.chunked_array([[UID, other, "0" * 32]])
    nulls = pa.chunked_array([pa.nulls(3, pa.string())])
    assert found.mask(uids, nulls).tolist() == [True, True, False]


def test_tombstones_read_back_and_contain_no_url(tmp_path):
    folder = Folder(tmp_path)
    found = stones(uid=UID, url="http://secret.test/a.jpg", domain="b.test", sha256="A" * 64)
    found.write(folder)
    text = (tmp_path / NAME).read_text()
    assert "secret" not in text
    assert [json.loads(line)["done"] for line in text.splitlines()] == [False]
    back = Tombstones.read(tmp_path)
    assert (back, back.undone) == (found, found.stones)
    assert (back.sha256, back.domains) == ({"a" * 64}, {"b.test"})
    back.all_done().write(folder)
    assert Tombstones.read(folder).undone == ()


def test_without_a_tombstone_file_no_row_matches(tmp_path):
    none = Tombstones.read(Folder(tmp_path))
    assert not none.takes(UID, "http://a.test/")
    assert (none.uids, none.sha256) == (frozenset(), frozenset())


def test_a_broken_tombstone_file_is_an_input_error(tmp_path):
    (tmp_path / NAME).write_text('{"date": "2026-01-01", "scopes": []}\n')
    with pytest.raises(
        InputError, match=r"tombstones\.jsonl, line 1: not a tombstone .* repair it"
    ):
        Tombstones.read(Folder(tmp_path))


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("uid", "abc", "--x: a uid is 32 hex digits, not `abc`"),
        ("uid", "g" * 32, "a uid is 32 hex digits"),
        ("sha256", "a" * 63, "a sha256 is 64 hex digits"),
        ("url", "  ", "--x: expected a url, this is empty"),
        ("domain", "http://a.test", "a domain is e.g. example.org"),
        ("domain", "a.test/x", "a domain is e.g. example.org"),
        ("domain", "*.a.test", "a domain is e.g. example.org"),
        ("domain", "..", "a domain is e.g. example.org"),
        ("host", "a", "--x: `host` is no scope; the scopes are uid, url, domain, sha256"),
    ],
)
def test_malformed_values_are_named(kind, text, expected):
    with pytest.raises(InputError, match=expected):
        Scope.parse(kind, text, "--x")
