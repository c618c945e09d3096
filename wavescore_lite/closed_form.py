"""Closed forms of the independent family: eq. 20-21 of the paper, derived by sympy and compiled to numpy.

The powers 1, y, ..., y^D of one noisy coefficient y = y_0 + sigma z give a Hankel system H a = b, H[r, m] = mu_(r+m).
By Cramer's rule a is a quotient of polynomials in the clean moments m_k = E[y_0^k] and sigma. For D = 1, 2, 3 it is
short enough to write out, and one evaluation serves all coefficients and noise levels. The symbols are `m_1`, `mu_1`,
..., `sigma` and `gamma`, without assumptions; m_0 = mu_0 = 1.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from functools import cache
from math import comb, prod
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import sympy
import torch
from sympy.codegen.rewriting import create_expand_pow_optimization

from .couplings import independent
from .estimator import TARGETS
from .scores import WaveletScore
from .support.checks import check_choice, check_ridge, check_sigma

HIGHEST_DEGREE = 3
SIGMA, GAMMA = sympy.symbols("sigma gamma")
NO_NOISE = 1e-200  # its square is 0 in float64
EXACT_DIGITS = 100  # of the arithmetic that says what is correct
EPS = np.finfo(float).eps
_decimal = np.vectorize(Decimal, otypes=[object])


def noisy_moments(order: int) -> list[sympy.Expr]:
    """Moments mu_r = E[(y_0 + sigma z)^r] of the noisy coefficient, r = 0 to `order` (eq. 20).

    mu_r = sum_k (r choose k) sigma^(r-k) (r-k-1)!! m_k over even r - k. The paper's mu_r(t) is alpha_bar^(r/2) times
    this at sigma^2 = (1 - alpha_bar) / alpha_bar.

    Examples
    --------
    >>> noisy_moments(3)
    [1, m_1, m_2 + sigma**2, 3*m_1*sigma**2 + m_3]
    """
    return _smoothed(_symbols("m", order), SIGMA)


def hankel(degree: int, ridge: bool = False) -> sympy.Matrix:
    """H[r, m] = mu_(r+m), plus gamma on the diagonal if there is a ridge, for degree 1, 2 or 3.

    Examples
    --------
    >>> hankel(1, ridge=True)
    Matrix([
    [gamma + 1,         mu_1],
    [     mu_1, gamma + mu_2]])
    """
    return sympy.Matrix(_hankel(_symbols("mu", 2 * _check_degree(degree)), GAMMA if ridge else 0))


def cofactors(degree: int, ridge: bool = False) -> sympy.Matrix:
    """Signed cofactors C[r, m] of `hankel`, rows and columns counted from 0.

    Examples
    --------
    >>> cofactors(1)
    Matrix([
    [ mu_2, -mu_1],
    [-mu_1,     1]])
    """
    return hankel(degree, ridge).cofactor_matrix().expand()


def determinant(degree: int, ridge: bool = False) -> sympy.Expr:
    """Determinant of `hankel`. Without a ridge it goes to 0 with sigma if y_0 takes at most D values.

    Examples
    --------
    >>> determinant(1)
    -mu_1**2 + mu_2
    """
    return hankel(degree, ridge).row(0).dot(cofactors(degree, ridge).row(0)).expand()


def right_side(degree: int, target: str = "denoise") -> sympy.Matrix:
    """Right-hand side b, a column of D + 1.

    "score": b_r = -r mu_(r-1), Stein's identity. "denoise": b_r = E[y^r y_0], in clean moments; this equals
    mu_(r+1) - r sigma^2 mu_(r-1), a difference that loses digits where the noise is far above the signal.

    Examples
    --------
    >>> right_side(2, "score").T, right_side(2).T
    (Matrix([[0, -1, -2*mu_1]]), Matrix([[m_1, m_2, m_1*sigma**2 + m_3]]))
    """
    degree, target = _check_degree(degree), check_choice("target", target, TARGETS)
    return sympy.Matrix(_right_side(_symbols("mu", degree), _symbols("m", degree + 1), SIGMA, target, degree))


def solution(degree: int, target: str = "denoise", ridge: bool = False) -> sympy.Matrix:
    """Solution by cofactors, a_m = sum_r b_r C[r, m] / det H, in mu_r and, for "denoise", m_r and sigma.

    For the target "score" this is eq. 21 mended: a_m = -(1 / det H) sum_(r=1)^D r mu_(r-1) C[r, m] for m = 0 to D. As
    printed, the left side lacks the index m, which is free on the right. The indices of C count from 0, like those of
    H; counted from 1, as cofactors often are, r = 1 to D picks the wrong rows. The sign is right.

    Parameters
    ----------
    degree : int, 1 to 3
        Beyond, the expressions explode: det H has 2, 5 and 16 terms, then 58 and 231.
    target : str
        "denoise" for the clean coefficient, "score" for its score; see `right_side`.
    ridge : bool
        Whether gamma stands on the diagonal of H.

    Raises
    ------
    ValueError
        For another degree or target.

    Examples
    --------
    The slope of the scalar Wiener filter, clean variance over noisy variance:

    >>> noisy = dict(zip(sympy.symbols("mu_1 mu_2"), noisy_moments(2)[1:]))
    >>> solution(1).subs(noisy)[1]
    (-m_1**2 + m_2)/(-m_1**2 + m_2 + sigma**2)
    """
    return cofactors(degree, ridge).T * right_side(degree, target) / determinant(degree, ridge)


@dataclass(frozen=True)
class ClosedForm:
    """`solution` as a function of numbers; `compiled` makes it.

    Call it with clean moments m_0 to m_2D [..., 2D + 1], sigma, and gamma if it has a ridge. Everything broadcasts
    against the leading axes of the moments. It returns the solution, float64 [..., D + 1], as a tensor if the moments
    are one; not finite where the determinant vanishes in float64. Moments of another length, m_0 other than 1, sigma
    not > 0 and gamma < 0 are refused with a ValueError.
    """

    degree: int
    target: str
    ridge: bool
    generated: Callable = field(repr=False)

    @property
    def source(self) -> str:
        """Generated code that gives noisy moments, common subexpressions, numerators and determinant."""
        return inspect.getsource(self.generated)

    def __call__(self, clean: Any, sigma: Any, gamma: Any = 0.0) -> Any:
        moments = _check_moments(clean, [self.degree])
        sigma, gamma = np.asarray(sigma, dtype=float), np.asarray(gamma, dtype=float)
        if not (np.isfinite(sigma) & (sigma > 0)).all():
            raise ValueError(f"sigma is {sigma}; expected finite noise levels > 0")
        if not (np.isfinite(gamma) & (gamma >= 0)).all() or (gamma.any() and not self.ridge):
            expected = "finite numbers >= 0" if self.ridge else "0, or a form compiled with ridge=True"
            raise ValueError(f"gamma is {gamma}; expected {expected}")
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.quotients(np.moveaxis(moments, -1, 0), sigma, gamma)
        return torch.from_numpy(found) if isinstance(clean, torch.Tensor) else found

    def quotients(self, moments: Sequence, sigma: Any, gamma: Any) -> np.ndarray:
        """Solution from m_0 to m_2D, in whatever arithmetic their dtype has."""
        *numerators, denominator = self.generated(moments[1:], sigma, gamma)
        return _stacked(numerators) / _stacked([denominator])


def compiled(degree: int, target: str = "denoise", ridge: bool = False) -> ClosedForm:
    """`solution` as a vectorised function of clean moments, sigma and gamma; generated once in a process.

    Raises
    ------
    ValueError
        For a degree or target that `solution` refuses.

    Examples
    --------
    A coefficient that is 0 or 2, each half the time, at two noise levels:

    >>> compiled(1)([1, 1, 2], sigma=[1.0, 2.0])
    array([[0.5, 0.5],
           [0.8, 0.2]])
    """
    return _compiled(_check_degree(degree), check_choice("target", target, TARGETS), bool(ridge))


@cache
def _compiled(degree: int, target: str, ridge: bool) -> ClosedForm:
    mu, clean, signed = _symbols("mu", 2 * degree), _symbols("m", 2 * degree), cofactors(degree, ridge)
    parts = [*(signed.T * right_side(degree, target)), hankel(degree, ridge).row(0).dot(signed.row(0))]
    as_products = create_expand_pow_optimization(2 * degree)  # x*x*x, because numpy's x**3 is slow

    def share(expressions: list[sympy.Expr]) -> tuple[list[tuple], list[sympy.Expr]]:
        powers, noisy = sympy.cse(noisy_moments(2 * degree)[1:], symbols=sympy.numbered_symbols("s"))
        common, reduced = sympy.cse(expressions)
        steps = [*powers, *zip(mu[1:], noisy, strict=True), *common]
        return [(name, as_products(step)) for name, step in steps], [as_products(part) for part in reduced]

    return ClosedForm(degree, target, ridge, sympy.lambdify([clean[1:], SIGMA, GAMMA], parts, "numpy", cse=share))


def clean_moments(model: WaveletScore) -> torch.Tensor:
    """Moments m_0 to m_2D of every clean coefficient, float64 [d, 2D + 1], from a fitted independent model.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        If this is no `WaveletScore`, not independent in monomials of degree 1 to 3, fitted on sampled noise or not
        at all.
    """
    if not isinstance(model, WaveletScore):
        raise TypeError(f"model is of type {type(model).__name__}; expected a WaveletScore")
    own = independent(model.groups[0].family.degree)
    if model.coupling.name != own.name or model.polynomials != "monomial":
        given = f"{model.coupling!r} with polynomials={model.polynomials!r}"
        raise ValueError(f"model has {given}; expected {own!r} with 'monomial', which give a Hankel system")
    _check_degree(model.groups[0].family.degree)
    if model.moments is not None and model.moments.noise is not None:
        raise ValueError(f"model is fitted on {model.moments.noise}; expected a fit with the noise integrated out")
    gram = model.gram(NO_NOISE)[0]
    return torch.cat([gram[:, 0], gram[:, 1:, -1]], dim=1)


def coefficients(model: WaveletScore, sigmas: float | Sequence[float]) -> torch.Tensor:
    """What `model.coefficients(sigma)` solves for, by cofactors and at all noise levels at once, float64 [S, d, D + 1].

    Raises
    ------
    TypeError, ValueError, RuntimeError
        For a model that `clean_moments` refuses, a sigma that is not > 0, or a determinant that vanishes in float64.

    Examples
    --------
    >>> import wavescore_lite as ws
    >>> model = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(2)).fit(ws.load_images("strokes", 8, limit=100))
    >>> a = coefficients(model, [1.0, 2.0])
    >>> a.shape, torch.allclose(a[1], model.coefficients(2.0)[0], rtol=1e-9)
    (torch.Size([2, 64, 3]), True)
    """
    clean = clean_moments(model).numpy()
    levels = [check_sigma(sigma) for sigma in np.atleast_1d(sigmas).tolist()]
    sigma, gamma = np.array(levels)[:, None], np.array([model.chosen_ridge(s) for s in levels])[:, None]
    orders = np.arange(clean.shape[1] // 2 + 1)
    scaled_clean, scaled_sigma, spread = in_noisy_units(clean, sigma)
    scaled = compiled(orders[-1], model.target, ridge=gamma.any())(scaled_clean, scaled_sigma, gamma)
    if not np.isfinite(scaled).all():
        raise ValueError(f"the determinant of {model.coupling!r} vanishes in float64; expected a larger ridge or sigma")
    unit = 1 if model.target == "denoise" else -1
    return torch.from_numpy(scaled * spread[..., None] ** (unit - orders))


def in_noisy_units(clean: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments [..., 2D + 1] and sigma, in units of the noisy standard deviation; and that deviation.

    In these units a `WaveletScore` adds its ridge.
    """
    spread = np.sqrt(np.maximum(clean[..., 2] - clean[..., 1] ** 2, 0) + sigma**2)
    return clean / spread[..., None] ** np.arange(clean.shape[-1]), sigma / spread, spread


