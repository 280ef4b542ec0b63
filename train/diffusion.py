"""Diffusion as pure functions of tensors. Latents are (N, C, H, W), timesteps (N,) int64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from train.libraries import diffusers

Prediction = Literal["epsilon", "v_prediction", "sample"]


def small_scheduler(prediction_type: Prediction = "sample") -> Any:
    """DDIM (arXiv:2010.02502) over a cosine schedule (arXiv:2102.09672) rescaled to zero terminal
    SNR with trailing steps (arXiv:2305.08891), so that sampling starts where training ended."""
    return diffusers().DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction_type,
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def _signal_and_noise(
    alphas_cumprod: torch.Tensor, timesteps: torch.Tensor, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    abar = alphas_cumprod[timesteps.to(alphas_cumprod.device)].to(like)
    abar = abar.view(-1, *[1] * (like.ndim - 1))
    return abar.sqrt(), (1 - abar).sqrt()


def stratified_timesteps(n: int, num_steps: int, generator: torch.Generator) -> torch.Tensor:
    """One timestep from each of n equal slices of [0, num_steps): uniform, with less variance
    across a batch (arXiv:2107.00630, appendix I.1)."""
    u = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    return (u * num_steps).long().clamp(max=num_steps - 1)


def add_noise(
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
) -> torch.Tensor:
    """The forward process x_t = √ᾱ·x + √(1-ᾱ)·ε (arXiv:2006.11239, eq. 4)."""
    a, s = _signal_and_noise(alphas_cumprod, timesteps, latents)
    return a * latents + s * noise


def target(
    prediction_type: Prediction,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
) -> torch.Tensor:
    """What the UNet should output: ε, x, or v = √ᾱ·ε - √(1-ᾱ)·x (arXiv:2202.00512, eq. 11)."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "sample":
        return latents
    a, s = _signal_and_noise(alphas_cumprod, timesteps, latents)
    return a * noise - s * latents


def to_sample(
    prediction_type: Prediction,
    output: torch.Tensor,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
) -> torch.Tensor:
    """The clean latents that a UNet's output implies. From ε it has no value where ᾱ = 0."""
    if prediction_type == "sample":
        return output
    a, s = _signal_and_noise(alphas_cumprod, timesteps, noisy)
    if prediction_type == "v_prediction":
        return a * noisy - s * output
    return (noisy - s * output) / a


def loss_weights(
    prediction_type: Prediction,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
    gamma: float | None,
) -> torch.Tensor:
    """Min-SNR weights of the squared error, (N,) float32 (arXiv:2303.09556, section 3.4).

    On the error of x the weight is min(SNR, γ); the same weight on ε divides by SNR, on v by
    SNR + 1. For x-prediction SNR + 0.5 is truncated instead, so that pure noise, where sampling
    starts, is still trained. Null γ weighs all timesteps by 1.
    """
    if gamma is None:
        return torch.ones(len(timesteps))
    abar = alphas_cumprod[timesteps.to(alphas_cumprod.device)].float().cpu()
    snr = abar / (1 - abar)
    if prediction_type == "sample":
        return (snr + 0.5).clamp(max=gamma)
    if prediction_type == "v_prediction":
        return snr.clamp(max=gamma) / (snr + 1)
    return (gamma / snr).clamp(max=1)


def weighted_loss(
    output: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """The mean over the batch of each picture's mean squared error times its weight."""
    errors = (output.float() - wanted.float()).square().flatten(1).mean(1)
    return (errors * weights.to(errors)).mean()


def guide(
    conditional: torch.Tensor, unconditional: torch.Tensor, scale: float, rescale: float = 0.0
) -> torch.Tensor:
    """Classifier-free guidance (arXiv:2207.12598), with the rescaling of arXiv:2305.08891 (3.4)."""
    guided = unconditional + scale * (conditional - unconditional)
    if rescale == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    factor = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True).clamp(min=1e-8)
    return guided * (rescale * factor + 1 - rescale)


def seeded_noise(shape: tuple[int, ...], seeds: list[int]) -> torch.Tensor:
    """(len(seeds), *shape) normal noise; each picture's depends on its own seed alone."""
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


@torch.no_grad()
def ddim(
    unet: Callable[..., Any],
    scheduler: Any,
    noise: torch.Tensor,
    conditional: torch.Tensor,
    unconditional: torch.Tensor,
    *,
    steps: int,
    guidance_scale: float,
    guidance_rescale: float = 0.0,
    on_step: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Deterministic DDIM (arXiv:2010.02502) from noise to latents, both (N, C, H, W).

    `conditional` and `unconditional` are text states, (N, T, W).
    """
    scheduler.set_timesteps(steps, device=noise.device)
    latents = noise * scheduler.init_noise_sigma
    guided = guidance_scale != 1
    states = torch.cat([conditional, unconditional]) if guided else conditional
    for t in scheduler.timesteps:
        inputs = scheduler.scale_model_input(latents, t)
        if guided:
            both = unet(torch.cat([inputs, inputs]), t, states).sample
            with_text, without = both.chunk(2)
            output = guide(with_text, without, guidance_scale, guidance_rescale)
        else:
            output = unet(inputs, t, states).sample
        latents = scheduler.step(output, t, latents).prev_sample
        on_step()
    return latents
