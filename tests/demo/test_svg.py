from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.svg import MAX_TEXT, Metadata, read_metadata

WORK = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="http://purl.org/dc/elements/1.1/"
     xmlns:cc="http://web.resource.org/cc/"
     xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<title>the drawing's own</title>
<metadata><rdf:RDF><cc:Work rdf:about="">
<dc:title>{title}</dc:title>
<dc:subject><rdf:Bag><rdf:li>fruit</rdf:li><rdf:li></rdf:li><rdf:li>fruit</rdf:li>
<rdf:li>a  green
 apple</rdf:li></rdf:Bag></dc:subject>
<dc:creator><cc:Agent><dc:title>Jane Doe</dc:title></cc:Agent></dc:creator>
</cc:Work></rdf:RDF></metadata><path d="M0 0"/></svg>"""


def read(text: str) -> Metadata:
    return read_metadata(text.encode())


def spoilt(at: int, noise: bytes) -> bytes:
    """The work with other bytes put into it."""
    data = WORK.format(title="Apple").encode()
    return data[:at] + noise + data[at:]


def test_title_and_keywords_are_those_of_the_work_and_not_of_its_author() -> None:
    assert read(WORK.format(title="Apple &amp; leaf")) == Metadata(
        "Apple & leaf", ("fruit", "a green apple")
    )


def test_drawing_without_dublin_core_gives_its_own_title() -> None:
    assert read(WORK.format(title=" ")).title == "the drawing's own"
    assert read("<svg><g><title>a tooltip</title></g></svg>") == Metadata(None, ())


def test_prefixes_need_not_be_declared() -> None:
    text = "<svg><cc:Work><dc:title>Apple</dc:title></cc:Work></svg>"
    assert read(text) == Metadata("Apple", ())


@pytest.mark.parametrize(
    ("text", "title", "problem"),
    [
        (WORK.format(title="Apple")[:-40] + "<g>", "Apple", None),
        ("<svg><cc:Work><dc:title>Apple</dc:title><dc:subject>", "Apple", "no element found"),
        ("<svg><cc:Work><dc:title>Ap", None, "no element found"),
        ("<svg><title>Apple</title></g></svg>", "Apple", "mismatched tag"),
        ("<svg><title>Apfel</title><text>&eacute;</text></svg>", "Apfel", "undefined entity"),
        ("", None, "no element found"),
        ("not xml", None, "syntax error"),
        ('<?xml version="1.0" encoding="klingon"?><svg/>', None, "unknown encoding"),
    ],
)
def test_broken_files_give_what_comes_before_the_fault(
    text: str, title: str | None, problem: str | None
) -> None:
    found = read(text)
    assert found.title == title
    assert (found.problem is None) if problem is None else (problem in str(found.problem))


def test_expanding_and_external_entities_are_refused() -> None:
    laughs = '<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><svg><title>&b;</title></svg>'
    assert read(laughs) == Metadata(None, (), "entity `b` refused")
    outside = (
        '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg><title>&a;</title></svg>'
    )
    assert read(outside) == Metadata(None, (), "entity `a` refused")
    plain = '<!DOCTYPE svg [<!ENTITY ns "http://ns.example">]><svg x="&ns;"><title>A</title></svg>'
    assert read(plain) == Metadata("A", ())


def test_endless_title_is_cut() -> None:
    assert read(f"<svg><title>{'a' * 100_000}</title></svg>").title == "a" * MAX_TEXT


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200) | st.builds(spoilt, st.integers(0, len(WORK)), st.binary(max_size=9))
)
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    found = read_metadata(data)
    for text in (*found.keywords, *([] if found.title is None else [found.title])):
        assert text
        assert text == " ".join(text.split())
    assert len(set(found.keywords)) == len(found.keywords)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=80))
def test_any_title_is_read_with_normalised_spaces(title: str) -> None:
    expected = " ".join(title.split()) or "the drawing's own"
    assert read(WORK.format(title=escape(title))).title == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(WORK)))
def test_a_truncated_file_gives_the_title_if_that_is_complete(length: int) -> None:
    text = WORK.format(title="Apple")
    found = read(text[:length])
    if length >= text.index("</dc:title>") + len("</dc:title>"):
        assert found.title == "Apple"
    elif length < text.index("</title>"):
        assert found.title is None
