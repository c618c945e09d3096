"""The two baselines that stand beside every result: the mean image and the full linear (Wiener) denoiser."""

from __future__ import annotations

import math

import torch

from ..support.checks import check_images, check_sigma

BATCH = 8192


class MeanImage:
    """The best guess that does not look: the mean of the training images, whatever is shown.

    Examples
    --------
    >>> mean = MeanImage().fit(torch.full((10, 8, 8), 0.25))
    >>> mean.denoise(torch.rand(1, 8, 8), sigma=1.0)[0, 0, 0]
    tensor(0.2500)
    """

    def __init__(self) -> None:
        self.mean: torch.Tensor | None = None

    def fit(self, images: torch.Tensor) -> MeanImage:
        """Average images [n, size, size], float32 or float64, in float64."""
        images = check_images(images)
        self.mean = sum(batch.double().sum(0) for batch in images.split(BATCH)) / len(images)
        return self

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """The mean image for each of the noisy images [n, size, size]."""
        noisy, _ = _checked(self, self.mean, noisy, sigma)
        return self.mean.to(noisy).expand_as(noisy)


class Wiener:
    """The best linear denoiser of all pixels together: mu + C (C + sigma^2)^-1 (x - mu) (Wiener, 1949).

    It is the exact posterior mean if the images are Gaussian, and needs their mean and covariance only: what a
    nonlinear denoiser gains over it, it gains from higher moments.

    Examples
    --------
    >>> images = torch.rand(500, 8, 8)
    >>> Wiener().fit(images).denoise(images[:3] + torch.randn(3, 8, 8), sigma=1.0).shape
    torch.Size([3, 8, 8])
    """

    def __init__(self) -> None:
        self.mean: torch.Tensor | None = None
        self.variances: torch.Tensor | None = None
        self.directions: torch.Tensor | None = None

    def fit(self, images: torch.Tensor) -> Wiener:
        """Diagonalise the covariance of images [n, size, size], float32 or float64; sums in float64."""
        mean, gram = pixel_moments(images)
        self.variances, self.directions = torch.linalg.eigh(gram - torch.outer(mean, mean))
        self.variances.clamp_min_(0)
        self.mean = mean.unflatten(0, (math.isqrt(len(mean)), -1))
        return self

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of the clean images from noisy ones [n, size, size], same dtype, not clipped."""
        noisy, sigma = _checked(self, self.mean, noisy, sigma)
        mean, variances, directions = (part.to(noisy) for part in (self.mean, self.variances, self.directions))
        amplitudes = (noisy - mean).flatten(1) @ directions
        shrunk = amplitudes * (variances / (variances + sigma**2))
        return mean + (shrunk @ directions.T).unflatten(1, mean.shape)


def pixel_moments(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First and second moments of the pixels x, from one pass of float64 sums.

    Parameters
    ----------
    images : tensor [n, size, size], float32 or float64

    Returns
    -------
    mean : tensor [size * size], float64
        E[x], the expectation taken over the images.
    gram : tensor [size * size, size * size], float64
        E[x x^T], not centred.

    Examples
    --------
    >>> mean, gram = pixel_moments(torch.full((5, 8, 8), 0.5))
    >>> mean[0].item(), gram[0, 1].item()
    (0.5, 0.25)
    """
    images = check_images(images)
    pixels = images.shape[1] ** 2
    total, products = torch.zeros(pixels).double(), torch.zeros(pixels, pixels).double()
    for batch in images.split(BATCH):
        flat = batch.double().flatten(1)
        total += flat.sum(dim=0)
        products.addmm_(flat.T, flat)
    return total / len(images), products / len(images)


def _checked(model: object, mean: torch.Tensor | None, noisy: torch.Tensor, sigma: float) -> tuple[torch.Tensor, float]:
    if mean is None:
        raise RuntimeError(f"{type(model).__name__} is not fitted; expected fit(images) first")
    return check_images(noisy, mean.shape[0]), check_sigma(sigma)
