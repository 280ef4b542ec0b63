"""ICC profiles (ICC.1:2001-04, version 2.4), built here so that they visibly change a picture."""

import struct

import numpy as np

Colour = tuple[float, float, float]
# Colorants under D50.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(colorants: tuple[Colour, Colour, Colour], gamma: float = 2.2) -> bytes:
    tags = {f"{name}XYZ": _xyz(value) for name, value in zip("rgb", colorants, strict=True)}
    return _profile("mntr", "RGB ", "XYZ ", tags | {f"{name}TRC": _curve(gamma) for name in "rgb"})


def swapped_profile() -> bytes:
    """A profile in which red is green, green is blue and blue is red."""
    red, green, blue = SRGB
    return rgb_profile((green, blue, red))


def grey_profile(gamma: float) -> bytes:
    return _profile("mntr", "GRAY", "XYZ ", {"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A CMYK profile whose cyan ink is a warm red, magenta a green, and yellow a blue."""
    inks = np.array([[-40, 65, 45], [-45, -60, 40], [-70, 20, -60], [-100, 0, 0]], float)
    corners = np.array([[i >> 3 & 1, i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(16)])
    lab = np.array([100.0, 0, 0]) + corners @ inks
    coded = np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], axis=1)
    table = np.clip(coded, 0, 255).round().astype(np.uint8).tobytes()
    identity = [65536 if i % 4 == 0 else 0 for i in range(9)]
    head = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *identity)
    ramp = bytes(range(256))
    return _profile("prtr", "CMYK", "Lab ", {"A2B0": head + ramp * 4 + table + ramp * 3})


def _profile(kind: str, space: str, pcs: str, tags: dict[str, bytes]) -> bytes:
    tags = {"desc": _description(), "cprt": b"text\0\0\0\0CC0\0", "wtpt": _xyz(_D50)} | tags
    at = 128 + 4 + 12 * len(tags)
    table, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        table += struct.pack(">4sII", name.encode(), at + len(bodies), len(body))
        bodies += body + b"\0" * (-len(body) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s28x3i48x",
        at + len(bodies), b"lcms", 0x02400000, kind.encode(), space.encode(), pcs.encode(),
        struct.pack(">6H", 2024, 1, 1, 0, 0, 0), b"acsp", *_fixed(_D50),
    )  # fmt: skip
    assert len(head) == 128
    return head + table + bodies


def _fixed(values: Colour) -> list[int]:
    return [round(value * 65536) for value in values]


def _xyz(values: Colour) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *_fixed(values))


def _curve(gamma: float) -> bytes:
    return struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))


def _description() -> bytes:
    return struct.pack(">4s4xI9s", b"desc", 9, b"by hand.\0") + bytes(4 + 4 + 2 + 1 + 67)
