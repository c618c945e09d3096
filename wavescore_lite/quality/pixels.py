"""Statistics of images themselves: moments of their coefficients, their power spectrum, their projections."""

from __future__ import annotations

import numpy as np
import torch

from ..bases.protocol import Basis
from ..support.checks import check_images, check_integer

MOMENTS = ("mean", "variance", "skewness", "kurtosis")
CONSTANT = 1e-12  # variance, as a share of the mean square, below which a coefficient has no shape
LEAST_POWER = 1e-12  # of an image without structure, so that its decibels are finite
BATCH = 1024  # images that are transformed at a time


def coefficient_moments(images: torch.Tensor, basis: Basis) -> torch.Tensor:
    """Mean, variance, skewness and excess kurtosis of each coefficient.

    Parameters
    ----------
    images : tensor [n, height, width], float32 or float64
    basis : Basis
        With d coefficients, of images of that shape.

    Returns
    -------
    tensor [4, d], float64
        In the order of MOMENTS, averages over the images without any correction for their number. Skewness and excess
        kurtosis of a constant coefficient are 0.

    Raises
    ------
    TypeError, ValueError
        For other images.

    Examples
    --------
    >>> from wavescore_lite import WaveletBasis
    >>> coefficient_moments(torch.rand(100, 8, 8), WaveletBasis(8)).shape
    torch.Size([4, 64])
    """
    images = check_images(images, basis.shape)
    coefficients = torch.cat([basis.analyze(part.double()) for part in images.split(BATCH)])
    mean, square = coefficients.mean(dim=0), coefficients.square().mean(dim=0)
    centred = coefficients - mean
    second, third, fourth = ((centred**power).mean(dim=0) for power in (2, 3, 4))
    alive = second > CONSTANT * square
    scale = second.where(alive, 1).sqrt()
    return torch.stack([mean, second, (third / scale**3) * alive, (fourth / scale**4 - 3) * alive])


def moment_discrepancies(samples: torch.Tensor, reference: torch.Tensor, basis: Basis) -> dict[str, float]:
    """How far apart the moments of each coefficient are, averaged with its variance as the weight.

    With v the variances in the reference, V their sum: the distance of the means over sqrt(V); the sum of absolute
    differences of variances over V; absolute differences of skewness, and of excess kurtosis, averaged with weights
    v / V. So what is constant in the data, such as a corner, counts by what a sample makes of it.

    Parameters
    ----------
    samples, reference : tensor [n, height, width] and [m, height, width]
    basis : Basis

    Returns
    -------
    dict of float >= 0
        By the names in MOMENTS.

    Raises
    ------
    TypeError, ValueError
        For other images, or a reference that does not vary.

    Examples
    --------
    >>> from wavescore_lite import WaveletBasis, load_images
    >>> images = load_images("strokes", size=16, limit=500)
    >>> found = moment_discrepancies(images / 2, images, WaveletBasis(16))
    >>> {name: round(value, 3) for name, value in found.items() if name != "mean"}
    {'variance': 0.75, 'skewness': 0.0, 'kurtosis': 0.0}
    """
    given, expected = (coefficient_moments(images, basis) for images in (samples, reference))
    variance = expected[1]
    total = variance.sum()
    if total <= 0:
        raise ValueError(f"{len(reference)} reference images are all the same; expected images that vary")
    apart = (given - expected).abs()
    mean = apart[0].norm() / total.sqrt()
    shape = apart[2:] @ variance / total
    return dict(zip(MOMENTS, [mean.item(), (apart[1].sum() / total).item(), *shape.tolist()], strict=True))


def power_spectrum(images: torch.Tensor) -> torch.Tensor:
    """Power of images by frequency: averaged over the images and all orientations.

    Parameters
    ----------
    images : tensor [n, height, width], float32 or float64

    Returns
    -------
    tensor [s / 2 + 1], float64
        s the shorter side. Entry f is the mean of ``|F|^2 / (height width)`` over all waves with between f - 1/2 and
        f + 1/2 periods along s pixels, F the Fourier transform; it is the variance in white noise, for every f > 0.
        Waves beyond the highest f, which only the diagonals hold, are left out.

    Raises
    ------
    TypeError, ValueError
        For other images.

    Examples
    --------
    >>> power_spectrum(torch.ones(1, 8, 8)).tolist()
    [64.0, 0.0, 0.0, 0.0, 0.0]
    """
    images = check_images(images)
    height, width = images.shape[1:]
    shorter = min(height, width)
    power = sum(torch.fft.fft2(part.double()).abs().square().sum(dim=0) for part in images.split(BATCH))
    periods = shorter * torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width).expand(height, -1))
    ring, rings = (periods + 0.5).floor().long().flatten(), shorter // 2 + 1
    sums, counts = (
        torch.bincount(ring, weights, minlength=rings)[:rings] for weights in (torch.as_tensor(power).flatten(), None)
    )
    return sums / (counts * len(images) * height * width)


def spectrum_distance(samples: torch.Tensor, reference: torch.Tensor) -> float:
    """Root mean square difference of two power spectra in decibels, over all frequencies.

    Parameters
    ----------
    samples, reference : tensor [n, height, width] and [m, height, width]

    Returns
    -------
    float >= 0
        Powers below LEAST_POWER count as that, so that images without structure are far, and not infinitely far.

    Raises
    ------
    TypeError, ValueError
        For other images, or two shapes.

    Examples
    --------
    >>> images = torch.rand(10, 8, 8)
    >>> round(spectrum_distance(images * 10, images), 6)
    20.0
    """
    check_images(samples, tuple(reference.shape[1:]))
    given, expected = (10 * power_spectrum(images).clamp(min=LEAST_POWER).log10() for images in (samples, reference))
    return (given - expected).square().mean().sqrt().item()


def sliced_wasserstein(samples: torch.Tensor, reference: torch.Tensor, directions: int = 128, seed: int = 0) -> float:
    """Wasserstein distance of order 1 between projections of images, averaged over directions (Rabin et al., 2011).

    Parameters
    ----------
    samples, reference : tensor [n, ...] and [m, ...]
        Images, or features, of one shape.
    directions : int
        Drawn uniformly from the unit sphere.
    seed : int
        Of the directions: compare with the same ones.

    Returns
    -------
    float >= 0
        In pixel units. It is above 0 for two sets of one law, by about 1 / sqrt(n).

    Raises
    ------
    ValueError
        For two shapes, or values that are not finite.

    Examples
    --------
    >>> points = torch.rand(100, 1)
    >>> round(sliced_wasserstein(points + 0.25, points), 6)
    0.25
    """
    points = [torch.as_tensor(images).detach().double().flatten(1) for images in (samples, reference)]
    if samples.shape[1:] != reference.shape[1:] or not all(torch.isfinite(part).all() for part in points):
        shapes = f"{list(samples.shape)} and {list(reference.shape)}"
        raise ValueError(f"samples and reference have shapes {shapes}; expected one shape, and finite values")
    count = check_integer("directions", directions, 1)
    drawn = torch.from_numpy(np.random.default_rng(seed).standard_normal((points[0].shape[1], count)))
    drawn = drawn.to(points[0]) / drawn.norm(dim=0).to(points[0])
    places, order = torch.cat([part @ drawn for part in points]).sort(dim=0)
    weights = torch.cat(
        [part.new_full((len(part),), sign / len(part)) for part, sign in zip(points, (1, -1), strict=True)]
    )
    gaps = weights[order].cumsum(dim=0)[:-1].abs() * places.diff(dim=0)  # difference of two distribution functions
    return gaps.sum(dim=0).mean().item()
