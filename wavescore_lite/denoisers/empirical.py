"""The exact posterior mean if the training images were all there is: what a denoiser without a model remembers."""

from __future__ import annotations

import torch

from ..support.checks import check_images, transformed
from .parts import WithParts
from .protocol import fitted

BATCH = 8192  # training images that are compared with at a time
ROUNDING = 1e-3  # in the logarithm of a weight, at most


class PosteriorMean(WithParts):
    """The mean of the training images, each weighted by its likelihood under the noise.

    The weight of x_i is exp(-(x - x_i)^2 / 2 sigma^2), up to their sum. It is E[x_0 given x_sigma = x] for data that
    are the training images with equal probability: the minimiser of the training loss over all functions. On other
    images it is a kernel regression, good where noise blurs the difference between one set of images and another, and
    bad where it does not.

    Examples
    --------
    >>> images = torch.rand(50, 8, 8)
    >>> memory = PosteriorMean().fit(images)
    >>> torch.allclose(memory.denoise(images[:3], sigma=0.01), images[:3])
    True
    """

    parts = ("images",)

    def __init__(self) -> None:
        self.images: torch.Tensor | None = None

    def fit(self, images: torch.Tensor) -> PosteriorMean:
        """Keep images [n, height, width], float32 or float64; they are not copied."""
        self.images = check_images(images)
        return self

    def _denoise(self, images: torch.Tensor, sigma: float) -> torch.Tensor:
        """Weighted means of the training images.

        Batches of training images pass by; sums are kept in units of the largest weight so far, so that nothing
        overflows and no [n, training images] matrix is held. They are in float64 where sigma^2 is so small that what
        float32 rounds off, divided by it, would decide between images.
        """
        x = images.flatten(1)
        if transformed() or torch.finfo(x.dtype).eps * x.detach().square().sum(1).max().item() > ROUNDING * sigma**2:
            x = x.double()
        largest = x.new_full((len(x), 1), -torch.inf)
        total, weighted = torch.zeros_like(largest), torch.zeros_like(x)
        for batch in fitted(self, self.images).split(BATCH):
            clean = batch.to(x).flatten(1)
            exponents = (x @ clean.T - clean.square().sum(1) / 2) / sigma**2  # without -|x|^2 / 2, which cancels
            highest = torch.maximum(largest, exponents.amax(1, keepdim=True))
            weights, before = torch.exp(exponents - highest), torch.exp(largest - highest)
            total = before * total + weights.sum(1, keepdim=True)
            weighted = before * weighted + weights @ clean
            largest = highest
        return (weighted / total).unflatten(1, self.shape).to(images)
