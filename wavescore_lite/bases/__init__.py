"""Images <-> coefficients, and what is whose neighbour: an orthonormal periodized wavelet basis, and padded frames."""

from .frames import WaveletFrame
from .wavelets import Subband, WaveletBasis

__all__ = ["Subband", "WaveletBasis", "WaveletFrame"]
