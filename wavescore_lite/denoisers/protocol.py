"""What a denoiser is: everything that is compared, sampled from or scored answers one question."""

from __future__ import annotations

from typing import Protocol

import torch


class Denoiser(Protocol):
    """Anything that estimates clean data from noisy data of a known noise level."""

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy], of the shape of `noisy`: for images, [n, size, size]."""
