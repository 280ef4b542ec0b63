"""Noise, targets, weights and guidance, against their closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from train.diffusion import (
    add_noise,
    ddim,
    guide,
    loss_weights,
    seeded_noise,
    small_scheduler,
    stratified_timesteps,
    target,
    to_sample,
    weighted_loss,
)

ABAR = torch.tensor([0.9, 0.5, 0.2, 0.0])
X = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
E = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
T = torch.arange(4)


def test_noise_follows_the_forward_process() -> None:
    noisy = add_noise(X, E, T, ABAR)
    torch.testing.assert_close(noisy[1], 0.5**0.5 * (X[1] + E[1]))
    assert torch.equal(noisy[3], E[3]), "at zero terminal SNR nothing of the picture is left"


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_type_gives_back_the_same_picture(kind: str) -> None:
    noisy = add_noise(X, E, T, ABAR)
    wanted = target(kind, X, E, T, ABAR)
    recovered = to_sample(kind, wanted, noisy, T, ABAR)
    known = 3 if kind == "epsilon" else 4  # from pure noise an ε-model cannot give x
    torch.testing.assert_close(recovered[:known], X[:known], rtol=1e-5, atol=1e-5)


def test_targets_agree_with_diffusers() -> None:
    scheduler = small_scheduler("v_prediction")
    t = torch.tensor([3, 400, 800, 999])
    abar = scheduler.alphas_cumprod
    torch.testing.assert_close(add_noise(X, E, t, abar), scheduler.add_noise(X, E, t))
    torch.testing.assert_close(
        target("v_prediction", X, E, t, abar), scheduler.get_velocity(X, E, t)
    )


def test_the_small_scheduler_starts_sampling_from_pure_noise() -> None:
    scheduler = small_scheduler()
    assert scheduler.alphas_cumprod[-1] == 0
    scheduler.set_timesteps(10)
    assert scheduler.timesteps[0] == 999


def test_min_snr_weights_have_their_closed_form() -> None:
    snr = ABAR / (1 - ABAR)  # 9, 1, 0.25, 0
    gamma = 5.0
    torch.testing.assert_close(
        loss_weights("epsilon", T, ABAR, gamma), torch.tensor([5 / 9, 1.0, 1.0, 1.0])
    )
    torch.testing.assert_close(
        loss_weights("v_prediction", T, ABAR, gamma), snr.clamp(max=5) / (snr + 1)
    )
    torch.testing.assert_close(
        loss_weights("sample", T, ABAR, gamma), torch.tensor([5.0, 1.5, 0.75, 0.5])
    )
    assert loss_weights("sample", T, ABAR, None).tolist() == [1, 1, 1, 1]


def test_the_weighted_error_is_the_same_for_epsilon_and_v_below_the_truncation() -> None:
    """An error d in x is d·√SNR in ε and d/√(1-ᾱ) in v: the weights compensate exactly for that."""
    noisy = add_noise(X[:3], E[:3], T[:3], ABAR)
    wrong = X[:3] + 0.1
    a, s = (v.view(-1, 1, 1, 1) for v in (ABAR[:3].sqrt(), (1 - ABAR[:3]).sqrt()))
    guesses = {"epsilon": (noisy - a * wrong) / s, "v_prediction": (a * noisy - wrong) / s}
    losses = {
        kind: weighted_loss(
            guess,
            target(kind, X[:3], E[:3], T[:3], ABAR),
            loss_weights(kind, T[:3], ABAR, gamma=5.0),
        ).item()
        for kind, guess in guesses.items()
    }
    expected = (0.01 * torch.tensor([5.0, 1.0, 0.25])).mean().item()
    assert losses == pytest.approx({"epsilon": expected, "v_prediction": expected}, rel=1e-3)


def test_timesteps_cover_every_slice_of_the_range() -> None:
    t = stratified_timesteps(10, 1000, torch.Generator().manual_seed(0))
    assert (t // 100).tolist() == list(range(10))


def test_guidance_of_one_is_the_conditional_and_rescaling_keeps_its_spread() -> None:
    assert torch.equal(guide(X, X, 7.0), X)
    torch.testing.assert_close(guide(X, E, 1.0), X)
    rescaled = guide(X, E, 7.0, rescale=1.0)
    torch.testing.assert_close(rescaled.std((1, 2, 3)), X.std((1, 2, 3)))


def test_a_candidates_noise_depends_on_its_seed_alone() -> None:
    assert torch.equal(seeded_noise((2, 3, 3), [5, 6, 7])[2], seeded_noise((2, 3, 3), [7])[0])


def test_ddim_with_a_perfect_model_gives_the_picture() -> None:
    steps = []
    latents = ddim(
        lambda z, t, states: SimpleNamespace(sample=X[:1].expand(len(z), -1, -1, -1)),
        small_scheduler("sample"),
        E[:1],
        torch.zeros(1, 2, 4),
        torch.zeros(1, 2, 4),
        steps=4,
        guidance_scale=3.0,
        on_step=lambda: steps.append(1),
    )
    torch.testing.assert_close(latents, X[:1])
    assert len(steps) == 4
