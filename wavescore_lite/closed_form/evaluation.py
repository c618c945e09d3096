"""The closed form as functions: of clean moments in numbers, and of fitted models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import sympy
import torch
from numpy.typing import ArrayLike
from sympy.codegen.rewriting import create_expand_pow_optimization

from ..couplings import independent
from ..fitting import TARGETS
from ..moments import Moments
from ..scores import WaveletScore
from ..support.checks import check_choice, check_sigma
from .derivation import GAMMA, SIGMA, cofactors, hankel, moment_symbols, noisy_moments, right_side
from .system import HIGHEST_DEGREE, Terms, check_degree, stacked


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
    generated: Callable[..., Sequence[Any]] = field(repr=False)

    @property
    def source(self) -> str:
        """Generated code that gives noisy moments, common subexpressions, numerators and determinant."""
        return inspect.getsource(self.generated)

    def __call__(self, clean: ArrayLike, sigma: ArrayLike, gamma: ArrayLike = 0.0) -> Any:
        moments = check_moments(clean, [self.degree])
        sigma, gamma = np.asarray(sigma, dtype=float), np.asarray(gamma, dtype=float)
        if not (np.isfinite(sigma) & (sigma > 0)).all():
            raise ValueError(f"sigma is {sigma}; expected finite noise levels > 0")
        if not (np.isfinite(gamma) & (gamma >= 0)).all() or (gamma.any() and not self.ridge):
            expected = "finite numbers >= 0" if self.ridge else "0, or a form compiled with ridge=True"
            raise ValueError(f"gamma is {gamma}; expected {expected}")
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.quotients(np.moveaxis(moments, -1, 0), sigma, gamma)
        return torch.from_numpy(found) if isinstance(clean, torch.Tensor) else found

    def quotients(self, moments: Terms, sigma: Any, gamma: Any) -> np.ndarray:
        """Solution from m_0 to m_2D, in whatever arithmetic their dtype has."""
        *numerators, denominator = self.generated(moments[1:], sigma, gamma)
        return stacked(numerators) / stacked([denominator])


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
    return _compiled(check_degree(degree), check_choice("target", target, TARGETS), bool(ridge))


@cache
def _compiled(degree: int, target: str, ridge: bool) -> ClosedForm:
    mu, clean, signed = moment_symbols("mu", 2 * degree), moment_symbols("m", 2 * degree), cofactors(degree, ridge)
    parts = [*(signed.T * right_side(degree, target)), hankel(degree, ridge).row(0).dot(signed.row(0))]
    as_products = create_expand_pow_optimization(2 * degree)  # x*x*x, because numpy's x**3 is slow

    def share(expressions: list[sympy.Expr]) -> tuple[list[tuple[sympy.Symbol, sympy.Expr]], list[sympy.Expr]]:
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
    check_degree(model.groups[0].family.degree)
    moments = model._everything()
    if moments.noise is not None or not isinstance(moments, Moments):
        raise ValueError(f"model is fitted on {moments.noise}; expected a fit with the noise integrated out")
    (gram,) = moments.closed_grams()
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
    degree = clean.shape[1] // 2
    scaled_clean, scaled_sigma, spread = in_noisy_units(clean, sigma)
    scaled = compiled(degree, model.target, ridge=bool(gamma.any()))(scaled_clean, scaled_sigma, gamma)
    if not np.isfinite(scaled).all():
        raise ValueError(f"the determinant of {model.coupling!r} vanishes in float64; expected a larger ridge or sigma")
    unit = 1 if model.target == "denoise" else -1
    return torch.from_numpy(scaled * spread[..., None] ** (unit - np.arange(degree + 1)))


def in_noisy_units(clean: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments [..., 2D + 1] and sigma, in units of the noisy standard deviation; and that deviation.

    In these units a `WaveletScore` adds its ridge.
    """
    spread = np.sqrt(np.maximum(clean[..., 2] - clean[..., 1] ** 2, 0) + sigma**2)
    return clean / spread[..., None] ** np.arange(clean.shape[-1]), sigma / spread, spread


def check_moments(clean: ArrayLike, degrees: Sequence[int] = range(1, HIGHEST_DEGREE + 1)) -> np.ndarray:
    """Return clean moments as a float64 array [..., 2D + 1], m_0 = 1, for one of the degrees."""
    moments = np.asarray(clean, dtype=float)
    if moments.ndim == 0 or moments.shape[-1] not in [2 * degree + 1 for degree in degrees]:
        expected = " or ".join(f"[..., {2 * degree + 1}]" for degree in degrees)
        raise ValueError(f"clean moments have shape {list(moments.shape)}; expected {expected}: m_0 to m_2D")
    if not np.isfinite(moments).all() or not np.allclose(moments[..., 0], 1, rtol=0, atol=1e-12):
        raise ValueError("clean moments are not finite or begin with another m_0 than 1; expected means, not sums")
    return moments
