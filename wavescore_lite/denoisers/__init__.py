"""What the wavelet score is compared with: one short class each, all with `denoise(noisy, sigma)`."""

from .empirical import PosteriorMean
from .linear import MeanImage, Wiener
from .protocol import Denoiser

__all__ = ["Denoiser", "MeanImage", "PosteriorMean", "Wiener"]
