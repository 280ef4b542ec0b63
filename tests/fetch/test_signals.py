"""What pictures say of themselves: found in every format, and harmless however it is written."""

import io
import struct
import time
import zlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from pipeline.fetch.picture.signals import Signals, read_signals

PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def xmp(properties: str = "", attributes: str = "") -> bytes:
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:plus="{PLUS}" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:cc="http://creativecommons.org/ns#"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tdm="http://www.w3.org/ns/tdmrep#"
 {attributes}>{properties}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def saved(form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 40)).save(out, form, **options)
    return out.getvalue()


def with_xmp(form: str, packet: bytes) -> bytes:
    """A picture of the format with the packet where the format has it."""
    if form == "gif":
        # XMP Specification Part 3, 1.1.2: raw, with a trailer that ends it as blocks.
        trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
        return saved("gif")[:-1] + b"\x21\xff\x0bXMP DataXMP" + packet + trailer + b";"
    if form == "png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        return saved("png", pnginfo=info)
    return saved(form, xmp=packet)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def superbox(label: str, *inner: bytes) -> bytes:
    return box(b"jumb", box(b"jumd", bytes(16) + b"\3" + label.encode() + b"\0") + b"".join(inner))


def store(**assertions: Any) -> bytes:
    """A C2PA store with these assertions; `_` and `__` in their labels stand for `.` and `-`."""
    made = [
        superbox(name.replace("__", "-").replace("_", "."), box(b"cbor", cbor2.dumps(content)))
        for name, content in assertions.items()
    ]
    return superbox("c2pa", superbox("urn:uuid:1", superbox("c2pa.assertions", *made)))


def with_store(form: str, data: bytes) -> bytes:
    """A picture of the format with a C2PA store where the format has it (C2PA 2.2, A.3)."""
    picture = saved(form)
    if form == "png":
        chunk = struct.pack(">I", len(data)) + b"caBX" + data
        chunk += struct.pack(">I", zlib.crc32(b"caBX" + data))
        return picture[:33] + chunk + picture[33:]
    if form == "webp":
        body = (
            picture[12:] + b"C2PA" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        )
        return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    if form == "avif":
        body = (
            bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(4) + b"manifest\0" + bytes(8)
        )
        return picture + box(b"uuid", body + data)
    pieces, size = b"", 1_000  # in several segments, as large stores are
    for number, at in enumerate(range(8, len(data), size), 1):
        part = b"JP" + struct.pack(">HI", 1, number) + data[:8] + data[at : at + size]
        pieces += b"\xff\xeb" + struct.pack(">H", 2 + len(part)) + part
    return picture[:2] + pieces + picture[2:]


FORMS = ["jpeg", "png", "webp", "avif", "gif"]


@pytest.mark.parametrize("form", FORMS)
def test_a_plain_picture_states_nothing(form: str):
    assert read_signals(saved(form), form) == Signals()


