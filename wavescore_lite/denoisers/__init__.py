"""What the wavelet score is compared with: one short class each, all with `denoise(noisy, sigma)`."""

from collections.abc import Callable

from .empirical import PosteriorMean
from .linear import MeanImage, Wiener
from .protocol import Denoiser, FittedDenoiser

BASELINES: dict[str, Callable[[], FittedDenoiser]] = {
    "mean image": MeanImage,
    "Wiener": Wiener,
    "posterior mean": PosteriorMean,
}
"""What stands beside every wavelet score in the tables, by name."""

__all__ = ["BASELINES", "Denoiser", "MeanImage", "PosteriorMean", "Wiener"]
