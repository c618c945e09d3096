"""What a denoiser is: everything that is compared, sampled from or scored answers one question."""

from __future__ import annotations

import math
from typing import Protocol

import torch

from ..support.checks import check_sigma

EVERY_SIGMA = (0.0, math.inf)


class Denoiser(Protocol):
    """Anything that estimates clean data from noisy data of a known noise level."""

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy], of the shape of `noisy`: for images, [n, height, width]."""


class FittedDenoiser(Denoiser, Protocol):
    """A denoiser that images alone make."""

    def fit(self, images: torch.Tensor) -> FittedDenoiser:
        """Fit to images [n, height, width], float32 or float64; returns itself."""


class WithScore:
    """What every denoiser of the package offers besides: its score, and the noise levels that it is meant for."""

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and largest noise level that it answers for."""
        return EVERY_SIGMA

    def score(self: Denoiser, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Score at noisy images [n, height, width], of their shape: see `score`; errors are those of `denoise`."""
        return score(self, noisy, sigma)


def score(denoiser: Denoiser, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
    """Score of a denoiser, (denoise(noisy, sigma) - noisy) / sigma^2, of the shape of `noisy` (Tweedie's formula).

    Examples
    --------
    >>> class Black:
    ...     def denoise(self, noisy, sigma):
    ...         return 0 * noisy
    >>> score(Black(), torch.ones(1, 8, 8), sigma=2.0)[0, 0, 0]
    tensor(-0.2500)
    """
    estimate = denoiser.denoise(noisy, sigma)
    return (estimate - torch.as_tensor(noisy).detach()) / check_sigma(sigma) ** 2


def sigma_range(denoiser: Denoiser) -> tuple[float, float]:
    """Noise levels that a denoiser states, or all of them if it states none."""
    low, high = getattr(denoiser, "sigma_range", EVERY_SIGMA)
    return float(low), float(high)
