"""Structural similarity of two images: Wang et al. (2004), computed as matrix products."""

from __future__ import annotations

import torch

WINDOW, SPREAD = 11, 1.5  # of the Gaussian window, in pixels
STABLE = (0.01**2, 0.03**2)  # the two constants that keep quotients finite, for images in [0, 1]
BATCH = 64  # images that are compared at a time, so that they stay in the cache


def structural_similarity(estimates: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Structural similarity (Wang et al., 2004) of each image with its clean one: 1 for equal images.

    Local means, variances and the covariance are taken under a Gaussian window of 11 x 11 pixels, standard deviation
    1.5, wherever it fits into the image.

    Parameters
    ----------
    estimates, clean : tensor [n, height, width] in [0, 1], each side >= 11

    Returns
    -------
    tensor [n], float64

    Raises
    ------
    ValueError
        For images smaller than the window, or of two shapes.

    Examples
    --------
    >>> images = torch.rand(3, 16, 16)
    >>> structural_similarity(images, images)
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    if estimates.shape != clean.shape or estimates.ndim != 3 or min(estimates.shape[1:]) < WINDOW:
        shapes = f"{list(estimates.shape)} and {list(clean.shape)}"
        raise ValueError(f"images have shapes {shapes}; expected both [n, height, width] with sides >= {WINDOW}")
    pairs = zip(estimates.split(BATCH), clean.split(BATCH), strict=True)
    return torch.cat([_similarity(*pair) for pair in pairs])


def _similarity(estimates: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    down, across = (_windows(side, clean.device) for side in clean.shape[1:])

    def smooth(values: torch.Tensor) -> torch.Tensor:
        return down @ values @ across.T

    x, y = estimates.double(), clean.double()
    mean_x, mean_y = smooth(x), smooth(y)
    variance_x, variance_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    brightness = (2 * mean_x * mean_y + STABLE[0]) / (mean_x**2 + mean_y**2 + STABLE[0])
    structure = (2 * covariance + STABLE[1]) / (variance_x + variance_y + STABLE[1])
    return (brightness * structure).mean(dim=(1, 2))


def _windows(side: int, device: torch.device) -> torch.Tensor:
    """Weights of every window that fits into a side, a row each: [side - 10, side]."""
    places = torch.arange(side, dtype=torch.float64, device=device)
    steps = places - places[WINDOW // 2 : -(WINDOW // 2), None]  # from the middle of the window
    weights = torch.exp(-(steps**2) / (2 * SPREAD**2)) * (steps.abs() <= WINDOW // 2)
    return weights / weights.sum(dim=1, keepdim=True)
