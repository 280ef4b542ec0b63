"""Pictures for the benchmark: distinct, photo-like JPEGs of 1024×768, the same every time."""

import cv2
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, QUALITY = 1024, 768, 90
_GRAIN = 4.5  # with the photographs' own detail: about 200 kB at quality 90, 4:2:0

Photo = npt.NDArray[np.uint8]


def photographs() -> list[Photo]:
    """The two sample photographs (640×427, BGR) that come with scikit-learn."""
    from sklearn.datasets import load_sample_images

    return [np.ascontiguousarray(image[:, :, ::-1]) for image in load_sample_images().images]


def draw(photos: list[Photo], number: int) -> Photo:
    """One picture: a turned, enlarged part of a photograph, in another light, with film grain.

    An enlarged photograph lacks the fine detail that makes a JPEG's bytes; the grain stands for it.
    """
    rng = np.random.default_rng([1024, number])
    photo = photos[number % len(photos)]
    zoom, angle = rng.uniform(2.0, 3.0), rng.uniform(-0.2, 0.2)
    x, y = (rng.uniform(0.35, 0.65) * side for side in (photo.shape[1], photo.shape[0]))
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    turn = np.array(
        [[cos, -sin, WIDTH / 2 - cos * x + sin * y], [sin, cos, HEIGHT / 2 - sin * x - cos * y]]
    )
    scene = cv2.warpAffine(
        photo, turn, (WIDTH, HEIGHT), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101
    )
    coarse = rng.standard_normal((HEIGHT // 2, WIDTH // 2, 3), dtype=np.float32)
    coarse = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    fine = rng.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32)
    light = scene * rng.uniform(0.8, 1.2, 3).astype(np.float32) + rng.uniform(-15, 15)
    return np.clip(light + _GRAIN * 0.7 * (coarse + fine), 0, 255).astype(np.uint8)


def encode(picture: Photo) -> bytes:
    options = [
        cv2.IMWRITE_JPEG_QUALITY, QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]  # fmt: skip
    return cv2.imencode(".jpg", picture, options)[1].tobytes()
