"""Numbers in which two datasets can be compared."""

import math

import numpy as np
import torch

from wavescore_lite.denoisers.linear import pixel_moments


def statistics(images: torch.Tensor) -> dict[str, float]:
    """Summarise images [n, size, size] by numbers in which two datasets can be compared.

    Returns
    -------
    dict
        ``mean`` and ``std`` over all pixels; ``variance`` over images, averaged over pixels; ``leading``, the largest
        principal component's share of it; ``components_50``, ``components_90``, ``components_99``, how many principal
        components hold that percentage of it; ``slope``, the power of frequency with which the squared Fourier
        amplitudes, averaged over directions, fall from 2 to 12 cycles per image.

    """
    mean, gram = pixel_moments(images)
    size = math.isqrt(len(mean))
    eigenvalues = torch.linalg.eigvalsh(gram - torch.outer(mean, mean)).flip(0).clamp(min=0)
    shares = eigenvalues.cumsum(0) / eigenvalues.sum()
    return {
        "mean": float(mean.mean()),
        "std": float(gram.diagonal().mean() - mean.mean() ** 2) ** 0.5,
        "variance": float(eigenvalues.mean()),
        "leading": float(shares[0]),
        **{f"components_{percent}": int((shares < percent / 100).sum()) + 1 for percent in (50, 90, 99)},
        "slope": _spectral_slope(gram.reshape(size, size, size, size).numpy()),
    }


def _spectral_slope(gram: np.ndarray, lowest: int = 2, highest: int = 12) -> float:
    """Exponent of the power spectrum, the diagonal of the Gram [size, size, size, size] between Fourier modes."""
    size = len(gram)
    modes = np.fft.ifft2(np.fft.fft2(gram, axes=(0, 1)), axes=(2, 3)).reshape(size * size, size * size)
    frequency = np.fft.fftfreq(size) * size
    ring = np.rint(np.hypot(frequency[:, None], frequency)).astype(int).ravel()
    power = np.bincount(ring, modes.diagonal().real) / np.bincount(ring)
    band = np.arange(lowest, min(highest, size // 2) + 1)
    return float(np.polyfit(np.log(band), np.log(power[band]), 1)[0])
