"""The two baselines that stand beside every result: the mean image and the full linear (Wiener) denoiser."""

from __future__ import annotations

import torch

from ..support.checks import check_images
from .parts import WithParts
from .protocol import fitted

BATCH = 8192


class MeanImage(WithParts):
    """The best guess that does not look: the mean of the training images, whatever is shown.

    Examples
    --------
    >>> mean = MeanImage().fit(torch.full((10, 8, 8), 0.25))
    >>> mean.denoise(torch.rand(1, 8, 8), sigma=1.0)[0, 0, 0]
    tensor(0.2500)
    """

    parts = ("mean",)

    def __init__(self) -> None:
        self.mean: torch.Tensor | None = None

    def fit(self, images: torch.Tensor) -> MeanImage:
        """Average images [n, height, width], float32 or float64, in float64."""
        images = check_images(images)
        total = images.new_zeros(images.shape[1:], dtype=torch.float64)
        for batch in images.split(BATCH):
            total += batch.double().sum(0)
        self.mean = total / len(images)
        return self

    def starts(self, normal: torch.Tensor, sigma: float) -> torch.Tensor:
        """Noisy mean images: see `WithScore.starts`."""
        return fitted(self, self.mean).to(normal) + sigma * normal

    def _denoise(self, images: torch.Tensor, sigma: float) -> torch.Tensor:
        """The mean image for each of the noisy images."""
        return fitted(self, self.mean).to(images) + 0 * images


class Wiener(WithParts):
    """The best linear denoiser of all pixels together: mu + C (C + sigma^2)^-1 (x - mu) (Wiener, 1949).

    It is the exact posterior mean if the images are Gaussian, and needs their mean and covariance only: what a
    nonlinear denoiser gains over it, it gains from higher moments.

    Examples
    --------
    >>> images = torch.rand(500, 8, 8)
    >>> Wiener().fit(images).denoise(images[:3] + torch.randn(3, 8, 8), sigma=1.0).shape
    torch.Size([3, 8, 8])
    """

    parts = ("mean", "variances", "directions")

    def __init__(self) -> None:
        self.mean: torch.Tensor | None = None
        self.variances: torch.Tensor | None = None
        self.directions: torch.Tensor | None = None

    def fit(self, images: torch.Tensor) -> Wiener:
        """Diagonalise the covariance of images [n, height, width], float32 or float64; sums in float64."""
        images = check_images(images)
        mean, gram = pixel_moments(images)
        variances, self.directions = torch.linalg.eigh(gram - torch.outer(mean, mean))
        self.variances = variances.clamp_min(0)
        self.mean = mean.unflatten(0, images.shape[1:])
        return self

    def starts(self, normal: torch.Tensor, sigma: float) -> torch.Tensor:
        """Gaussian images of the noisy data's mean and covariance: see `WithScore.starts`."""
        mean, variances, directions = self._parts(normal)
        spread = (variances + sigma**2).sqrt()
        return mean + ((normal.flatten(1) * spread) @ directions.T).unflatten(1, mean.shape)

    def _denoise(self, images: torch.Tensor, sigma: float) -> torch.Tensor:
        mean, variances, directions = self._parts(images)
        amplitudes = (images - mean).flatten(1) @ directions
        shrunk = amplitudes * (variances / (variances + sigma**2))
        return mean + (shrunk @ directions.T).unflatten(1, mean.shape)

    def _parts(self, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(fitted(self, part).to(like) for part in (self.mean, self.variances, self.directions))


def pixel_moments(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First and second moments of the pixels x, from one pass of float64 sums.

    Parameters
    ----------
    images : tensor [n, height, width], float32 or float64

    Returns
    -------
    mean : tensor [d], float64
        E[x], the expectation taken over the images.
    gram : tensor [d, d], float64
        E[x x^T], not centred.

    Examples
    --------
    >>> mean, gram = pixel_moments(torch.full((5, 8, 8), 0.5))
    >>> mean[0].item(), gram[0, 1].item()
    (0.5, 0.25)
    """
    images = check_images(images)
    pixels = images[0].numel()
    total = images.new_zeros(pixels, dtype=torch.float64)
    products = images.new_zeros(pixels, pixels, dtype=torch.float64)
    for batch in images.split(BATCH):
        flat = batch.double().flatten(1)
        total += flat.sum(dim=0)
        products.addmm_(flat.T, flat)
    return total / len(images), products / len(images)
