"""What a picture's own metadata says of its use, its origin, its licence and its maker.

Sources: PLUS LDF 2.0.1 (`plus:DataMining`), IPTC Photo Metadata 2024.1 (`DigitalSourceType`,
`Creator`), W3C TDM Reservation Protocol, XMP Rights Management, EXIF 3.0, IPTC-IIM 4.2.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.fetch.picture.jumbf import assertions, reserved_use, source_types
from pipeline.fetch.picture.packets import find_packets
from pipeline.words.failure import printable

_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_DC = "http://purl.org/dc/elements/1.1/"
_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_CC = "http://creativecommons.org/ns#"
_TDM = "http://www.w3.org/ns/tdmrep#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_AS_STATED = {
    f"{{{_CC}}}license": ("license_declared", 0),
    f"{{{_RIGHTS}}}WebStatement": ("license_declared", 1),
    f"{{{_RIGHTS}}}UsageTerms": ("license_declared", 2),
    f"{{{_DC}}}rights": ("license_declared", 3),
    f"{{{_DC}}}creator": ("creator", 0),
}
"""Properties whose text is a signal itself: its name, and its rank among others of that name."""
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LISTS = {f"{_RDF}{name}" for name in ("Alt", "Bag", "Seq")}
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_PROHIBITED = re.compile(r"DMI-PROHIBITED[A-Z-]*")
_GENERATED = re.compile(r"(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia)$")
_DREAM = re.compile(r" -[sS] ?\d")
"""The options that InvokeAI's command line notes."""
_COMFYUI = re.compile(r'"class_type"\s*:')
_GENERATORS = re.compile(
    r"\b(?:stable.?diffusion|midjourney|dall.?e|adobe firefly|novelai|invokeai|comfyui|fooocus"
    r"|automatic1111|dreamstudio|ideogram\.ai|leonardo\.ai|google imagen|flux\.1)(?![\w-])",
    re.IGNORECASE,
)
"""Names of generators, as they stand in the fields for the software that made a picture."""
_STEPS = re.compile(r"\bSteps: \d{1,5}, ")
_MOST_EXIF = 1 << 18
_ARTIST, _COPYRIGHT, _SOFTWARE, _EXIF_IFD, _COMMENT = 0x013B, 0x8298, 0x0131, 0x8769, 0x9286


@dataclass(frozen=True)
class Signals:
    """At most 300 characters each; None for what is not stated."""

    optout_metadata: str | None = None
    """The statement that reserves the picture from training or mining."""
    ai_generated_declared: str | None = None
    """The statement that a model made the picture, or a part of it."""
    license_declared: str | None = None
    """A licence's address, else the terms of use, else the notice of copyright."""
    creator: str | None = None


def read_signals(data: bytes, form: str) -> Signals:
    """The signals of a picture. What is broken or hostile in its metadata counts as not stated."""
    try:
        packets = find_packets(data, form)
    except ValueError:
        return Signals()
    stated = _Stated()
    for packet in packets.xmp:
        _quietly(_read_xmp, packet, stated)
    for store in packets.jumbf:
        _quietly(_read_c2pa, store, stated)
    for keyword, text in packets.texts:
        _read_text(keyword, text, stated)
    for block in packets.exif[:1]:
        _quietly(_read_exif, block, stated)
    for block in packets.iptc:
        _quietly(_read_iptc, block, stated)
    return stated.signals()


class _Stated:
    """What was found, in order of weight: the least rank counts, of equal ones the first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, name: str, value: Any, rank: int = 0) -> None:
        text = printable(str(value or "")).strip()
        if text and (name not in self._found or rank < self._found[name][0]):
            self._found[name] = rank, text

    def signals(self) -> Signals:
        return Signals(**{name: text for name, (_, text) in self._found.items()})


def _quietly(read: Any, block: bytes, stated: _Stated) -> None:
    try:
        read(block, stated)
    except MemoryError:
        raise
    except Exception:  # noqa: S110 - parsers raise anything on hostile bytes, which state nothing
        pass


def _has_settings(text: str) -> bool:
    """Whether a text has the settings as Stable Diffusion's web interfaces note them."""
    steps = _STEPS.search(text)
    return steps is not None and " Sampler: " in text[steps.end() - 1 :]


def _read_xmp(packet: bytes, stated: _Stated) -> None:
    from defusedxml.ElementTree import ParseError, fromstring

    start, end = packet.find(b"<"), packet.rfind(b">")
    try:
        tree = fromstring(packet[start : end + 1], forbid_dtd=True)
    except ParseError:  # often one byte of another coding, or a control character
        text = packet[start : end + 1].decode(errors="replace")
        tree = fromstring(_CONTROLS.sub(" ", text), forbid_dtd=True)
    for name, values in _properties(tree):
        joined = "; ".join(values)
        if name == f"{{{_PLUS}}}DataMining":
            for value in values:
                if match := _PROHIBITED.search(value):
                    stated.add("optout_metadata", f"plus: {match[0]}")
        elif name == f"{{{_TDM}}}reservation":
            stated.add("optout_metadata", "tdm: reservation" if "1" in values else "")
        elif name in (f"{{{_IPTC_EXT}}}DigitalSourceType", f"{{{_IPTC_EXT}}}DigitalSourcefileType"):
            for value in values:
                if match := _GENERATED.search(value.rstrip("/")):
                    stated.add("ai_generated_declared", f"iptc: {match[0]}")
        elif name == f"{{{_XMP}}}CreatorTool" and (match := _GENERATORS.search(joined)):
            stated.add("ai_generated_declared", f"software: {match[0]}", 2)
        elif name in _AS_STATED:
            column, rank = _AS_STATED[name]
            stated.add(column, joined, rank)