class Digits(NamedTuple):
    """Correct decimal digits of two solutions, float arrays of one shape, from 0 to 15.65, all that float64 has."""

    cofactors: np.ndarray
    solver: np.ndarray


def correct_digits(clean: np.ndarray, sigma: np.ndarray, target: str = "denoise", gamma: float = 0.0) -> Digits:
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
    clean, sigma, gamma = _check_moments(clean), np.asarray(sigma, dtype=float), check_ridge(gamma)
    form = compiled(clean.shape[-1] // 2, target, ridge=gamma > 0)
    weights = _decimal(in_noisy_units(clean, sigma)[2][..., None]) ** np.arange(form.degree + 1)
    solutions = form(clean, sigma, gamma), _solved(clean, sigma, target, gamma)
    with localcontext(prec=EXACT_DIGITS):
        exact = form.quotients(_decimal(np.moveaxis(clean, -1, 0)), _decimal(sigma), Decimal(gamma))
        return Digits(*(_agreement(found, exact, weights) for found in solutions))


def _solved(clean: np.ndarray, sigma: np.ndarray, target: str, gamma: float) -> np.ndarray:
    """Solution [..., D + 1] by elimination with pivots; not finite where a pivot vanishes."""
    moments, degree = np.moveaxis(clean, -1, 0), clean.shape[-1] // 2
    mu = _smoothed(moments, sigma)
    gram = _stacked(_stacked(row) for row in _hankel(mu, gamma))
    right = _stacked([*_right_side(mu, moments, sigma, target, degree), mu[-1]])[..., :-1, None]
    return torch.linalg.solve_ex(torch.from_numpy(gram), torch.from_numpy(right)).result[..., 0].numpy()


def _agreement(found: np.ndarray, exact: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Digits to which weighted vectors agree; 0 where the one found is not finite."""
    found = _decimal(np.where(np.isfinite(found).all(axis=-1, keepdims=True), found, 0))
    error, size = (((found - exact) * weights) ** 2).sum(axis=-1), ((exact * weights) ** 2).sum(axis=-1)
    larger = np.maximum(error, size)
    ratio = np.sqrt(np.asarray(error / np.where(larger == 0, 1, larger), dtype=float))
    return -np.log10(np.clip(ratio, EPS, 1))


def _check_degree(degree: int) -> int:
    if not isinstance(degree, Integral) or not 1 <= degree <= HIGHEST_DEGREE:
        raise ValueError(
            f"degree is {degree!r}; expected an integer from 1 to {HIGHEST_DEGREE} for a closed form: beyond, its "
            "expressions explode, and WaveletScore solves the system"
        )
    return int(degree)


def _check_moments(clean: Any, degrees: Sequence[int] = range(1, HIGHEST_DEGREE + 1)) -> np.ndarray:
    moments = np.asarray(clean, dtype=float)
    if moments.ndim == 0 or moments.shape[-1] not in [2 * degree + 1 for degree in degrees]:
        expected = " or ".join(f"[..., {2 * degree + 1}]" for degree in degrees)
        raise ValueError(f"clean moments have shape {list(moments.shape)}; expected {expected}: m_0 to m_2D")
    if not np.isfinite(moments).all() or not np.allclose(moments[..., 0], 1, rtol=0, atol=1e-12):
        raise ValueError("clean moments are not finite or begin with another m_0 than 1; expected means, not sums")
    return moments


def _symbols(letter: str, order: int) -> list[sympy.Expr]:
    return [sympy.Integer(1), *sympy.symbols(f"{letter}_1:{order + 1}")]


def _smoothed(clean: Sequence, sigma: Any) -> list:
    """E[(y_0 + sigma z)^r f(y_0)] from clean[k] = E[y_0^k f(y_0)], r = 0, 1, ...: of symbols, floats or decimals."""

    def moment(r: int) -> Any:  # E[z^(r - k)] is (r - k - 1)!! for even r - k
        return sum(comb(r, k) * prod(range(1, r - k, 2)) * sigma ** (r - k) * clean[k] for k in range(r % 2, r + 1, 2))

    return [moment(r) for r in range(len(clean))]


def _hankel(mu: Sequence, gamma: Any) -> list[list]:
    size = len(mu) // 2 + 1
    return [[mu[r + m] + (gamma if r == m else 0) for m in range(size)] for r in range(size)]


def _right_side(mu: Sequence, clean: Sequence, sigma: Any, target: str, degree: int) -> list:
    if target == "denoise":
        return _smoothed(clean[1 : degree + 2], sigma)
    return [0 * mu[0], *(-r * mu[r - 1] for r in range(1, degree + 1))]


def _stacked(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Arrays that broadcast, along a new last axis."""
    return np.stack(np.broadcast_arrays(*parts), axis=-1)
