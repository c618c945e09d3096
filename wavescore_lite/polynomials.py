"""Polynomials as tables of exponents, and what Gaussian noise does to their products.

A feature is a monomial prod_q y_q^e_q; a family of F features in Q coordinates is an integer table E [F, Q]. Its
*downward closure* holds every monomial that divides one of them, so derivatives stay inside it and become small
constant matrices. With S = exp(sigma^2 Laplacian / 2), which integrates a polynomial over Gaussian noise,

    E_z[p q](y_0 + sigma z) = sum_alpha sigma^(2|alpha|) / alpha!  (D^alpha S p)(y_0)  (D^alpha S q)(y_0),

and every expectation that a fit needs is a polynomial in sigma^2 whose coefficients are linear in clean sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import factorial

import numpy as np
import scipy.sparse
import torch

from .support.checks import check_integer

HIGHEST_DEGREE = 6


def check_degree(degree: int) -> int:
    """Return the total degree D of a family; refuse what is no integer from 1 to 6.

    Examples
    --------
    >>> check_degree(7)
    Traceback (most recent call last):
    ...
    ValueError: degree is 7; expected an integer from 1 to 6
    """
    return check_integer("degree", degree, 1, HIGHEST_DEGREE)


def downward_closure(exponents: np.ndarray) -> np.ndarray:
    """All monomials that divide one of the given ones, by total degree; the constant comes first.

    Parameters
    ----------
    exponents : int array [F, Q]

    Returns
    -------
    int array [C, Q]

    Examples
    --------
    >>> downward_closure(np.array([[1, 1]]))
    array([[0, 0],
           [0, 1],
           [1, 0],
           [1, 1]])
    """
    divisors = {e for row in exponents for e in product(*(range(top + 1) for top in row))}
    return np.array(sorted(divisors, key=lambda e: (sum(e), e)))


@dataclass(frozen=True, eq=False)
class PolynomialFamily:
    """A table of exponents with its downward closure and the operators that noise needs.

    Parameters
    ----------
    exponents : int array [F, Q]
        One row a feature; the first coordinate is the target's own. Rows are distinct and every coordinate is used.

    Examples
    --------
    >>> family = PolynomialFamily(np.array([[0], [1], [2]]))
    >>> family.evaluate(torch.tensor([[3.0, 5.0]], dtype=torch.float64))
    tensor([[ 1.,  1.],
            [ 3.,  5.],
            [ 9., 25.]], dtype=torch.float64)
    """

    exponents: np.ndarray

    def __post_init__(self) -> None:
        table = self.exponents
        if table.ndim != 2 or not np.issubdtype(table.dtype, np.integer) or (table < 0).any():
            raise ValueError(f"exponents have shape {table.shape}, dtype {table.dtype}; expected integers >= 0 [F, Q]")
        if len(np.unique(table, axis=0)) < len(table):
            raise ValueError("exponents hold a feature twice; expected distinct rows")
        if (table.max(axis=0) == 0).any():
            unused = np.flatnonzero(table.max(axis=0) == 0).tolist()
            raise ValueError(f"no feature uses coordinate {unused}; expected every neighbour in one feature")

    @cached_property
    def closed(self) -> np.ndarray:
        """The downward closure, int array [C, Q], the constant first."""
        return downward_closure(self.exponents)

    @cached_property
    def position(self) -> dict[tuple[int, ...], int]:
        """Row of each closed monomial."""
        return {tuple(row): k for k, row in enumerate(self.closed.tolist())}

    @cached_property
    def selected(self) -> np.ndarray:
        """Rows of the closure that are features, int array [F]."""
        return np.array([self.position[tuple(row)] for row in self.exponents.tolist()])

    @cached_property
    def linear(self) -> np.ndarray:
        """Rows of the closure that are the coordinates themselves, y_0 to y_(Q-1), int array [Q]."""
        return np.array([self.position[tuple(row)] for row in np.eye(self.closed.shape[1], dtype=int).tolist()])

    @property
    def degree(self) -> int:
        """Highest total degree D of a feature."""
        return int(self.exponents.sum(axis=1).max())

    def evaluate(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Values of the closed monomials.

        Parameters
        ----------
        coordinates : tensor [..., Q, n]

        Returns
        -------
        tensor [..., C, n]
            Each monomial is one product: of a monomial that is there already and a coordinate.
        """
        out = coordinates.new_empty(*coordinates.shape[:-2], len(self.closed), coordinates.shape[-1])
        values, given = out.unbind(-2), coordinates.unbind(-2)
        values[0].fill_(1)
        for value, (lower, q) in zip(values[1:], self._products, strict=True):
            torch.mul(values[lower], given[q], out=value)
        return out

    def monomials(self, coordinates: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The same as `evaluate` for Q coordinates of any one shape, out of place: a list of C tensors."""
        out = [torch.ones_like(coordinates[0])]
        for lower, q in self._products:
            out.append(out[lower] * coordinates[q])
        return out

    @cached_property
    def _products(self) -> list[tuple[int, int]]:
        """Each closed monomial but the constant as the product of an earlier one and a coordinate."""
        factors = []
        for row in self.closed[1:].tolist():
            q = next(i for i, e in enumerate(row) if e)
            row[q] -= 1
            factors.append((self.position[tuple(row)], q))
        return factors

    def derivative(self, alpha: tuple[int, ...]) -> np.ndarray:
        """Matrix [C, C] of D^alpha on the closure: row f holds the coefficients of D^alpha of monomial f.

        Examples
        --------
        >>> PolynomialFamily(np.array([[2]])).derivative((1,))  # of 1, y, y^2
        array([[0., 0., 0.],
               [1., 0., 0.],
               [0., 2., 0.]])
        """
        matrix = np.zeros((len(self.closed), len(self.closed)))
        for f, row in enumerate(self.closed):
            lower = row - alpha
            if (lower >= 0).all():
                falling = [factorial(e) // factorial(e_low) for e, e_low in zip(row, lower, strict=True)]
                matrix[f, self.position[tuple(lower.tolist())]] = np.prod(falling)
        return matrix

    @cached_property
    def closure(self) -> PolynomialFamily:
        """The family of all closed monomials."""
        return PolynomialFamily(self.closed)

    @cached_property
    def _heat_terms(self) -> tuple[np.ndarray, torch.Tensor]:
        """Orders k [T, Q] with y^(2k) in the closure, and D^(2k) / (2^|k| k!) [T, C, C]."""
        orders = self.closed[(self.closed % 2 == 0).all(axis=1)] // 2
        weights = [np.prod([2**k * factorial(k) for k in order]) for order in orders.tolist()]
        slopes = [self.derivative(tuple(2 * order)) / w for order, w in zip(orders, weights, strict=True)]
        return orders, torch.from_numpy(np.stack(slopes))

    def heat(self, variance: torch.Tensor) -> torch.Tensor:
        """The operator exp(sum_q variance_q (d/dy_q)^2 / 2) on the closure.

        A variance > 0 integrates a polynomial over Gaussian noise; -1 turns monomials into Hermite polynomials.

        Parameters
        ----------
        variance : tensor [..., Q], float64

        Returns
        -------
        tensor [..., C, C]
            Row f holds the coefficients of what monomial f becomes.

        Examples
        --------
        >>> cubic = PolynomialFamily(np.array([[3]]))
        >>> cubic.heat(-torch.ones(1, dtype=torch.float64))[3]  # He_3(y) = y^3 - 3 y
        tensor([ 0., -3.,  0.,  1.], dtype=torch.float64)
        """
        orders, slopes = self._heat_terms
        weights = (variance[..., None, :] ** torch.from_numpy(orders)).prod(dim=-1)
        return (weights @ slopes.flatten(1)).unflatten(-1, slopes.shape[1:])

    @cached_property
    def noise_maps(self) -> list[scipy.sparse.csr_matrix]:
        """Sparse maps [F*F, C*C], one for each power j of sigma^2: sum of D^alpha x D^alpha / alpha! over degree j.

        With M = S G_0 S^T the clean Gram of the closure after `heat`, vec(G(sigma)) = sum_j sigma^(2j) maps[j] vec(M).
        """
        maps = [scipy.sparse.csr_matrix((len(self.exponents) ** 2, len(self.closed) ** 2))] * (self.degree + 1)
        for alpha in self.closed.tolist():
            slope = scipy.sparse.csr_matrix(self.derivative(tuple(alpha))[self.selected])
            weight = 1 / np.prod([factorial(a) for a in alpha])
            maps[sum(alpha)] = maps[sum(alpha)] + weight * scipy.sparse.kron(slope, slope, format="csr")
        return maps

    @cached_property
    def slope(self) -> torch.Tensor:
        """The derivative by the target, d / d y_0, on the closure: tensor [C, C]."""
        return torch.from_numpy(self.derivative((1,) + (0,) * (self.closed.shape[1] - 1)))
