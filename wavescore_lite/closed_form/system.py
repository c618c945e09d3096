"""The Hankel system of one noisy coefficient, H a = b, in any arithmetic: of symbols, floats or decimals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb, prod
from typing import Any

import numpy as np

from ..support.checks import check_integer

HIGHEST_DEGREE = 3

Terms = Sequence[Any] | np.ndarray  # numbers of any kind, or arrays of them along the first axis


def check_degree(degree: int) -> int:
    """Return `degree` if there is a closed form for it: 1, 2 or 3."""
    try:
        return check_integer("degree", degree, 1, HIGHEST_DEGREE)
    except ValueError as error:
        raise ValueError(
            f"{error} for a closed form: beyond, its expressions explode, and WaveletScore solves the system"
        ) from None


def smoothed(clean: Terms, sigma: Any) -> list[Any]:
    """E[(y_0 + sigma z)^r f(y_0)] from clean[k] = E[y_0^k f(y_0)], for every r."""

    def moment(r: int) -> Any:  # E[z^(r - k)] is (r - k - 1)!! for even r - k
        return sum(comb(r, k) * prod(range(1, r - k, 2)) * sigma ** (r - k) * clean[k] for k in range(r % 2, r + 1, 2))

    return [moment(r) for r in range(len(clean))]


def hankel_rows(mu: Terms, gamma: Any) -> list[list[Any]]:
    """H[r, m] = mu_(r+m), plus gamma on the diagonal, from mu_0 to mu_2D."""
    size = len(mu) // 2 + 1
    return [[mu[r + m] + (gamma if r == m else 0) for m in range(size)] for r in range(size)]


def right_terms(mu: Terms, clean: Terms, sigma: Any, target: str, degree: int) -> list[Any]:
    """b_0 to b_D from noisy moments mu_0, mu_1, ... and clean ones m_0 to m_(D+1); see `right_side`."""
    if target == "denoise":
        return smoothed(clean[1 : degree + 2], sigma)
    return [0 * mu[0], *(-r * mu[r - 1] for r in range(1, degree + 1))]


def stacked(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Arrays that broadcast, along a new last axis."""
    return np.stack(np.broadcast_arrays(*parts), axis=-1)
