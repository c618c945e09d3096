"""How many digits of a closed form are right, beside those of a solver with pivots."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..support.checks import check_ridge
from .evaluation import check_moments, compiled, in_noisy_units
from .system import hankel_rows, right_terms, smoothed, stacked

EXACT_DIGITS = 100  # of the arithmetic that says what is correct
EPS = np.finfo(float).eps
_decimal = np.vectorize(Decimal, otypes=[object])


class Digits(NamedTuple):
    """Correct decimal digits of two solutions, float arrays of one shape, from 0 to 15.65, all that float64 has."""

    cofactors: np.ndarray
    solver: np.ndarray


def correct_digits(clean: ArrayLike, sigma: ArrayLike, target: str = "denoise", gamma: float = 0.0) -> Digits:
    """How many decimal digits are right: by cofactors, and by elimination with pivots (`torch.linalg.solve`).

    Both solve in the units of the arguments; `in_noisy_units` gives those of a model. The truth is what the same
    float64 moments give in arithmetic of 100 digits. The error is the length of the difference over the length of the
    true solution, both in noisy units.

    Cofactors lose about log10(prod_r H[r, r] / det H) digits, some D (D + 1) log10(mean / spread) far from zero. Every
    term of det H has the same unit, so other units change nothing; centred coefficients do.

    Parameters
    ----------
    clean : float64 array [..., 2D + 1]
        Moments m_0 to m_2D, D = 1, 2 or 3.
    sigma : float64 array
        Noise levels; broadcasts against the leading axes of `clean`.
    target : str
    gamma : float >= 0

    Returns
    -------
    Digits
        Two arrays of the broadcast shape.

    Raises
    ------
    ValueError
        As for a `ClosedForm`.

    Examples
    --------
    Always 30, with noise of variance 1: the terms of det H are far larger than their sum.

    >>> digits = correct_digits(30.0 ** np.arange(7), 1.0)
    >>> bool(digits.cofactors < 2), bool(digits.solver > 6)
    (True, True)
    """
    clean, sigma, gamma = check_moments(clean), np.asarray(sigma, dtype=float), check_ridge(gamma)
    form = compiled(clean.shape[-1] // 2, target, ridge=gamma > 0)
    weights = _decimal(in_noisy_units(clean, sigma)[2][..., None]) ** np.arange(form.degree + 1)
    solutions = form(clean, sigma, gamma), _solved(clean, sigma, target, gamma)
    with localcontext(prec=EXACT_DIGITS):
        exact = form.quotients(_decimal(np.moveaxis(clean, -1, 0)), _decimal(sigma), Decimal(gamma))
        return Digits(*(_agreement(found, exact, weights) for found in solutions))


def _solved(clean: np.ndarray, sigma: np.ndarray, target: str, gamma: float) -> np.ndarray:
    """Solution [..., D + 1] by elimination with pivots; not finite where a pivot vanishes."""
    moments, degree = np.moveaxis(clean, -1, 0), clean.shape[-1] // 2
    mu = smoothed(moments, sigma)
    gram = stacked(stacked(row) for row in hankel_rows(mu, gamma))
    right = stacked([*right_terms(mu, moments, sigma, target, degree), mu[-1]])[..., :-1, None]
    return torch.linalg.solve_ex(torch.from_numpy(gram), torch.from_numpy(right)).result[..., 0].numpy()


def _agreement(found: np.ndarray, exact: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Digits to which weighted vectors agree; 0 where the one found is not finite."""
    found = _decimal(np.where(np.isfinite(found).all(axis=-1, keepdims=True), found, 0))
    error, size = (((found - exact) * weights) ** 2).sum(axis=-1), ((exact * weights) ** 2).sum(axis=-1)
    larger = np.maximum(error, size)
    ratio = np.sqrt(np.asarray(error / np.where(larger == 0, 1, larger), dtype=float))
    return -np.log10(np.clip(ratio, EPS, 1))