def _properties(tree: Any) -> Iterator[tuple[str, list[str]]]:
    """Names and values of all properties: attributes, texts, resources and members of lists."""
    for element in tree.iter():
        for name, value in element.attrib.items():
            yield name, [value.strip()]
        values = [element.attrib.get(f"{_RDF}resource") or "", element.text or ""]
        for child in element:
            if child.tag == f"{_RDF}value":
                values.append(child.attrib.get(f"{_RDF}resource") or child.text or "")
            elif child.tag == f"{_RDF}Description":
                values += [one.text or "" for one in child if one.tag == f"{_RDF}value"]
            if child.tag in _LISTS:
                values += [one.attrib.get(f"{_RDF}resource") or one.text or "" for one in child]
        if found := [value.strip() for value in values if value.strip()]:
            yield element.tag, found


def _read_c2pa(store: bytes, stated: _Stated) -> None:
    for label, content in assertions(store):
        stated.add("optout_metadata", reserved_use(label, content), 1)
        for kind in source_types(label, content):
            if match := _GENERATED.search(kind.rstrip("/")):
                stated.add("ai_generated_declared", f"c2pa: {match[0]}", 1)


def _read_text(keyword: str, text: str, stated: _Stated) -> None:
    """A text of PNG; generators write their settings there."""
    key = keyword.lower()
    if key == "parameters" and _has_settings(text):
        stated.add("ai_generated_declared", "text: parameters", 2)
    elif key in ("prompt", "workflow") and _COMFYUI.search(text):
        stated.add("ai_generated_declared", f"text: {key} of ComfyUI", 2)
    elif key in ("invokeai_metadata", "sd-metadata") or (key == "dream" and _DREAM.search(text)):
        stated.add("ai_generated_declared", f"text: {key} of InvokeAI", 2)
    elif key in ("software", "source", "generator", "title", "description", "comment"):
        find = _GENERATORS.match if key == "source" else _GENERATORS.search
        if key in ("software", "source", "generator") and (match := find(text)):
            stated.add("ai_generated_declared", f"software: {match[0]}", 2)
        elif _has_settings(text):
            stated.add("ai_generated_declared", f"text: {key}", 2)
    elif key == "author":
        stated.add("creator", text, 1)
    elif key == "copyright":
        stated.add("license_declared", text, 4)


def _read_exif(block: bytes, stated: _Stated) -> None:
    if len(block) > _MOST_EXIF:
        return
    with warnings.catch_warnings(action="ignore"):
        _read_tags(block, stated)


def _read_tags(block: bytes, stated: _Stated) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    stated.add("creator", _plain(exif.get(_ARTIST)), 1)
    stated.add("license_declared", _plain(exif.get(_COPYRIGHT)), 4)
    if match := _GENERATORS.search(_plain(exif.get(_SOFTWARE))):
        stated.add("ai_generated_declared", f"software: {match[0]}", 2)
    comment = exif.get_ifd(_EXIF_IFD).get(_COMMENT)
    if isinstance(comment, bytes) and any(map(_has_settings, _comment_texts(comment))):
        stated.add("ai_generated_declared", "text: UserComment", 2)


def _comment_texts(comment: bytes) -> Iterable[str]:
    """A UserComment without its eight bytes of coding, whose UTF-16 has either order."""
    codings = ("utf-8", "utf-16-le", "utf-16-be")
    return [comment[8 : 8 + (1 << 16)].decode(coding, errors="replace") for coding in codings]


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _read_iptc(block: bytes, stated: _Stated) -> None:
    """IPTC-IIM, in Photoshop's resource 0x0404: by-line (2:80) and copyright notice (2:116)."""
    names = {80: ("creator", 2), 116: ("license_declared", 5)}
    for kind, start, stop in _resources(block):
        at = start if kind == 0x0404 else stop
        while at + 5 <= stop and block[at] == 0x1C:
            record, number = block[at + 1], block[at + 2]
            size = int.from_bytes(block[at + 3 : at + 5], "big")
            if size & 0x8000:
                return  # an extended data set, which is none of these
            if record == 2 and number in names:
                name, rank = names[number]
                stated.add(name, block[at + 5 : at + 5 + size].decode(errors="replace"), rank)
            at += 5 + size


def _resources(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each of Photoshop's image resources."""
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        kind = int.from_bytes(block[at + 4 : at + 6], "big")
        name = 1 + block[at + 6]
        at += 6 + name + (name & 1)
        size = int.from_bytes(block[at : at + 4], "big")
        yield kind, at + 4, min(at + 4 + size, len(block))
        at += 4 + size + (size & 1)
