"""Whether two small pictures show the same, wholly or in part: keypoints, then blocks of pixels.

ORB keypoints (Rublee et al., 2011) that match both ways propose how one picture lies on the other:
turned, scaled, shifted, found by RANSAC (Fischler and Bolles, 1981). Keypoints alone are easily
misled by what is laid over pictures: two photographs under one watermark, or in one frame of a
screenshot, match well, but only there. So the pictures are laid on each other, and what they share
must look alike in four of five blocks that show anything.
"""

import functools
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.measure.dedup.colours import colour_agreements

SIDE = 256
"""The longer side of a small picture, pixels."""
LEAST_INLIERS = 12
"""Matches that the transform must explain. At 10, unrelated photographs pass now and then."""
_KEYPOINTS, _FARTHEST, _TOLERANCE = 800, 72, 4.0
"""Keypoints of a picture; greatest distance of a match, of 256 bits; pixels off, for RANSAC."""
_SCALES = (0.15, 6.5)
_LEAST_SHARE = 0.4
"""What one of the two must at least show of the other one: less may be a logo or a line of text."""
_BLOCKS, _LEAST_BLOCKS = 8, 6
_FLAT, _LOST = 3.0, 0.5
"""Standard deviation below which a block shows nothing, and below which it has lost what it showed,
grey levels."""
_ACROSS, _STEP = 4, 12
"""Pixels from the edge of an area to either side, and levels by which colours differ there."""
_buffers = threading.local()
"""A thread's matrix of distances. Memory of a megabyte that is asked for anew each time is slower
than the distances."""
Pixels = npt.NDArray[np.uint8]


def small(rgb: Pixels) -> bytes:
    """The picture (height, width, 3) as a JPEG whose longer side is 256 pixels, or less if its
    own is; about 14 kB for a photograph."""
    import cv2

    factor = min(1.0, SIDE / max(rgb.shape[:2]))
    if factor < 1:
        size = _scaled(rgb, factor)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


@dataclass(frozen=True)
class Sketch:
    """A small picture's keypoints, 30 kB, and its pixels where they are asked for."""

    jpeg: bytes
    is_mirrored: bool
    shape: tuple[int, int]
    """Height and width, pixels."""
    places: npt.NDArray[np.float32]
    """Shape (keypoints, 2): x and y."""
    bits: Pixels
    """Shape (keypoints, 32)."""

    @property
    def bgr(self) -> Pixels:
        return _decoded(self.jpeg, self.is_mirrored)

    @functools.cached_property
    def mirrored(self) -> "Sketch":
        return sketch(self.jpeg, not self.is_mirrored)


def sketch(jpeg: bytes, is_mirrored: bool = False) -> Sketch:
    """The keypoints of a picture made by `small`; a smaller one is enlarged to 256 pixels."""
    import cv2

    grey: Any = cv2.cvtColor(_decoded(jpeg, is_mirrored), cv2.COLOR_BGR2GRAY)
    orb = cv2.ORB.create(nfeatures=_KEYPOINTS, fastThreshold=8, edgeThreshold=16)
    found, bits = orb.detectAndCompute(grey, None)
    places = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    bits = np.zeros((0, 32), np.uint8) if bits is None else bits
    return Sketch(jpeg, is_mirrored, grey.shape, places, bits)


