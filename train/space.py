"""Conversion of pictures to the space that the UNet works in, and back."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F

_HAAR = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2


def haar(x: torch.Tensor) -> torch.Tensor:
    """One orthonormal 2×2 Haar step: (N, C, H, W) to (N, 4C, H/2, W/2), same energy.

    Each channel becomes mean, vertical, horizontal and diagonal detail (Haar 1910; Mallat 1989).
    """
    n, c, h, w = x.shape
    blocks = F.pixel_unshuffle(x, 2).view(n, c, 4, h // 2, w // 2)
    return torch.einsum("ij,ncjhw->ncihw", _HAAR.to(x), blocks).reshape(n, 4 * c, h // 2, w // 2)


def inverse_haar(z: torch.Tensor) -> torch.Tensor:
    """The exact inverse of `haar`: (N, 4C, H, W) to (N, C, 2H, 2W)."""
    n, c, h, w = z.shape
    bands = z.view(n, c // 4, 4, h, w)
    blocks = torch.einsum("ji,ncjhw->ncihw", _HAAR.to(z), bands).reshape(n, c, h, w)
    return F.pixel_shuffle(blocks, 2)


class Space(Protocol):
    """Pictures are float (N, 3, H, W) in [-1, 1]; latents have `channels` and side H / `factor`."""

    channels: int
    factor: int

    def encode(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor: ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor: ...


class PixelSpace:
    """Two Haar steps (3 channels at full size to 48 at a quarter), each band rescaled.

    The transform is exactly invertible, so no autoencoder has to be trained and no detail is lost.
    """

    channels = 48
    factor = 4

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        self.mean = mean.float().view(1, self.channels, 1, 1)
        self.scale = scale.float().view(1, self.channels, 1, 1)

    @classmethod
    def measured(cls, pictures: torch.Tensor) -> PixelSpace:
        """The space normalised for such pictures, float (N, 3, H, W) in [-1, 1].

        Dividing each band by its own deviation would give the finest details as much weight as the
        outlines; with the exponent the coarse bands keep more weight.
        """
        z = haar(haar(pictures))
        deviation = z.std((0, 2, 3)).clamp(min=1e-4)
        return cls(z.mean((0, 2, 3)), deviation**0.6 * deviation.max() ** 0.4)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PixelSpace:
        return cls(torch.tensor(data["mean"]), torch.tensor(data["scale"]))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "haar2",
            "mean": self.mean.flatten().tolist(),
            "scale": self.scale.flatten().tolist(),
        }

    def encode(
        self, pictures: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        return (haar(haar(pictures)) - self.mean.to(pictures)) / self.scale.to(pictures)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        z = latents * self.scale.to(latents) + self.mean.to(latents)
        return inverse_haar(inverse_haar(z)).clamp(-1, 1)


class LatentSpace:
    """A diffusers `AutoencoderKL` (latent diffusion, arXiv:2112.10752), its posterior sampled."""

    def __init__(self, vae: Any) -> None:
        self.vae = vae.eval().requires_grad_(False)
        self.channels = int(vae.config.latent_channels)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.scaling = float(vae.config.scaling_factor)
        self.shift = float(getattr(vae.config, "shift_factor", None) or 0.0)

    @torch.no_grad()
    def encode(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        posterior = self.vae.encode(pictures).latent_dist
        # Drawn on the CPU, where every step's generator lives, so that a resumed run repeats it.
        noise = torch.randn(posterior.mean.shape, generator=generator).to(pictures)
        return (posterior.mean + posterior.std * noise - self.shift) * self.scaling

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(latents / self.scaling + self.shift).sample.clamp(-1, 1)
