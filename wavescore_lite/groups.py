"""Targets that share one table of exponents: whom each listens to, and who shares its parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .polynomials import PolynomialFamily


@dataclass(frozen=True, eq=False)
class Group:
    """Targets that share one table of exponents.

    Parameters
    ----------
    neighbours : int array [m, Q]
        Coefficient indices, each once in a row; column 0 is the target itself.
    family : PolynomialFamily
        The features, in the Q coordinates that a row of `neighbours` names.
    ties : int array [m], optional
        Targets of one label, 0 to K - 1, share one set of parameters. By default each has its own.

    Raises
    ------
    ValueError
        If the tables are not of these shapes and kinds, or a row names a coefficient twice: noise that two coordinates
        share is not independent.
    """

    neighbours: np.ndarray
    family: PolynomialFamily
    ties: np.ndarray | None = None

    def __post_init__(self) -> None:
        neighbours = _integers("neighbours", self.neighbours, "[targets, coordinates]", 2)
        ordered = np.sort(neighbours, axis=1)
        if (twice := (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)).any():
            row = int(np.flatnonzero(twice)[0])
            raise ValueError(f"row {row} of neighbours is {neighbours[row].tolist()}; expected each coefficient once")
        object.__setattr__(self, "neighbours", neighbours)
        if self.ties is not None:
            ties = _integers("ties", self.ties, f"[{len(neighbours)}]", 1)
            if len(ties) != len(neighbours) or not np.array_equal(np.unique(ties), np.arange(ties.max() + 1)):
                raise ValueError(
                    f"ties have shape {list(ties.shape)}; expected one label of 0 to K - 1 for each target"
                )
            object.__setattr__(self, "ties", ties)

    def equals(self, other: Group) -> bool:
        """Whether the tables are the same."""
        ours, theirs = (
            [group.neighbours, group.family.exponents, *([] if group.ties is None else [group.ties])]
            for group in (self, other)
        )
        return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))

    @property
    def targets(self) -> np.ndarray:
        """Indices of the coefficients that the group predicts, int array [m]."""
        return self.neighbours[:, 0]

    @property
    def num_parameters(self) -> int:
        """Parameters of the group at one noise level."""
        sets = len(self.neighbours) if self.ties is None else len(np.unique(self.ties))
        return sets * len(self.family.exponents)

    def pool(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the targets that share parameters: [m, ...] -> [K, ...]; without ties the values themselves."""
        if self.ties is None:
            return values
        ties = torch.from_numpy(self.ties)
        pooled = values.new_zeros(int(ties.max()) + 1, *values.shape[1:]).index_add_(0, ties, values)
        return pooled / torch.bincount(ties).view(-1, *[1] * (values.ndim - 1))

    def extreme(self, values: torch.Tensor, which: str) -> torch.Tensor:
        """The "amin" or "amax" over the targets that share parameters, for each of them: [m] -> [m]."""
        if self.ties is None:
            return values
        ties = torch.from_numpy(self.ties).to(values.device)
        found = values.new_empty(int(ties.max()) + 1)
        return found.scatter_reduce(0, ties, values, which, include_self=False)[ties]

    def spread_out(self, values: torch.Tensor) -> torch.Tensor:
        """What each target takes from its set of parameters: [K, ...] -> [m, ...]."""
        return values if self.ties is None else values[torch.from_numpy(self.ties)]


def _integers(name: str, table: np.ndarray, expected: str, ndim: int) -> np.ndarray:
    """A table of indices as int64."""
    table = np.asarray(table)
    if table.ndim != ndim or not table.size or not np.issubdtype(table.dtype, np.integer) or table.min() < 0:
        given = f"shape {list(table.shape)} and dtype {table.dtype}"
        raise ValueError(f"{name} have {given}; expected integers >= 0 {expected}, at least one")
    return table.astype(np.int64)
