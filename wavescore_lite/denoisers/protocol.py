"""What a denoiser is: everything that is compared, sampled from or scored answers one question."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Protocol, TypeVar

import torch

from ..support.arrays import as_tensor
from ..support.checks import check_images, check_sigmas, is_finite, transformed

EVERY_SIGMA = (0.0, math.inf)
ROUNDING = 1e-6  # by how much, relatively, a noise level may miss a range

F = TypeVar("F")


class Denoiser(Protocol):
    """Anything that estimates clean data from noisy data of a known noise level."""

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy], of the shape of `noisy`: for images, [n, height, width]."""


class FittedDenoiser(Denoiser, Protocol):
    """A denoiser that images alone make."""

    def fit(self, images: torch.Tensor) -> FittedDenoiser:
        """Fit to images [n, height, width], float32 or float64; returns itself."""


class WithScore(ABC):
    """What every denoiser of the package offers: images and noise levels as PyTorch users give them, and its score.

    A subclass says what `shape` its images have, and how to `_denoise` them at one noise level.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels; a RuntimeError if there is no fit yet."""

    @abstractmethod
    def _denoise(self, images: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimates from images [n, height, width] of one noise level, differentiable where `differentiated`."""

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and largest noise level that it answers for."""
        return EVERY_SIGMA

    @property
    def fitted_sigmas(self) -> tuple[float, ...] | None:
        """The only noise levels that it answers for, in ascending order, or None if it is no such list."""
        return None

    def starts(self, normal: torch.Tensor, sigma: float) -> torch.Tensor:
        """Gaussian images with the moments, as far as they are known, of noisy data: what a sampler starts from.

        Parameters
        ----------
        normal : tensor [n, height, width]
            Standard normal.
        sigma : float > 0

        Returns
        -------
        tensor [n, height, width]
            Here sigma times `normal`.
        """
        return sigma * normal

    def denoise(self, noisy: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy], differentiable by `noisy`.

        Each image is denoised for itself: those beside it change its estimate by rounding alone, where products of
        larger matrices add up in another order.

        Parameters
        ----------
        noisy : tensor [n, height, width] or [n, 1, height, width], float32 or float64
        sigma : float > 0, or one for each image: tensor [n], [n, 1, 1] or [n, 1, 1, 1]
            Standard deviation of the noise in a pixel, within `sigma_range`.

        Returns
        -------
        tensor of the shape, dtype and device of `noisy`, not clipped

        Raises
        ------
        RuntimeError
            If the denoiser is not fitted.
        TypeError, ValueError
            For other images, a sigma that is not > 0 or not answered for, or an estimate beyond what the dtype holds.
        """
        noisy = as_tensor("images", noisy)
        channel = noisy.ndim == 4 and noisy.shape[1] == 1
        images = check_images(noisy[:, 0] if channel else noisy, self.shape, graph=True).contiguous()
        sigma = check_sigmas(sigma, len(images))
        with torch.autocast(images.device.type, enabled=False):
            estimate = self._denoise(images, sigma) if isinstance(sigma, float) else self._denoise_each(images, sigma)
        _check_no_overflow("estimate", estimate, images, sigma, self._expected)
        return estimate[:, None] if channel else estimate

    @property
    def _expected(self) -> str:
        """What is asked for where an estimate overflows."""
        return "images nearer to the data"

    def __call__(self, noisy: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """The same as `denoise`."""
        return self.denoise(noisy, sigma)

    def _denoise_each(self, images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        """Estimates from images of several noise levels [n], those of one level together."""
        levels, which = sigmas.unique(return_inverse=True)
        rows = [(which == k).nonzero()[:, 0].to(images.device) for k in range(len(levels))]
        parts = [self._denoise(images[row], level) for row, level in zip(rows, levels.tolist(), strict=True)]
        return torch.cat(parts)[torch.cat(rows).argsort()]

    def score(self, noisy: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Score at noisy images, of their shape: see `score`; arguments and errors are those of `denoise`."""
        return score(self, noisy, sigma)


def score(denoiser: Denoiser, noisy: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
    """Score of a denoiser, (denoise(noisy, sigma) - noisy) / sigma^2, of the shape of `noisy` (Tweedie's formula).

    Examples
    --------
    >>> class Black:
    ...     def denoise(self, noisy, sigma):
    ...         return 0 * noisy
    >>> score(Black(), torch.ones(1, 8, 8), sigma=2.0)[0, 0, 0]
    tensor(-0.2500)
    """
    each: Any = sigma  # one for each image, if the denoiser takes that
    estimate, noisy = denoiser.denoise(noisy, each), as_tensor("images", noisy)
    level = given = check_sigmas(sigma, len(noisy))
    if isinstance(level, torch.Tensor):
        level = level.to(noisy).view(-1, *[1] * (noisy.ndim - 1))
    slopes = (estimate - noisy) / level**2
    _check_no_overflow("score", slopes, noisy, given, "images nearer to the data, or float64")
    return slopes


def _check_no_overflow(
    name: str, values: torch.Tensor, images: torch.Tensor, sigma: float | torch.Tensor, expected: str
) -> None:
    """Refuse what finite images led to that is not finite."""
    if not transformed() and not is_finite(values):
        least = torch.as_tensor(sigma).min()
        raise ValueError(
            f"the {name} overflows {images.dtype} at sigma {least:g}, for pixels up to {images.abs().max():g}; "
            f"expected {expected}"
        )


def sigma_range(denoiser: Denoiser) -> tuple[float, float]:
    """Noise levels that a denoiser states, or all of them if it states none."""
    low, high = getattr(denoiser, "sigma_range", EVERY_SIGMA)
    return float(low), float(high)


def starts(denoiser: Denoiser, normal: torch.Tensor, sigma: float) -> torch.Tensor:
    """What a sampler starts from, made of normal numbers: see `WithScore.starts`; for others sigma times these."""
    return denoiser.starts(normal, sigma) if isinstance(denoiser, WithScore) else sigma * normal


def answers(denoiser: Denoiser, sigma: float) -> bool:
    """Whether a denoiser states nothing against this noise level."""
    only, (low, high) = getattr(denoiser, "fitted_sigmas", None), sigma_range(denoiser)
    return low * (1 - ROUNDING) <= sigma <= high * (1 + ROUNDING) if only is None else sigma in only


def fitted(model: object, part: F | None) -> F:
    """A part that `fit` makes, or a RuntimeError if there is none yet."""
    if part is None:
        raise RuntimeError(f"{type(model).__name__} is not fitted; expected fit(images) first")
    return part