@pytest.mark.parametrize("form", FORMS)
def test_xmp_is_found_in_every_format(form: str):
    packet = xmp(f'<plus:DataMining rdf:resource="{VOCABULARY}DMI-PROHIBITED"/>')
    found = read_signals(with_xmp(form, packet), form)
    assert found == Signals(optout_metadata="plus: DMI-PROHIBITED")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("DMI-UNSPECIFIED", None), ("DMI-ALLOWED", None),
        ("DMI-PROHIBITED", "plus: DMI-PROHIBITED"),
        ("DMI-PROHIBITED-AIMLTRAINING", "plus: DMI-PROHIBITED-AIMLTRAINING"),
        ("DMI-PROHIBITED-GENAIMLTRAINING", "plus: DMI-PROHIBITED-GENAIMLTRAINING"),
        ("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
         "plus: DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING"),
        ("DMI-PROHIBITED-SEECONSTRAINT", "plus: DMI-PROHIBITED-SEECONSTRAINT"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("written", ["attribute", "text", "resource", "bare"])
def test_data_mining_of_plus(value: str, expected: str | None, written: str):
    address = f"{VOCABULARY}{value}"
    packet = {
        "attribute": xmp(attributes=f'plus:DataMining="{address}"'),
        "text": xmp(f"<plus:DataMining>{address}</plus:DataMining>"),
        "resource": xmp(f'<plus:DataMining rdf:resource="{address}"/>'),
        "bare": xmp(f"<plus:DataMining>{value}</plus:DataMining>"),
    }[written]
    assert read_signals(saved("jpeg", xmp=packet), "jpeg").optout_metadata == expected


def test_the_tdm_reservation_in_xmp():
    for value, expected in (("1", "tdm: reservation"), ("0", None)):
        packet = xmp(f"<tdm:reservation>{value}</tdm:reservation>")
        assert read_signals(saved("jpeg", xmp=packet), "jpeg").optout_metadata == expected


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize(
    ("label", "use", "stated", "expected"),
    [
        ("cawg_training__mining", "cawg.ai_generative_training", "notAllowed",
         "cawg.ai_generative_training: notAllowed"),
        ("c2pa_training__mining", "c2pa.ai_training", "constrained",
         "c2pa.ai_training: constrained"),
        ("c2pa_training__mining", "c2pa.data_mining", "notAllowed",
         "c2pa.data_mining: notAllowed"),
        ("c2pa_training__mining", "c2pa.ai_generative_training", "allowed", None),
        ("c2pa_training__mining", "c2pa.ai_inference", "notAllowed", None),
        ("other_assertion", "c2pa.ai_training", "notAllowed", None),
    ],
)  # fmt: skip
def test_assertions_of_training_and_mining(form, label, use, stated, expected):
    entries = {"entries": {use: {"use": stated}}, "pad": "x" * 3_000}
    data = with_store(form, store(**{label: entries}))
    assert read_signals(data, form) == Signals(optout_metadata=expected)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("trainedAlgorithmicMedia", "c2pa: trainedAlgorithmicMedia"),
        ("compositeWithTrainedAlgorithmicMedia", "c2pa: compositeWithTrainedAlgorithmicMedia"),
        ("digitalCapture", None), ("algorithmicMedia", None),
    ],
)  # fmt: skip
def test_claims_of_generation(form: str, kind: str, expected: str | None):
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE + kind}]}
    found = read_signals(with_store(form, store(c2pa_actions_v2=actions)), form)
    assert found == Signals(ai_generated_declared=expected)


def text_chunk(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, value, zip=len(value) > 40)
    return saved("png", pnginfo=info)


SETTINGS = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"


@pytest.mark.parametrize(
    ("data", "form", "expected"),
    [
        (text_chunk(parameters=SETTINGS), "png", "text: parameters"),
        (text_chunk(prompt='{"3": {"class_type": "KSampler"}}'), "png", "text: prompt of ComfyUI"),
        (text_chunk(invokeai_metadata="{}"), "png", "text: invokeai_metadata of InvokeAI"),
        (text_chunk(Software="NovelAI"), "png", "software: NovelAI"),
        (text_chunk(Software="Adobe Photoshop", prompt="say cheese"), "png", None),
        (text_chunk(Comment="Steps: 3, then turn left"), "png", None),
        (saved("jpeg", xmp=xmp(f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}trainedAlgorithmicMedia"
                               "</Iptc4xmpExt:DigitalSourceType>")),
         "jpeg", "iptc: trainedAlgorithmicMedia"),
        (saved("webp", xmp=xmp(attributes='xmp:CreatorTool="Adobe Firefly 2"')), "webp",
         "software: Adobe Firefly"),
        (saved("jpeg", xmp=xmp(attributes='xmp:CreatorTool="Adobe Photoshop 25"')), "jpeg", None),
    ],
)  # fmt: skip
def test_generators_marks(data: bytes, form: str, expected: str | None):
    assert read_signals(data, form).ai_generated_declared == expected


