"""How well scores agree with frequencies, and the temperature at which those of a head do.

Temperature scaling of Guo et al., 2017 (arXiv:1706.04599), with a bias, by which two sides of
unlike breadth (one prompt against ten) are balanced.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.models.heads.zeroshot import class_logits

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
_BINS = 10
_TINY = 1e-12


@dataclass(frozen=True)
class Calibrated:
    """What to write into the job: `temperature` (above 0) and `bias`."""

    temperature: float
    bias: float


def fit(positive: Floats, negative: Floats, labels: Labels, start: float) -> Calibrated:
    """The temperature and bias of the least log loss.

    `positive` and `negative` are cosines with the two sides' prompts, float64 (rows, classes),
    `labels` says which rows are of the class, bool (rows,), `start` is the first factor of cosines
    to try (1 / temperature). Labels of both values must be there, else no bias is finite.

    Of rows that a factor separates without error the loss falls for ever as the factor grows; so a
    weak pull towards `start` (a hundredth of a row) is part of what is minimised.
    """
    from scipy.optimize import minimize

    def loss(parameters: Floats) -> float:
        spread, bias = parameters
        logits = class_logits(positive, negative, start * np.exp(spread)) + bias
        pull = 0.005 * (spread**2 + (bias / 10) ** 2) / len(labels)
        return _log_loss_of_logits(logits, labels) + float(pull)

    found = min(
        (
            minimize(loss, (np.log(factor), 0.0), method="Nelder-Mead", options={"maxiter": 2000})
            for factor in (0.03, 0.3, 1.0)
        ),
        key=lambda one: one.fun,
    )
    return Calibrated(float(1 / (start * np.exp(found.x[0]))), float(found.x[1]))


def probabilities(positive: Floats, negative: Floats, found: Calibrated) -> Floats:
    """The scores at a temperature and bias, 0–1, float64 (rows,)."""
    logits = class_logits(positive, negative, 1 / found.temperature) + found.bias
    return np.asarray((np.tanh(logits / 2) + 1) / 2, np.float64)


def log_loss(scores: Floats, labels: Labels) -> float:
    """The mean negative logarithm of the probability given to what is true."""
    right = np.where(labels, scores, 1 - scores)
    return float(-np.log(np.clip(right, _TINY, 1)).mean())


def calibration_error(scores: Floats, labels: Labels) -> float:
    """Expected calibration error over ten bins of equal width: |share of the class − mean score|,
    weighted by rows (Guo et al., 2017, equation 3)."""
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    gaps = np.abs(
        np.bincount(bins, labels, minlength=_BINS) - np.bincount(bins, scores, minlength=_BINS)
    )
    return float(gaps[rows > 0].sum() / len(labels))


def _log_loss_of_logits(logits: Floats, labels: Labels) -> float:
    return float(np.logaddexp(0, np.where(labels, -logits, logits)).mean())