def _decoded(jpeg: bytes, is_mirrored: bool) -> Pixels:
    import cv2

    bgr: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    factor = SIDE / max(bgr.shape[:2])
    if factor > 1:
        bgr = cv2.resize(bgr, _scaled(bgr, factor), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(bgr[:, ::-1]) if is_mirrored else bgr


def _scaled(pixels: Pixels, factor: float) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    return max(1, round(width * factor)), max(1, round(height * factor))


@dataclass(frozen=True)
class Alignment:
    """How one picture lies on another."""

    similarity: float
    """The 20th percentile of the blocks' correlations, −1 to 1."""
    colour: float
    """Cosine of the blocks' mean colours about their mean, −1 to 1; of their luminances if one of
    the two pictures is grey."""
    share_first: float
    """Share of the first picture's area that the second one shows, 0–1."""
    share_second: float
    plain_first: float
    """Of what lies outside that, the share of the commonest colour: high for borders, bars and the
    frames of screenshots, low where the second picture was cut out of the first; 0 if no edge
    separates the two."""
    plain_second: float
    is_mirrored: bool


def align(first: Sketch, second: Sketch) -> Alignment | None:
    """The better of the two ways round; None if the keypoints give neither."""
    ways = [(first, False), (first.mirrored, True)]
    found = [way for one, turned in ways if (way := _laid(one, second, turned)) is not None]
    return max(found, key=lambda way: way.similarity, default=None)


def _laid(first: Sketch, second: Sketch, is_mirrored: bool) -> Alignment | None:
    import cv2

    transform = _transform(first, second)
    if transform is None:
        return None
    mask = _seen(first.shape, transform, second.shape)
    seen = _seen(second.shape, cv2.invertAffineTransform(transform), first.shape)
    shares = float((seen > 0).mean()), float((mask > 0).mean())
    if max(shares) < _LEAST_SHARE:
        return None
    # At the edge of the area, interpolated pixels are partly of what lies outside.
    inner: Any = cv2.erode(
        mask, np.ones((13, 13), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255
    )
    grid = _Grid(inner > 0)
    if not grid.is_large:
        return None
    one, other = first.bgr, second.bgr
    moved: Any = cv2.warpAffine(
        one, transform, second.shape[::-1], flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    similarity = _similarity(moved, other, grid)
    if similarity is None:
        return None
    return Alignment(
        similarity, _colour(moved, other, grid), *shares,
        _plain(one, seen > 0), _plain(other, mask > 0), is_mirrored,
    )  # fmt: skip


def _plain(bgr: Pixels, seen: npt.NDArray[np.bool_]) -> float:
    """The share of the commonest colour, of 16 levels a channel, among the pixels not `seen`; 0
    where the picture just goes on at the edge, as from a plain ground to more of it."""
    rest = bgr[~seen] >> 4
    if len(rest) == 0 or not _has_edge(bgr, seen):
        return 0.0
    codes = rest.astype(np.int32) @ np.array([256, 16, 1])
    return float(np.bincount(codes).max() / len(codes))


def _has_edge(bgr: Pixels, seen: npt.NDArray[np.bool_]) -> bool:
    """Whether along half of the seen area's edge the colours on both sides differ."""
    import cv2

    area = seen.astype(np.uint8)
    inner: Any = cv2.erode(
        area, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1
    )
    rows, columns = np.nonzero(area != inner)
    if len(rows) == 0:
        return False
    height, width = seen.shape
    steps = []
    for down, right in ((_ACROSS, 0), (0, _ACROSS)):
        ends = [
            bgr[
                np.clip(rows + sign * down, 0, height - 1),
                np.clip(columns + sign * right, 0, width - 1),
            ]
            for sign in (-1, 1)
        ]
        steps.append(np.abs(ends[0].astype(np.int16) - ends[1]).max(axis=1))
    return bool((np.maximum(*steps) > _STEP).mean() >= 0.5)


def _transform(first: Sketch, second: Sketch) -> Any:
    """The matrix (2, 3) from the first picture to the second; None if too few matches agree."""
    import cv2

    if min(len(first.places), len(second.places)) < LEAST_INLIERS:
        return None
    one, other = _matches(first.bits, second.bits)
    if len(one) < LEAST_INLIERS:
        return None
    source, target = first.places[one], second.places[other]
    matrix, inliers = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE, maxIters=300
    )
    if matrix is None or inliers.sum() < LEAST_INLIERS:
        return None
    scale = np.hypot(matrix[0, 0], matrix[1, 0])
    return matrix if _SCALES[0] < scale < _SCALES[1] else None


def _matches(first: Pixels, second: Pixels) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Keypoints that are each other's nearest, if near enough. OpenCV's matcher gives the same and
    takes ten times as long."""
    # FAISS takes them over from its C++ part with a star, which the type checker does not follow.
    from faiss import hammings, swig_ptr  # type: ignore[attr-defined]

    if not hasattr(_buffers, "distances"):
        _buffers.distances = np.empty((2 * _KEYPOINTS) ** 2, np.int32)
    size = len(first) * len(second)
    distances = _buffers.distances[:size].reshape(len(first), len(second))
    hammings(
        swig_ptr(first), swig_ptr(second), len(first), len(second), first.shape[1],
        swig_ptr(distances),
    )  # fmt: skip
    nearest, back = distances.argmin(axis=1), distances.argmin(axis=0)
    own = np.arange(len(first))
    keep = (back[nearest] == own) & (distances[own, nearest] <= _FARTHEST)
    return own[keep], nearest[keep]


def _seen(first: tuple[int, int], transform: Any, second: tuple[int, int]) -> Pixels:
    """255 where a picture of the first shape lies on one of the second, else 0."""
    import cv2

    ones = np.full(first, 255, np.uint8)
    seen: Any = cv2.warpAffine(ones, transform, second[::-1], flags=cv2.INTER_NEAREST)
    return np.asarray(seen, np.uint8)


class _Grid:
    """8×8 blocks over the shared area's bounds; those that are not wholly in it do not count."""

    def __init__(self, shared: npt.NDArray[np.bool_]) -> None:
        rows, columns = np.flatnonzero(shared.any(axis=1)), np.flatnonzero(shared.any(axis=0))
        self.is_large = min(len(rows), len(columns)) >= 2 * _BLOCKS
        if self.is_large:
            y = np.linspace(rows[0], rows[-1] + 1, _BLOCKS + 1).astype(int)
            x = np.linspace(columns[0], columns[-1] + 1, _BLOCKS + 1).astype(int)
            self._part = slice(y[0], y[-1]), slice(x[0], x[-1])
            self._y, self._x = y[:-1] - y[0], x[:-1] - x[0]
            self._mask = shared[self._part].astype(np.float32)
            self._pixels = np.maximum(self._added_up(self._mask), 1)
            sizes = np.outer(np.diff(y), np.diff(x))
            self._counts = self._added_up(self._mask) >= 0.9 * sizes

    def _added_up(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sums over the blocks, shape (8, 8, …)."""
        down = np.add.reduceat(values, self._y, axis=0)
        return np.add.reduceat(down, self._x, axis=1)

    def means(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Means of the shared pixels (height, width, …) of each block that counts."""
        part = pixels[self._part].astype(np.float32)
        extra = (1,) * (part.ndim - 2)
        sums = self._added_up(part * self._mask.reshape(*self._mask.shape, *extra))
        means: npt.NDArray[Any] = sums / self._pixels.reshape(*self._pixels.shape, *extra)
        return means[self._counts]


def _similarity(first: Pixels, second: Pixels, grid: _Grid) -> float | None:
    """The 20th percentile of the blocks' correlations; None if too few blocks show anything."""
    p, q = (_softened(pixels) for pixels in (first, second))
    p_mean, q_mean = grid.means(p), grid.means(q)
    p_deviation = np.sqrt(np.maximum(grid.means(p * p) - p_mean**2, 0))
    q_deviation = np.sqrt(np.maximum(grid.means(q * q) - q_mean**2, 0))
    shows = np.maximum(p_deviation, q_deviation) >= _FLAT
    if shows.sum() < _LEAST_BLOCKS:
        return None
    both = grid.means(p * q) - p_mean * q_mean
    is_lost = np.minimum(p_deviation, q_deviation) < _LOST
    found = np.where(is_lost, 0.0, both / np.maximum(p_deviation * q_deviation, _LOST**2))
    return float(np.percentile(found[shows], 20))


def _softened(bgr: Pixels) -> npt.NDArray[np.float32]:
    """Grey values about their mean, blurred: the transform is off by a pixel here and there."""
    import cv2

    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    soft = np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.5), np.float32)
    return soft - soft.mean()


def _colour(first: Pixels, second: Pixels, grid: _Grid) -> float:
    return float(colour_agreements(grid.means(first)[None], grid.means(second)[None])[0])