def exif(comment: bytes = b"", **tags: str) -> bytes:
    block = Image.Exif()
    numbers = {"artist": 0x013B, "copyright": 0x8298, "software": 0x0131}
    for name, value in tags.items():
        block[numbers[name]] = value
    if comment:
        block.get_ifd(0x8769)[0x9286] = comment
    return block.tobytes()


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_exif_of_maker_rights_and_settings(form: str):
    comment = b"UNICODE\0" + SETTINGS.encode("utf-16-be")
    block = exif(comment, artist="Jane Doe", copyright="(c) 2020 Jane Doe")
    assert read_signals(saved(form, exif=block), form) == Signals(
        None, "text: UserComment", "(c) 2020 Jane Doe", "Jane Doe"
    )


def test_iptc_of_maker_and_rights():
    def data_set(number: int, text: bytes) -> bytes:
        return b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text

    records = data_set(80, "Zoë".encode()) + data_set(116, b"all rights reserved")
    records += b"\0" * (len(records) % 2)
    other = b"8BIM" + struct.pack(">H", 0x03ED) + b"\3abc" + struct.pack(">I", 3) + b"xyz\0"
    own = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(records)) + records
    part = b"Photoshop 3.0\0" + other + own
    jpeg = saved("jpeg")
    data = jpeg[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(part)) + part + jpeg[2:]
    assert read_signals(data, "jpeg") == Signals(None, None, "all rights reserved", "Zoë")


def test_the_licences_address_counts_before_the_notice():
    packet = xmp(
        "<dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>(c) me</rdf:li></rdf:Alt></dc:rights>"
        "<dc:creator><rdf:Seq><rdf:li>A</rdf:li><rdf:li>B</rdf:li></rdf:Seq></dc:creator>"
        '<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>'
    )
    found = read_signals(saved("jpeg", xmp=packet), "jpeg")
    assert found.license_declared == "https://creativecommons.org/licenses/by/4.0/"
    assert found.creator == "A; B"
    only = xmp(attributes='xmpRights:WebStatement="https://a.example/terms"')
    assert read_signals(saved("jpeg", xmp=only), "jpeg").license_declared == (
        "https://a.example/terms"
    )


BOMB = b'<!DOCTYPE x [<!ENTITY a "' + b"x" * 1000 + b'"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
NESTED = xmp("<plus:DataMining>" * 5_000 + "DMI-PROHIBITED" + "</plus:DataMining>" * 5_000)


@pytest.mark.parametrize(
    "packet",
    [BOMB, b"", b"<", b"<x:xmpmeta", NESTED, b"\xff\xfe" + b"<x/>", xmp()[:-60], b"<a>" * 50_000],
    ids=["entities", "empty", "open", "cut", "nested", "utf-16", "no end", "depth"],
)
def test_hostile_xmp_states_nothing_and_takes_no_time(packet: bytes):
    start = time.monotonic()
    found = read_signals(saved("webp", xmp=packet), "webp")
    assert found in (Signals(), Signals(optout_metadata="plus: DMI-PROHIBITED"))
    assert time.monotonic() - start < 5


def test_a_text_that_inflates_is_read_to_its_limit():
    bomb = text_chunk(Software="x" * 50_000_000)
    assert len(bomb) < 100_000
    assert read_signals(bomb, "png") == Signals()


@pytest.mark.parametrize("depth", [3, 50, 2_000])
def test_deep_boxes_and_deep_cbor(depth: int):
    inner = superbox("c2pa.training-mining", box(b"cbor", b"\x81" * 100_000 + b"\xf6"))
    for _ in range(depth):
        inner = superbox("x", inner)
    assert read_signals(with_store("webp", inner), "webp") == Signals()


