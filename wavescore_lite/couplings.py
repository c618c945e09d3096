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
