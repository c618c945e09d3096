"""What a basis is: all that the core asks of one, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch


@dataclass(frozen=True)
class Subband:
    """Coefficients of one kind, on a grid of places, row-major, from `start` on.

    Parameters
    ----------
    scale : int
        j with 2^j places along the shorter side of images that are a power of two wide; one more at each finer scale.
    orientation : str
        "a" (scaling atoms), "h", "v" or "d" (details), as in PyWavelets.
    start : int
        Index of the first of them among all coefficients.
    shape : (int, int)
        Rows and columns of places.

    Examples
    --------
    >>> band = Subband(scale=2, orientation="h", start=16, shape=(4, 4))
    >>> band.slice, band.side
    (slice(16, 32, None), 4)
    """

    scale: int
    orientation: str
    start: int
    shape: tuple[int, int]

    @property
    def slice(self) -> slice:
        """Where the subband's coefficients stand among all [d]."""
        return slice(self.start, self.start + self.shape[0] * self.shape[1])

    @property
    def side(self) -> int:
        """Places along a side of a square subband."""
        if self.shape[0] != self.shape[1]:
            raise ValueError(f"the subband has {self.shape[0]} x {self.shape[1]} places; expected a square: see shape")
        return self.shape[0]


@runtime_checkable
class Basis(Protocol):
    """Images ``[n, *shape]`` <-> coefficients [n, d], and what is whose neighbour.

    A model is fitted in coefficients, so this is where an image's geometry is known. Bases that do the same are equal
    (``==``), which is what merging models and reading them back ask, and are written alike (``repr``). Files name a
    basis by its class, as listed in `bases.KINDS`; one that is not there must be given to `load`.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""

    @property
    def dim(self) -> int:
        """Number of coefficients d."""

    @property
    def orthonormal(self) -> bool:
        """Whether white noise in pixels is white noise of the same variance in coefficients."""

    @property
    def subbands(self) -> tuple[Subband, ...]:
        """All coefficients in their order, part by part."""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make this basis, as JSON values."""

    def analyze(self, images: torch.Tensor) -> torch.Tensor:
        """Coefficients [n, d] of images ``[n, *shape]``, of the same dtype and device."""

    def synthesize(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Images ``[n, *shape]`` of coefficients [n, d], of the same dtype and device."""

    def neighbours(self, index: int, radius: int = 0, orientations: bool = False, parent: bool = False) -> np.ndarray:
        """Coefficients that those of a subband may listen to.

        Parameters
        ----------
        index : int
            Which of `subbands`.
        radius : int
            Those of the same subband at most so many places away, along each side.
        orientations : bool
            The other details at the same scale and place, in the order of `subbands`.
        parent : bool
            The coefficient of the same orientation one scale up, over the same place.

        Returns
        -------
        int array [places, Q]
            Indices: itself first, the parent last, and -1 where there is none.
        """
