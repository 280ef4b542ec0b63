"""Pictures and texts drawn at random, whose ranges int8 networks are fitted to.

They are the same each time, so that a network's int8 form depends on its weights alone. Pictures
have spectra like those of photographs (Field, 1987), flat, steep and in between, some with edges,
stripes or blocks; texts are the commonest words of `winnow-toxicity` by Zipf's law.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.models import toxicity_network

_WORDS = 5000
_LONGEST = 60


def drawn_pictures(count: int, side: int) -> Iterator[npt.NDArray[np.uint8]]:
    """RGB pictures, uint8, shape (side, side, 3)."""
    for number in range(count):
        rng = np.random.default_rng(number)
        noise = _noise(rng, side, rng.uniform(0.3, 2.0))
        colour = rng.uniform(0, 1)
        noise = colour * noise + (1 - colour) * noise.mean(axis=2, keepdims=True)
        picture = rng.uniform(0.1, 0.9, 3) + rng.uniform(0.05, 0.5) * noise
        kind = number % 8
        if kind in (1, 5):  # one colour within edges
            inside = _noise(rng, side, 2.0)[:, :, :1] > rng.uniform(-0.5, 0.5)
            picture = np.where(inside, picture, rng.uniform(0, 1, 3))
        elif kind in (2, 6):
            y, x = np.mgrid[:side, :side]
            angle = rng.uniform(0, np.pi)
            across = rng.uniform(0.05, 1.5) * (x * np.cos(angle) + y * np.sin(angle))
            picture = 0.3 * picture + 0.5 + 0.4 * np.sign(np.sin(across))[:, :, None]
        elif kind == 7:
            size = -(-side // 7)
            blocks = rng.uniform(0, 1, (7, 7, 3)).round()
            picture = blocks.repeat(size, axis=0).repeat(size, axis=1)[:side, :side]
        yield (picture.clip(0, 1) * 255).round().astype(np.uint8)


def drawn_texts(count: int) -> list[str]:
    """Rows of 1 to 60 words, most of them short."""
    words = (toxicity_network.FOLDER / "words.txt").read_text("utf-8").split()[:_WORDS]
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, len(words) + 1)
    shares /= shares.sum()
    lengths = np.minimum(_LONGEST, 1 + rng.exponential(12, count).astype(int))
    return [" ".join(rng.choice(words, length, p=shares)) for length in lengths]


def _noise(rng: np.random.Generator, side: int, slope: float) -> npt.NDArray[np.float64]:
    """Noise (side, side, 3) of mean 0 and deviation 1, whose power falls with frequency^slope."""
    power = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None] ** 2
    power[0, 0] = np.inf
    shape = (3, side, side // 2 + 1)
    waves = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    noise = np.fft.irfft2(waves * power ** (-slope / 2), s=(side, side))
    return np.asarray((noise / noise.std()).transpose(1, 2, 0))
