"""Images <-> coefficients, and what is whose neighbour: an orthonormal periodized wavelet basis, and padded frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..support.checks import check_choice
from .frames import WaveletFrame
from .protocol import Basis, Subband
from .wavelets import WaveletBasis

__all__ = ["KINDS", "Basis", "Subband", "WaveletBasis", "WaveletFrame", "make_basis"]

KINDS: dict[str, Callable[..., Basis]] = {kind.__name__: kind for kind in (WaveletBasis, WaveletFrame)}


def make_basis(kind: str, **options: Any) -> Basis:
    """The basis of a kind and its `options`, as a file holds them.

    Examples
    --------
    >>> basis = WaveletBasis((8, 16), "haar")
    >>> make_basis("WaveletBasis", **basis.options) == basis
    True
    """
    return KINDS[check_choice("kind of basis", kind, tuple(KINDS))](**options)
