"""The normal equations at one noise level, as a value: what solving for an estimator asks, and its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from .polynomials import PolynomialFamily
from .support.checks import is_finite


@dataclass(frozen=True)
class Equations:
    """Normal equations at one noise level; expectations, float64.

    For a group of targets each field has a leading axis [K], one system for each set of parameters; the joint fit has
    one system for all targets. Features are monomials y^e, or Hermite polynomials s^e He_e(y / s) with s the spread.

    Attributes
    ----------
    gram : tensor [..., F, F]
        Sigma = E[phi phi^T] of the noisy features (eq. 8).
    denoise : tensor [..., F]; joint [F, d]
        E[phi y_0], the right-hand side of the denoising target.
    score : tensor [..., F]; joint [F, d]
        -E[d phi / d y], the right-hand side of the score target by Stein's identity (eq. 15).
    spread : tensor [..., Q]; joint [d]
        Standard deviation s of each noisy coordinate.
    sigma : float
        The noise level.
    variance : float
        sigma^2 where the noise was integrated out, 0 where features are of noisy copies.
    samples : int
        How many images, or noisy copies, the expectations are means over.
    """

    gram: torch.Tensor
    denoise: torch.Tensor
    score: torch.Tensor
    spread: torch.Tensor
    sigma: float
    variance: float
    samples: int

    def right(self, target: str) -> torch.Tensor:
        """Right-hand side of a target, "denoise" or "score"."""
        return self.denoise if target == "denoise" else self.score

    def check_solvable(self) -> None:
        """Refuse sums that overflowed, and fewer noisy copies than features: integrated noise makes any number enough.

        The ValueError says which.
        """
        if not is_finite(self.gram):
            raise ValueError("sums of products of features overflow float64; expected images of smaller values")
        features = self.gram.shape[-1]
        if not self.variance and self.samples < features:
            raise ValueError(
                f"too few images: {self.samples} noisy copies for {features} features; expected at least that"
            )


class Solution(NamedTuple):
    """Parameters in coordinates of unit noisy variance, with the scale of the coordinates."""

    scaled: torch.Tensor
    spread: torch.Tensor


def normal_equations(
    family: PolynomialFamily,
    gram: torch.Tensor,
    denoise: torch.Tensor,
    variance: float,
    polynomials: str = "monomial",
    sigma: float | None = None,
    samples: int = 0,
) -> Equations:
    """Integrate noise of a variance out of expectations over the closed monomials.

    Parameters
    ----------
    family : PolynomialFamily
    gram : tensor [K, C, C]
        E[phibar phibar^T] of closed monomials, the constant first.
    denoise : tensor [K, C]
        E[phibar y_0].
    variance : float
        sigma^2 of the noise that the monomials do not hold yet; 0 for monomials of noisy copies.
    polynomials : str
        "monomial" or "hermite". s^e He_e(y / s) is the monomial y^e after `heat` with variance -s^2, which leaves
        minus the clean variance once the noise is integrated out.
    sigma : float, optional
        The noise level; by default that of the variance.
    samples : int
        How many images, or noisy copies, the expectations are means over.
    """
    mean = gram[:, 0, family.linear]
    total = (gram[:, family.linear, family.linear] - mean**2).clamp_min(0) + variance
    heat = family.heat(variance - total if polynomials == "hermite" else torch.full_like(total[0], variance))
    integrated = heat @ gram @ heat.mT
    rows = torch.from_numpy(family.selected)
    flat = integrated.flatten(1).T.numpy()
    noisy = sum(variance**j * noise_map for j, noise_map in enumerate(family.noise_maps)) @ flat
    return Equations(
        gram=torch.from_numpy(noisy.T.copy()).unflatten(1, (len(rows), len(rows))),
        denoise=(heat @ denoise[..., None])[:, rows, 0],
        score=-(family.slope @ heat @ gram[:, :, :1])[:, rows, 0],
        spread=total.sqrt(),
        sigma=variance**0.5 if sigma is None else sigma,
        variance=variance,
        samples=samples,
    )


def exponent_powers(spread: torch.Tensor, exponents: np.ndarray) -> torch.Tensor:
    """Scale of each feature, prod_q spread_q^e_q: [m, Q] -> [m, F]."""
    return (spread[:, None, :] ** torch.from_numpy(exponents)).prod(dim=-1)


def condition(gram: torch.Tensor) -> torch.Tensor:
    """Ratio of the extreme eigenvalues of symmetric matrices [..., F, F]; infinite if the smallest is not positive."""
    eigenvalues = torch.linalg.eigvalsh(gram)
    smallest, largest = eigenvalues[..., 0], eigenvalues[..., -1]
    return torch.where(smallest > 0, largest / smallest, torch.inf)
