"""Distances between two sets of features: Frechet's, of their Gaussians; and a kernel's, of the laws themselves."""

from __future__ import annotations

import numpy as np
import torch

PARTS = (1, 2, 3, 4)  # into which both sets are cut, to see what their number does
BLOCK = 1024  # rows of a matrix of pairs that are there at a time


def check_features(samples: torch.Tensor, reference: torch.Tensor, least: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two sets of features in float64, or say what is wrong with them.

    Examples
    --------
    >>> check_features(torch.zeros(1, 64), torch.zeros(9, 64))
    Traceback (most recent call last):
    ...
    ValueError: features have shapes [1, 64] and [9, 64]; expected [n, f] and [m, f], with n and m >= 2
    """
    shapes = [list(samples.shape), list(reference.shape)]
    if (
        samples.ndim != 2
        or reference.ndim != 2
        or shapes[0][1] != shapes[1][1]
        or min(map(len, (samples, reference))) < least
    ):
        raise ValueError(
            f"features have shapes {shapes[0]} and {shapes[1]}; expected [n, f] and [m, f], with n and m >= {least}"
        )
    pair = samples.detach().double(), reference.detach().double()
    if not all(torch.isfinite(features).all() for features in pair):
        raise ValueError(f"features of shapes {shapes[0]} and {shapes[1]} hold NaN or infinity; expected finite values")
    return pair


def frechet_distance(samples: torch.Tensor, reference: torch.Tensor) -> float:
    """Squared Frechet distance of two Gaussians with the sets' means and covariances (Heusel et al., 2017, eq. 6).

    ``|m - m'|^2 + tr(C + C' - 2 (C^1/2 C' C^1/2)^1/2)``, the roots through eigenvalues, exactly. Finite sets are
    farther apart than their laws: by B/n + B'/m to first order, so compare only what has as many samples, or take
    `unbiased_frechet_distance`.

    Parameters
    ----------
    samples, reference : tensor [n, f] and [m, f]
        At least 2 of each.

    Returns
    -------
    float >= 0
        In squared units of the features.

    Raises
    ------
    ValueError
        For other shapes, or values that are not finite.

    Examples
    --------
    >>> reference = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    >>> frechet_distance(reference + torch.tensor([3.0, 4.0]), reference)
    25.0
    """
    pair = check_features(samples, reference)
    (mean, covariance), (other_mean, other_covariance) = ((part.mean(dim=0), torch.cov(part.T)) for part in pair)
    covariance, other_covariance = torch.atleast_2d(covariance), torch.atleast_2d(other_covariance)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    spread = covariance.trace() + other_covariance.trace() - 2 * overlap
    return ((mean - other_mean).square().sum() + spread).clamp(min=0).item()


def unbiased_frechet_distance(samples: torch.Tensor, reference: torch.Tensor, seed: int = 0) -> float:
    """Frechet distance as it would be for infinitely many samples and references (Chong & Forsyth, 2020).

    Both sets, shuffled, are cut into 1, 2, 3 and 4 equal parts. The mean distance of parts with parts is a line in
    their number, to first order, as the bias is B/n + B'/m; where it meets 0 both sets are infinite. The paper
    extrapolates in n alone; here the reference's bias goes too.

    Parameters
    ----------
    samples, reference : tensor [n, f] and [m, f]
        At least 4 (f + 1) of each, so that even the parts determine all of a covariance.
    seed : int
        Of the shuffling.

    Returns
    -------
    float
        In squared units of the features. It has no bias of first order and so may fall below 0 for equal laws.

    Raises
    ------
    ValueError
        As for `frechet_distance`, and for too few.

    Examples
    --------
    >>> from wavescore_lite.noise import standard_normal
    >>> samples, reference = standard_normal(0, 2000, (2, 8), seed=0).unbind(1)
    >>> frechet_distance(samples, reference) > 0.01, abs(unbiased_frechet_distance(samples, reference)) < 0.01
    (True, True)
    """
    samples, reference = check_features(samples, reference, max(PARTS) * (samples.shape[-1] + 1))
    generator = np.random.default_rng(seed)
    shuffled = [features[torch.from_numpy(generator.permutation(len(features)))] for features in (samples, reference)]
    means = []
    for parts in PARTS:
        pairs = zip(*(features.tensor_split(parts) for features in shuffled), strict=True)
        means.append(np.mean([frechet_distance(*pair) for pair in pairs]))
    return float(np.polynomial.Polynomial.fit(PARTS, means, 1)(0))


def kernel_distance(samples: torch.Tensor, reference: torch.Tensor) -> float:
    """Squared maximum mean discrepancy, unbiased, of the kernel (x . y / f + 1)^3 (Binkowski et al., 2018).

    It compares all moments up to the third, and its expectation does not depend on how many samples there are.

    Parameters
    ----------
    samples, reference : tensor [n, f] and [m, f]
        At least 2 of each.

    Returns
    -------
    float
        0 in expectation, and below it half of the time, where the two laws are one.

    Raises
    ------
    ValueError
        As for `frechet_distance`.

    Examples
    --------
    >>> kernel_distance(torch.tensor([[1.0], [1.0]]), torch.tensor([[0.0], [0.0]]))
    7.0
    """
    samples, reference = check_features(samples, reference)
    within = 0.0
    for part in (samples, reference):
        alone = _kernel(part.square().sum(dim=1), part.shape[1]).sum()  # of each with itself: no pair
        within += (_kernel_sum(part, part) - alone).item() / (len(part) * (len(part) - 1))
    return within - 2 * _kernel_sum(samples, reference).item() / (len(samples) * len(reference))


def _kernel(products: torch.Tensor, dim: int) -> torch.Tensor:
    base = products / dim + 1
    return base * base * base  # ten times as fast as a power


def _kernel_sum(features: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    blocks = (block @ others.T for block in features.split(BLOCK))
    return torch.stack([_kernel(block, others.shape[1]).sum() for block in blocks]).sum()
