"""What the wavelet score is compared with: one short class each, all with `denoise(noisy, sigma)`."""

from .linear import MeanImage, Wiener

__all__ = ["MeanImage", "Wiener"]