@given(st.binary(max_size=300), st.sampled_from(["jpeg", "png", "webp", "avif"]))
def test_any_bytes_as_a_store_or_block_state_nothing(junk: bytes, form: str):
    good = store(cawg_training__mining={"entries": {}})
    for data in (junk, good[: len(junk)] + junk, good + junk):
        assert read_signals(with_store(form, data), form).optout_metadata is None
    read_signals(saved("jpeg", exif=b"Exif\0\0" + junk), "jpeg")


def test_statements_are_one_line_of_valid_text():
    packet = xmp(f"<dc:creator>{'long ' * 500}&#10;second&#x9b;line</dc:creator>")
    creator = read_signals(saved("jpeg", xmp=packet), "jpeg").creator
    assert creator is not None
    assert len(creator) <= 300
    assert creator.isprintable()


STEPS = "Steps: 1, " * 6_500


@pytest.mark.parametrize("many", [1, 199])
def test_settings_are_looked_for_in_linear_time(many: int):
    info = PngImagePlugin.PngInfo()
    for _ in range(many):
        info.add_text("Comment", STEPS, zip=True)
    start = time.monotonic()
    assert read_signals(saved("png", pnginfo=info), "png") == Signals()
    assert time.monotonic() - start < 2


def test_many_packets_and_many_blocks_take_no_time():
    info = PngImagePlugin.PngInfo()
    for _ in range(300):
        info.add_itxt("XML:com.adobe.xmp", "<x>" + "<a/>" * 60_000 + "</x>", zip=True)
    block = struct.pack("<4sIH", b"II*\0", 8, 60_000)
    block += struct.pack("<HHII", 0x9999, 2, 5_000, 0x7FFFFF) * 60_000
    start = time.monotonic()
    assert read_signals(saved("png", pnginfo=info), "png") == Signals()
    assert read_signals(saved("png", exif=b"Exif\0\0" + block), "png") == Signals()
    assert time.monotonic() - start < 4


def test_broken_exif_prints_nothing(recwarn: pytest.WarningsRecorder):
    block = struct.pack("<4sIH", b"II*\0", 8, 100)
    block += struct.pack("<HHII", 0x9999, 2, 5_000, 0x7FFFFF) * 100
    read_signals(saved("png", exif=b"Exif\0\0" + block), "png")
    assert len(recwarn) == 0


@pytest.mark.parametrize(
    "packet",
    [
        xmp('<plus:DataMining rdf:parseType="Resource"><rdf:value>DMI-PROHIBITED</rdf:value>'
            "</plus:DataMining>"),
        xmp("<plus:DataMining><rdf:Description><rdf:value>DMI-PROHIBITED</rdf:value>"
            "</rdf:Description></plus:DataMining>"),
        xmp("<dc:creator>J#rg</dc:creator><plus:DataMining>DMI-PROHIBITED</plus:DataMining>")
        .replace(b"#", b"\xf6"),
        xmp("<dc:creator>J#rg</dc:creator><plus:DataMining>DMI-PROHIBITED</plus:DataMining>")
        .replace(b"#", b"\0"),
    ],
    ids=["value", "description", "latin-1", "nul"],
)  # fmt: skip
def test_reservations_in_other_writings_and_beside_broken_text(packet: bytes):
    found = read_signals(saved("webp", xmp=packet), "webp")
    assert found.optout_metadata == "plus: DMI-PROHIBITED"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("Source", "Ideograms of China, 1920"), ("Software", "Ideogrammar 2.0"),
        ("Source", "https://www.midjourney-hotel.com/"), ("Source", "From a Midjourney tutorial"),
        ("Dream", "a dream"), ("Software", "Randall E. Moore's viewer"),
    ],
)  # fmt: skip
def test_texts_that_only_resemble_a_generators_mark(key: str, text: str):
    assert read_signals(text_chunk(**{key: text}), "png").ai_generated_declared is None


def test_texts_of_png_in_latin_1():
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", b"Author\0J\xf6rg")
    assert read_signals(saved("png", pnginfo=info), "png").creator == "Jörg"
