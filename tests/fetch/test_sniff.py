"""Headers that we parse agree with Pillow, and no bytes make the parser raise."""

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from plain_pictures import jpeg, resize
from plain_scenes import encoded

from pipeline.fetch.picture.sniff import sniff


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_sniffed_sizes_are_those_that_pillow_reads(format, width, height, lossless):  # noqa: A002
    options = {"lossless": lossless} if format == "WEBP" else {}
    found = sniff(encoded(Image.new("RGB", (width, height), (9, 99, 9)), format, **options))

    assert found is not None
    assert (found.format, found.width, found.height) == (format.lower(), width, height)


MAGIC = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF....WEBPVP8 ", b"RIFF....WEBPVP8L"]


@given(st.sampled_from([b"", *MAGIC]), st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_sniffed_and_refused_without_a_crash(magic, rest):
    data = magic + rest
    found = sniff(data)

    assert found is None or (0 <= found.width < 2**32 and 0 <= found.height < 2**32)
    assert resize(data).reason in (
        "image_too_large",
        "not_an_image",
        "decode_error",
        "image_too_small",
        "image_too_many_pixels",
        "image_aspect_ratio",
    )


@given(st.integers(20, 2000), st.binary(min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_damaged_pictures_are_read_or_refused_without_a_crash(at, damage):
    data = jpeg(40, 40)
    at %= len(data)
    result = resize(data[:at] + damage + data[at + len(damage) :])

    assert (result.jpeg == b"") != (result.reason is None)
