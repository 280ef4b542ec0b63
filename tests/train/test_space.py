"""The Haar transform and the spaces built on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from train.libraries import diffusers
from train.space import LatentSpace, PixelSpace, haar, inverse_haar

shapes = st.tuples(
    st.integers(1, 2), st.integers(1, 3), st.sampled_from([2, 4, 8]), st.sampled_from([2, 4, 6])
)
arrays = hnp.arrays(np.float64, shapes, elements=st.floats(-1e3, 1e3))


@settings(deadline=None, max_examples=50)
@given(arrays)
def test_haar_is_inverted_exactly_and_keeps_the_energy(values: np.ndarray) -> None:
    x = torch.from_numpy(values)
    z = haar(x)
    assert z.shape == (x.shape[0], 4 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    torch.testing.assert_close(inverse_haar(z), x, rtol=0, atol=1e-9)
    torch.testing.assert_close(z.square().sum(), x.square().sum(), rtol=1e-12, atol=1e-9)


def test_haar_of_a_flat_picture_has_only_the_mean_band() -> None:
    z = haar(torch.full((1, 1, 4, 4), 3.0))
    assert torch.equal(z[0, 0], torch.full((2, 2), 6.0))
    assert not z[0, 1:].any()


def test_pixel_space_round_trip_survives_json(pictures: torch.Tensor) -> None:
    space = PixelSpace.from_json(PixelSpace.measured(pictures).to_json())
    z = space.encode(pictures)
    assert z.shape == (4, 48, 4, 4)
    assert z.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(space.decode(z), pictures, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_latent_space_repeats_with_its_generator(pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    vae = diffusers().AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    space = LatentSpace(vae)
    first, again, other = (
        space.encode(pictures, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first.shape == (4, space.channels, 16 // space.factor, 16 // space.factor)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert space.decode(first).shape == pictures.shape
