"""Which coefficients each coefficient listens to, and through which monomials.

A coupling is data: for a basis it gives *groups*, each a table of neighbours (one row a target, the target itself
first) and one table of exponents that all its targets share. Nothing else in the package knows the families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .bases.protocol import Basis
from .groups import Group
from .polynomials import PolynomialFamily, check_degree
from .support.checks import check_integer, check_kind

LARGEST_RADIUS = 3


@dataclass(frozen=True)
class Coupling:
    """A family of features: a name and a rule that lays groups over a basis.

    Those of `FAMILIES` are pickled as their name and options; one of your own is, if its rule can be. A model is in any
    case, with its tables.

    Parameters
    ----------
    name : str
        How it is written, for tables and error messages; two couplings of one name are taken to be the same.
    build : callable
        From a `Basis` to a list of `Group`; each coefficient must be the target of exactly one group.
    family : str
        Its name in `FAMILIES`, if it is one of them.
    options : mapping
        What makes it again: ``FAMILIES[family](**options)``.

    Examples
    --------
    A coupling of one's own, each coefficient with its own square only:

    >>> def build(basis):
    ...     own = np.arange(basis.dim)[:, None]
    ...     return [Group(own, PolynomialFamily(np.array([[0], [1], [2]])))]
    >>> from wavescore_lite import WaveletBasis
    >>> Coupling("quadratic", build).groups(WaveletBasis(8))[0].neighbours.shape
    (64, 1)
    """

    name: str
    build: Callable[[Basis], list[Group]] = field(compare=False)
    family: str = field(default="", compare=False)
    options: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        if self.family in FAMILIES and not isinstance(self.build, Tables):
            return partial(FAMILIES[self.family], **self.options), ()
        return Coupling, (self.name, self.build, self.family, self.options)

    def tabled(self, basis: Basis, groups: list[Group]) -> Coupling:
        """The same coupling with these groups, laid over this basis, in the place of its rule."""
        return Coupling(self.name, Tables(basis, groups), self.family, self.options)

    def groups(self, basis: Basis) -> list[Group]:
        """Lay the coupling over a basis.

        Raises
        ------
        ValueError
            If a coefficient is the target of no group or of several, or a neighbour is no coefficient of the basis.
        """
        groups = self.build(check_kind("basis", basis, Basis, "WaveletBasis(32)"))
        targets = np.concatenate([np.zeros(0, int), *(group.targets for group in groups)])
        if not np.array_equal(np.sort(targets), np.arange(basis.dim)):
            raise ValueError(
                f"coupling {self.name} does not cover {basis!r}: expected each of {basis.dim} once as a target"
            )
        for group in groups:
            if group.neighbours.max() >= basis.dim:
                raise ValueError(f"coupling {self.name} names a neighbour outside 0 to {basis.dim - 1}")
            if group.neighbours.shape[1] != group.family.exponents.shape[1]:
                raise ValueError(
                    f"coupling {self.name} has {group.neighbours.shape[1]} neighbours a target, "
                    f"but exponents for {group.family.exponents.shape[1]}"
                )
        return groups


@dataclass(frozen=True, eq=False)
class Tables:
    """The rule of a coupling that was laid over one basis, and is known there alone: that of a model from a file.

    Parameters
    ----------
    basis : Basis
    laid : list of Group

    Raises
    ------
    ValueError
        When called with another basis.
    """

    basis: Basis
    laid: list[Group]

    def __call__(self, basis: Basis) -> list[Group]:
        if basis != self.basis:
            raise ValueError(f"the tables of this coupling are of {self.basis!r}; expected that, not {basis!r}")
        return self.laid


def independent(degree: int = 3, parent: bool = False, shared: bool = False) -> Coupling:
    """Each coefficient from its own powers 0 to `degree` (eq. 18-19 of the paper).

    Parameters
    ----------
    degree : int, 1 to 6
    parent : bool
        Whether to add products with the parent, the coefficient one scale up: see `local_coupled`.
    shared : bool
        Whether all coefficients of a subband share their parameters: see `local_coupled`.

    Returns
    -------
    Coupling
        degree + 1 features for every coefficient, and D (D - 1) / 2 more for one with a parent.

    Raises
    ------
    ValueError
        For another degree.

    Examples
    --------
    >>> from wavescore_lite import WaveletBasis
    >>> independent(2).groups(WaveletBasis(8))[0].family.exponents.ravel()
    array([0, 1, 2])
    """
    degree = check_degree(degree)

    def build(basis: Basis) -> list[Group]:
        tables = [basis.neighbours(k, parent=parent) for k in range(len(basis.subbands))]
        return _grouped(tables, lambda width: _pairwise(degree, width, False), shared)

    return _coupling("independent", build, degree=degree, parent=bool(parent), shared=bool(shared))


def band_tied(degree: int = 3, parent: bool = False, shared: bool = False) -> Coupling:
    """Each detail with the two other orientations at its scale and place (eq. 22 of the paper).

    Every feature but the constant contains the target itself; scaling atoms are independent.

    Parameters
    ----------
    degree : int, 1 to 6
        Highest total degree D.
    parent : bool
        Whether a detail listens to its parent too, the coefficient one scale up: see `local_coupled`.
    shared : bool
        Whether all coefficients of a subband share their parameters: see `local_coupled`.

    Returns
    -------
    Coupling
        1 + (D + 2 choose 3) features for a detail, 1 + (D + 3 choose 4) with its parent, D + 1 for a scaling atom.

    Raises
    ------
    ValueError
        For another degree.

    Examples
    --------
    >>> from wavescore_lite import WaveletBasis
    >>> scaling, details = band_tied(2).groups(WaveletBasis(8))
    >>> details.family.exponents.tolist()
    [[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0], [2, 0, 0]]
    """
    degree = check_degree(degree)

    def build(basis: Basis) -> list[Group]:
        tables = [basis.neighbours(k, orientations=True, parent=parent) for k in range(len(basis.subbands))]
        return _grouped(tables, lambda width: _containing_target(degree, width), shared)

    return _coupling("band_tied", build, degree=degree, parent=bool(parent), shared=bool(shared))


def local_coupled(
    degree: int = 3, radius: int = 1, pure_neighbours: bool = False, parent: bool = False, shared: bool = False
) -> Coupling:
    """Each coefficient with its neighbours in the same subband, in pairs (section 2.2.3 of the paper).

    Parameters
    ----------
    degree : int, 1 to 6
        Highest total degree D.
    radius : int, 0 to 3
        Neighbours k + delta with 0 < max(abs(delta)) <= radius, wrapped around in a basis, and as far as they are
        there in a frame. Where a subband is so small that two of them coincide, each counts once.
    pure_neighbours : bool
        Whether to add what the paper's family leaves out: powers of a neighbour alone, above all the linear ones.
    parent : bool
        Whether a detail's parent counts as one neighbour more. It is the coefficient of the same orientation one scale
        up, at half the place; for the coarsest details the scaling coefficient at their place.
    shared : bool
        Whether all coefficients of a subband share their parameters, as in a convolution. Their sums are pooled.

    Returns
    -------
    Coupling
        1 + D + N D (D - 1) / 2 features with N distinct neighbours, and N D more with pure neighbours.

    Raises
    ------
    ValueError
        For another degree or radius.

    Examples
    --------
    >>> from wavescore_lite import WaveletBasis
    >>> small, large = local_coupled(degree=3, radius=1).groups(WaveletBasis(8, level=2))
    >>> [group.neighbours.shape for group in (small, large)]  # 2 x 2 places, and 4 x 4
    [(16, 4), (48, 9)]
    >>> len(large.family.exponents)
    28
    """
    degree, radius = check_degree(degree), check_integer("radius", radius, 0, LARGEST_RADIUS)

    def build(basis: Basis) -> list[Group]:
        tables = [basis.neighbours(k, radius, parent=parent) for k in range(len(basis.subbands))]
        return _grouped(tables, lambda width: _pairwise(degree, width, pure_neighbours), shared)

    options = {"pure_neighbours": bool(pure_neighbours), "parent": bool(parent), "shared": bool(shared)}
    return _coupling("local_coupled", build, degree=degree, radius=radius, **options)


FAMILIES: dict[str, Callable[..., Coupling]] = {
    family.__name__: family for family in (independent, band_tied, local_coupled)
}


def _coupling(family: str, build: Callable[[Basis], list[Group]], **options: int) -> Coupling:
    """A coupling of a family, written with its options; those that are off are left out."""
    given = ", ".join(f"{name}={value}" for name, value in options.items() if value is not False)
    return Coupling(f"{family}({given})", build, family, options)


def _grouped(tables: list[np.ndarray], exponents: Callable[[int], np.ndarray], shared: bool) -> list[Group]:
    """Groups of all coefficients that have equally many neighbours; `tables` holds [places, Q] for each subband."""
    parts = [part for table in tables for part in _complete(table)]
    groups = []
    for width in sorted({part.shape[1] for part in parts}):
        same = [part for part in parts if part.shape[1] == width]
        features = exponents(width)
        used = features.any(axis=0)  # at degree 1 a product has room for no neighbour
        ties = np.repeat(np.arange(len(same)), [len(part) for part in same]) if shared else None
        groups.append(Group(np.concatenate(same)[:, used], PolynomialFamily(features[:, used]), ties))
    return groups


def _complete(table: np.ndarray) -> list[np.ndarray]:
    """A table of neighbours cut into tables without gaps: rows that lack the same columns stay together."""
    patterns, which = np.unique(table >= 0, axis=0, return_inverse=True)
    return [table[which.ravel() == k][:, there] for k, there in enumerate(patterns)]


def _pairwise(degree: int, coordinates: int, pure_neighbours: bool) -> np.ndarray:
    """Exponents [F, Q]: powers of the target, and its products with powers of one neighbour at a time."""
    rows = [[power] + [0] * (coordinates - 1) for power in range(degree + 1)]
    for q in range(1, coordinates):
        for own in range(0 if pure_neighbours else 1, degree):
            for other in range(1, degree - own + 1):
                rows.append([own if k == 0 else other * (k == q) for k in range(coordinates)])
    return np.array(rows)


def _containing_target(degree: int, coordinates: int) -> np.ndarray:
    """Exponents [F, Q]: the constant, and all monomials of total degree <= D that contain the target."""
    grid = np.indices((degree + 1,) * coordinates).reshape(coordinates, -1).T
    containing = grid[(grid[:, 0] > 0) & (grid.sum(axis=1) <= degree)]
    return np.concatenate([np.zeros((1, coordinates), int), containing])
