"""Which coefficients each coefficient listens to, and through which monomials.

A coupling is data: for a basis it gives *groups*, each a table of neighbours (one row a target, the target itself
first) and one table of exponents that all its targets share. Nothing else in the package knows the families.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .polynomials import PolynomialFamily, check_degree
from .wavelets import WaveletBasis

LARGEST_RADIUS = 3


@dataclass(frozen=True, eq=False)
class Group:
    """Targets that share one table of exponents.

    Parameters
    ----------
    neighbours : int array [m, Q]
        Coefficient indices; column 0 is the target itself.
    family : PolynomialFamily
        The features, in the Q coordinates that a row of `neighbours` names.
    """

    neighbours: np.ndarray
    family: PolynomialFamily

    @property
    def targets(self) -> np.ndarray:
        """Indices of the coefficients that the group predicts, int array [m]."""
        return self.neighbours[:, 0]


@dataclass(frozen=True)
class Coupling:
    """A family of features: a name and a rule that lays groups over a basis.

    Parameters
    ----------
    name : str
        How it is written, for tables and error messages; two couplings of one name are taken to be the same.
    build : callable
        From a `WaveletBasis` to a list of `Group`; each coefficient must be the target of exactly one group.

    Examples
    --------
    A coupling of one's own, each coefficient with its own square only:

    >>> def build(basis):
    ...     own = np.arange(basis.dim)[:, None]
    ...     return [Group(own, PolynomialFamily(np.array([[0], [1], [2]])))]
    >>> Coupling("quadratic", build).groups(WaveletBasis(8))[0].neighbours.shape
    (64, 1)
    """

    name: str
    build: Callable[[WaveletBasis], list[Group]]

    def __repr__(self) -> str:
        return self.name

    def groups(self, basis: WaveletBasis) -> list[Group]:
        """Lay the coupling over a basis.

        Raises
        ------
        ValueError
            If a coefficient is the target of no group or of several, or a neighbour is no coefficient of the basis.
        """
        groups = self.build(basis)
        targets = np.concatenate([group.targets for group in groups])
        if not np.array_equal(np.sort(targets), np.arange(basis.dim)):
            raise ValueError(
                f"coupling {self.name} does not cover {basis!r}: expected each of {basis.dim} once as a target"
            )
        for group in groups:
            if group.neighbours.min() < 0 or group.neighbours.max() >= basis.dim:
                raise ValueError(f"coupling {self.name} names a neighbour outside 0 to {basis.dim - 1}")
            if group.neighbours.shape[1] != group.family.exponents.shape[1]:
                raise ValueError(
                    f"coupling {self.name} has {group.neighbours.shape[1]} neighbours a target, "
                    f"but exponents for {group.family.exponents.shape[1]}"
                )
        return groups


def independent(degree: int = 3) -> Coupling:
    """Each coefficient from its own powers 0 to `degree` (eq. 18-19 of the paper).

    Parameters
    ----------
    degree : int, 1 to 6

    Returns
    -------
    Coupling
        degree + 1 features for every coefficient.

    Raises
    ------
    ValueError
        For another degree.

    Examples
    --------
    >>> independent(2).groups(WaveletBasis(8))[0].family.exponents.ravel()
    array([0, 1, 2])
    """
    degree = check_degree(degree)
    powers = np.arange(degree + 1)[:, None]
    return Coupling(
        f"independent(degree={degree})",
        lambda basis: [Group(np.arange(basis.dim)[:, None], PolynomialFamily(powers))],
    )


def band_tied(degree: int = 3) -> Coupling:
    """Each detail with the two other orientations at its scale and place (eq. 22 of the paper).

    Every feature but the constant contains the target itself; scaling atoms are independent.

    Parameters
    ----------
    degree : int, 1 to 6
        Highest total degree D.

    Returns
    -------
    Coupling
        1 + (D + 2 choose 3) features for a detail, D + 1 for a scaling atom.

    Raises
    ------
    ValueError
        For another degree.

    Examples
    --------
    >>> scaling, details = band_tied(2).groups(WaveletBasis(8))
    >>> details.family.exponents.tolist()
    [[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0], [2, 0, 0]]
    """
    degree = check_degree(degree)
    grid = np.indices((degree + 1,) * 3).reshape(3, -1).T
    containing = grid[(grid[:, 0] > 0) & (grid.sum(axis=1) <= degree)]
    exponents = np.concatenate([np.zeros((1, 3), int), containing])

    def build(basis: WaveletBasis) -> list[Group]:
        scaling = np.arange(basis.subbands[0].side ** 2)[:, None]
        triples = [_triple(basis, k) for k in range(1, len(basis.subbands))]
        powers = PolynomialFamily(np.arange(degree + 1)[:, None])
        return [Group(scaling, powers), _listening(np.concatenate(triples), exponents)]

    return Coupling(f"band_tied(degree={degree})", build)


def _listening(neighbours: np.ndarray, exponents: np.ndarray) -> Group:
    """A group that listens only to the neighbours that a feature uses: at degree 1 a product has room for none."""
    used = exponents.any(axis=0)
    return Group(neighbours[:, used], PolynomialFamily(exponents[:, used]))


def _triple(basis: WaveletBasis, index: int) -> np.ndarray:
    """Neighbours [places, 3] in subband `index`: its own coefficients, then the other orientations at their place."""
    own = basis.subbands[index]
    others = [b for b in basis.subbands[1:] if b.scale == own.scale and b.orientation != own.orientation]
    return np.stack([np.arange(basis.dim)[band.slice] for band in (own, *others)], axis=1)


def local_coupled(degree: int = 3, radius: int = 1, pure_neighbours: bool = False) -> Coupling:
    """Each coefficient with its neighbours in the same subband, in pairs (section 2.2.3 of the paper).

    Parameters
    ----------
    degree : int, 1 to 6
        Highest total degree D.
    radius : int, 0 to 3
        Neighbours k + delta with 0 < max(abs(delta)) <= radius, wrapped around. Where a subband is so small that two of
        them coincide, each counts once.
    pure_neighbours : bool
        Whether to add what the paper's family leaves out: powers of a neighbour alone, above all the linear ones.

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
    >>> small, large = local_coupled(degree=3, radius=1).groups(WaveletBasis(8, level=2))
    >>> [group.neighbours.shape for group in (small, large)]  # 2 x 2 places, and 4 x 4
    [(16, 4), (48, 9)]
    >>> len(large.family.exponents)
    28
    """
    degree = check_degree(degree)
    if not isinstance(radius, int) or not 0 <= radius <= LARGEST_RADIUS:
        raise ValueError(f"radius is {radius!r}; expected an integer from 0 to {LARGEST_RADIUS}")

    def build(basis: WaveletBasis) -> list[Group]:
        tables: dict[int, list[np.ndarray]] = {}
        for band in basis.subbands:
            table = band.start + _neighbourhood(band.side, radius)
            tables.setdefault(table.shape[1], []).append(table)
        return [
            _listening(np.concatenate(same), _pairwise(degree, count, pure_neighbours))
            for count, same in sorted(tables.items())
        ]

    return Coupling(f"local_coupled(degree={degree}, radius={radius}, pure_neighbours={pure_neighbours})", build)


def _neighbourhood(side: int, radius: int) -> np.ndarray:
    """Places within `radius` of each place of a side x side torus, [places, Q]; the place itself first, each once."""
    reach = np.arange(-radius, radius + 1)
    offsets = np.unique(np.stack(np.meshgrid(reach, reach)).reshape(2, -1) % side, axis=1)  # (0, 0) comes first
    rows, columns = np.divmod(np.arange(side**2)[:, None], side)
    return (rows + offsets[0]) % side * side + (columns + offsets[1]) % side


def _pairwise(degree: int, coordinates: int, pure_neighbours: bool) -> np.ndarray:
    """Exponents [F, Q]: powers of the target, and its products with powers of one neighbour at a time."""
    rows = [[power] + [0] * (coordinates - 1) for power in range(degree + 1)]
    for q in range(1, coordinates):
        for own in range(0 if pure_neighbours else 1, degree):
            for other in range(1, degree - own + 1):
                rows.append([own if k == 0 else other * (k == q) for k in range(coordinates)])
    return np.array(rows)
