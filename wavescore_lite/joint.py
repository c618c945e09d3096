"""All features of an image together, each product once, and what one regression on them (eq. 23 of the paper) needs.

P features make a P x P Gram. It is summed panel by panel, the noise is integrated out of it with sparse operators, and
the system is solved where it stands, so that about two P x P matrices are in memory and never all features of all
images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import combinations
from typing import Self

import numpy as np
import scipy.sparse
import torch
from scipy.linalg import blas, lapack

from .bases.protocol import Basis
from .equations import Equations
from .groups import Group
from .moments import BATCH
from .noise import SampledNoise
from .sums import Sums
from .support.checks import differentiated

PANEL = 512  # rows or columns of a P x P matrix worked on at a time
PAIRS = 2**18  # of divisions by the same monomial, at a time
REFINEMENTS = 3  # at most


class ImageFeatures:
    """The distinct monomials of all targets of a coupling, closed under division.

    Parameters
    ----------
    groups : list of Group
        What a coupling lays over a basis.
    dim : int
        Number of coefficients d.

    Attributes
    ----------
    factors : int array [P, D]
        Row f names the coefficients whose product feature f is, sorted; `dim` stands for a factor 1. The constant
        comes first, then the d coefficients in their order, then products by degree.

    Examples
    --------
    >>> from wavescore_lite import WaveletBasis, independent
    >>> features = ImageFeatures(independent(3).groups(WaveletBasis(8)), 64)
    >>> len(features), features.factors[-1]
    (193, array([63, 63, 63]))
    """

    def __init__(self, groups: list[Group], dim: int) -> None:
        degree = max(group.family.degree for group in groups)
        factors = np.unique(np.concatenate([_factors(group, dim, degree) for group in groups]), axis=0)
        order = np.lexsort((*factors.T[::-1], (factors < dim).sum(axis=1)))
        self.factors, self.dim = factors[order], dim

    def __len__(self) -> int:
        return len(self.factors)

    def positions(self, factors: np.ndarray) -> np.ndarray:
        """Rows of the features with the given factors [..., at most D], in any order."""
        missing = self.factors.shape[1] - factors.shape[1]
        rows = np.sort(np.pad(factors, ((0, 0), (0, missing)), constant_values=self.dim), axis=1)
        stacked = np.concatenate([self.factors, rows])
        _, first, inverse = np.unique(stacked, axis=0, return_index=True, return_inverse=True)
        return first[inverse.ravel()[len(self) :]]

    def evaluate(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Values [P, n] of all features at coordinates [d, n]."""
        extended = torch.cat([coordinates, torch.ones_like(coordinates[:1])])
        first, *others = torch.from_numpy(self.factors).to(coordinates.device).T
        if differentiated(coordinates):
            return extended[torch.from_numpy(self.factors).to(coordinates.device)].prod(dim=1)
        values = extended[first]
        for factor in others:
            start = int((factor == self.dim).sum())  # features of lower degree, which stand first
            values[start:] *= extended[factor[start:]]
        return values

    def unit(self, spread: np.ndarray) -> np.ndarray:
        """Scale of each feature, the product of its factors' spreads: [d] -> [P]."""
        return np.append(spread, 1.0)[self.factors].prod(axis=1)

    def heat(self, variance: np.ndarray) -> scipy.sparse.csr_array:
        """exp(sum_i variance_i (d/dy_i)^2 / 2) on the features, sparse [P, P]; see `PolynomialFamily.heat`."""
        size = len(self), len(self)
        operator = scipy.sparse.csr_array(size)
        feature, square, quotient = self._squares
        weights = variance[self.factors[square, 0]]  # of d^2 / 2: y^e has e (e - 1) / 2 divisions by y^2
        laplacian = scipy.sparse.csr_array((weights, (feature, quotient)), shape=size)
        term, order = scipy.sparse.eye_array(len(self), format="csr"), 0
        while term.nnz:
            operator, order = operator + term, order + 1
            term = term @ laplacian / order
        return operator

    @cached_property
    def divisions(self) -> np.ndarray:
        """Rows (feature, divisor, quotient) of every way to take factors out of a feature, int array [3, N].

        A divisor stands as often as it can be taken: binomial(e, alpha) times for y^alpha in y^e. They are in the order
        of their divisors.
        """
        degree, parts = self.factors.shape[1], []
        for taken in (t for size in range(1, degree + 1) for t in combinations(range(degree), size)):
            left = [k for k in range(degree) if k not in taken]
            rows = np.flatnonzero(self.factors[:, taken[-1]] < self.dim)
            whole = self.factors[rows]
            parts.append(np.stack([rows, self.positions(whole[:, taken]), self.positions(whole[:, left])]))
        divisions = np.concatenate(parts, axis=1)
        return divisions[:, np.argsort(divisions[1], kind="stable")]

    @cached_property
    def _squares(self) -> np.ndarray:
        """The divisions by a square."""
        divisor = self.factors[self.divisions[1]]
        size = (divisor < self.dim).sum(axis=1)
        same = (size == 2) & (divisor[:, 0] == divisor[:, min(1, divisor.shape[1] - 1)])
        return self.divisions[:, same]

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Columns of `divisions` that are by the same y^alpha, in pairs, int arrays [n] of some at a time.

        Noise adds to the products of their features. The last features come first, so that what a product is made of
        was not added to yet.
        """
        feature, divisor, _ = self.divisions
        first = np.searchsorted(divisor, divisor)
        count = np.searchsorted(divisor, divisor, "right") - first
        remaining = np.bincount(feature, count, len(self))[::-1].cumsum()[::-1]
        block = (remaining // PAIRS)[feature]
        order = np.argsort(block, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
            left, skipped = np.repeat(rows, count[rows]), np.cumsum(count[rows]) - count[rows]
            yield left, first[left] + np.arange(len(left)) - np.repeat(skipped, count[rows])


def _factors(group: Group, dim: int, degree: int) -> np.ndarray:
    """The closed features of every target as sorted factors [m * C, degree], padded with `dim`."""
    coordinates = group.neighbours.shape[1]
    slots = np.full((len(group.family.closed), degree), coordinates)
    for f, exponents in enumerate(group.family.closed):
        slots[f, : exponents.sum()] = np.repeat(np.arange(coordinates), exponents)
    extended = np.column_stack([group.neighbours, np.full(len(group.neighbours), dim)])
    return np.sort(extended[:, slots].reshape(-1, degree), axis=1)


def _factorial(factors: np.ndarray, dim: int) -> np.ndarray:
    """alpha! of monomials given as sorted factors [N, D] -> [N]."""
    run = total = np.ones(len(factors))
    for before, factor in zip(factors.T, factors.T[1:], strict=False):
        run = np.where((factor == before) & (factor < dim), run + 1, 1)
        total = total * run
    return total


class JointMoments(Sums[Equations]):
    """Sums of products of all features of an image: clean, or of noisy copies.

    Parameters
    ----------
    features : ImageFeatures
    basis, noise, device
        See `Sums`.
    """

    def __init__(
        self, features: ImageFeatures, basis: Basis | None, noise: SampledNoise | None = None, device: str = "cpu"
    ) -> None:
        super().__init__(features.dim, basis, noise, device)
        self.features = features
        shapes = {"gram": (len(features), len(features))}
        if noise is not None:
            shapes["denoise"] = len(features), features.dim
        for name, shape in shapes.items():
            self.totals[name] = torch.zeros(self.levels, *shape, dtype=torch.float64, device=device)

    def empty(self) -> Self:
        """New moments of the same features and noise over no image."""
        return type(self)(self.features, self.basis, self.noise, self.device)

    def _sum(self, level: int, clean: torch.Tensor, noisy: torch.Tensor) -> None:
        gram = self.totals["gram"][level]
        for clean_block, block in zip(clean.split(BATCH), noisy.split(BATCH), strict=True):
            values = self.features.evaluate(block.T.contiguous())
            add_products(gram, values)
            if self.noise is not None:
                self.totals["denoise"][level].addmm_(values, clean_block)

    def _own_moments(self, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        linear, gram = slice(1, self.features.dim + 1), self.totals["gram"][level]
        return gram[linear, 0], gram.diagonal()[linear]

    def closed_equations(self, sigma: float) -> Equations:
        """The features are closed already: see `Sums.closed_equations`."""
        return self.equations(sigma)

    def equations(self, sigma: float, polynomials: str = "monomial") -> Equations:
        """Normal equations of the joint fit: see `Sums.equations`."""
        level, variance, samples = self.level_of(sigma)
        linear = slice(1, self.features.dim + 1)
        gram = self.totals["gram"][level].to("cpu", copy=True).numpy()
        mirror(gram)
        mean, square = gram[:, 0].copy(), gram.diagonal()[linear]
        total = square / samples - (mean[linear] / samples) ** 2
        total = total.clip(0) + variance
        heat = self.features.heat(variance - total if polynomials == "hermite" else np.full_like(total, variance))
        products = gram[:, linear] if self.noise is None else self.totals["denoise"][level].cpu().numpy()
        denoise, score = heat @ products / samples, self._slopes(heat @ mean / samples)
        sandwich_in_place(heat, gram)
        gram /= samples
        if variance:
            self._add_noise(gram, variance)
        arrays = {"gram": gram, "denoise": denoise, "score": score, "spread": np.sqrt(total)}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Equations(**tensors, sigma=float(sigma), variance=variance, samples=samples)

    def _add_noise(self, gram: np.ndarray, variance: float) -> None:
        """Add sum_(alpha > 0) sigma^(2 deg alpha) / alpha! D^alpha M D^alpha^T to M in place."""
        feature, divisor, quotient = self.features.divisions
        factors, size, flat = self.features.factors[divisor], len(gram), gram.reshape(-1)
        weight = _factorial(factors, self.features.dim) * variance ** (factors < self.features.dim).sum(axis=1)
        for left, right in self.features.pairs():
            values = weight[left] * flat[quotient[left] * size + quotient[right]]
            np.add.at(flat, feature[left] * size + feature[right], values)

    def _slopes(self, mean: np.ndarray) -> np.ndarray:
        """-E[d phi / d y_i] [P, d] from the expectations of the features [P]."""
        feature, divisor, quotient = self.features.divisions[:, self.features.divisions[1] <= self.features.dim]
        slopes = np.zeros((len(mean), self.features.dim))
        np.add.at(slopes, (feature, divisor - 1), -mean[quotient])
        return slopes


def add_products(gram: torch.Tensor, values: torch.Tensor) -> None:
    """Add values @ values.T to the lower triangle of gram; above the diagonal it may hold anything."""
    for start in range(0, len(values), PANEL):  # dsyrk of scipy's OpenBLAS crashes on two threads at P = 15,361
        gram[start:, start : start + PANEL].addmm_(values[start:], values[start : start + PANEL].T)


def mirror(gram: np.ndarray) -> None:
    """Copy what lies below the diagonal above it."""
    for start in range(0, len(gram), PANEL):
        stop = start + PANEL
        gram[start:stop, stop:] = gram[stop:, start:stop].T
        corner = gram[start:stop, start:stop]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T


def sandwich_in_place(heat: scipy.sparse.csr_array, gram: np.ndarray) -> None:
    """heat @ gram @ heat.T in the memory of gram, a panel of rows at a time.

    A feature's heat holds itself and what divides it, which stand before it: from the last panel on, no row is read
    that was written.
    """
    for start in reversed(range(0, len(gram), PANEL)):
        rows = slice(start, start + PANEL)
        gram[rows] = (heat @ np.ascontiguousarray((heat[rows] @ gram).T)).T


def solve_in_place(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve gram @ x = right by Cholesky with iterative refinement, in the memory of gram.

    Parameters
    ----------
    gram : array [P, P], float64, C-contiguous, symmetric positive definite
        Overwritten: one triangle is factored, the other keeps the matrix, from which residuals are taken.
    right : array [P, d]

    Returns
    -------
    array [P, d]

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is not positive definite.
    """
    diagonal = gram.diagonal().copy()
    factor, failed = lapack.dpotrf(gram.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError(f"leading minor {failed} is not positive")
    right = np.asfortranarray(right)
    x = lapack.dpotrs(factor, right, lower=1)[0]
    changed = (diagonal - factor.diagonal())[:, None]
    before = np.inf
    for _ in range(REFINEMENTS):
        residual = right - blas.dsymm(1.0, factor, x, lower=0) - changed * x
        size = np.abs(residual).max()
        if size <= 1e-13 * np.abs(right).max() or size > before / 2:
            break
        x += lapack.dpotrs(factor, residual, lower=1, overwrite_b=1)[0]
        before = size
    return x
