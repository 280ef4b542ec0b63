"""http.client's response with our head, chunks and trailers: it calls the methods overridden."""

import http.client
import io

import pytest

from pipeline.fetch.web.answer import Answer
from pipeline.fetch.web.coding import undo
from pipeline.words.failure import FetchError, printable

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire:
    """A socket that has these bytes to give."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(io.BytesIO(self._data))  # type: ignore[arg-type]


def answer(data: bytes) -> Answer:
    response = Answer(Wire(data))  # type: ignore[arg-type]
    response.begin()
    return response


@pytest.mark.parametrize("name", ["begin", "_get_chunk_left", "_check_close", "_close_conn"])
def test_http_client_has_the_methods_that_are_overridden_or_called(name):
    assert callable(getattr(http.client.HTTPResponse, name))


@pytest.mark.parametrize("read", [lambda r: r.read(), lambda r: r.read1(9), lambda r: r.read(9)])
def test_sizes_of_chunks_are_read_by_our_rule(read):
    assert read(answer(HEAD + b"5 ;x\r\nhello\r\n0\r\n\r\n")) == b"hello"
    # http.client itself takes this for 5.
    with pytest.raises(FetchError, match="`0x5` is no chunk's size"):
        read(answer(HEAD + b"0x5\r\nhello\r\n0\r\n\r\n"))


def test_a_connection_is_kept_after_a_plain_head_only():
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    assert answer(plain).will_close is False
    length = plain.replace(b": 0", b": 0;")
    for odd in (b"\r\n" + plain, plain.replace(b"OK", b"OK\r\nodd"), length):
        assert answer(odd).will_close is True, odd


def test_a_coded_body_is_bounded_in_each_layer():
    import gzip

    bomb = gzip.compress(gzip.compress(bytes(1_000_000)))

    assert len(undo(bomb, "gzip, gzip", 1_000)) == 1_001


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("cannot identify <_io.BytesIO object at 0x7f44083d9c50>", "cannot identify <_io.BytesIO>"),
        ("<function f at 0x7fa200206660>", "<function f>"),
        ("[SSL] wrong version number (_ssl.c:1006)", "[SSL] wrong version number"),
        ("OpenCV(4) /io/src/resize.cpp:4211: error", "OpenCV(4) resize.cpp:4211: error"),
        ("found marker 0xd5 instead of RST3", "found marker 0xd5 instead of RST3"),
    ],
)  # fmt: skip
def test_messages_hold_no_places_in_memory_or_sources(said, shown):
    assert printable(said) == shown
