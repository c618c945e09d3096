"""Images -> padded wavelet coefficients, y = B x: more of them than pixels, and least squares to come back.

A filter that reaches over the edge of the image needs values there. The basis of `wavelets` wraps the image around;
here it is continued by zeros, mirrored or extrapolated, and each level gives more numbers than it takes: B [M, d] is
a frame, and M - d equations tie the coefficients of an image to one another.

Three facts make its pseudo-inverse cheap. With zeros, B has orthonormal columns: it is the orthonormal transform of
the plane, of an image that vanishes outside the square. As every atom that reaches into the square is there, the
transpose of that B is a left inverse in *every* mode; `pywt.waverec2` computes it. And each level's matrix with zeros,
completed to an orthogonal one, turns y into that image u and M - d numbers v, and B x into x and some C x. Least
squares over x is then a small problem: x = u + C^T (1 + C C^T)^-1 (v - C u).
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import pywt
import scipy.linalg
import torch
from torch.nn.functional import one_hot, pad

from ..support.checks import check_coefficients, check_images
from ..support.parallel import empty_like_rows, over_blocks
from .wavelets import Subband, WaveletBasis

MODES = ("zero", "constant", "symmetric", "reflect", "periodic", "smooth", "antisymmetric", "antireflect")
BLOCK = 128  # images that a worker transforms at a time


class WaveletFrame:
    """Overcomplete 2-D wavelet transform of PyWavelets' padding modes, and its pseudo-inverse (section 3 of the paper).

    Parameters
    ----------
    size, wavelet, level : int, str, int or None
        As for `WaveletBasis`, with the same default level, so that a frame and a basis compare subband by subband.
    mode : str
        How the image goes on outside the square, in PyWavelets' words: "zero", "constant", "symmetric", "reflect",
        "periodic", "smooth", "antisymmetric" or "antireflect". All of them are linear.

    Attributes
    ----------
    subbands : tuple of Subband
        In the order of `pywt.wavedec2`. `scale` is that of the basis; `side` is larger than 2^scale.
    orthonormal : bool
        False: noise of variance sigma^2 in each pixel has covariance sigma^2 B B^T over coefficients, which is no
        multiple of 1. Formulas that integrate independent noise out do not hold here; fits on noisy copies do.

    Raises
    ------
    ValueError
        If the mode is none of those named ("periodization" is `WaveletBasis`), or for what `WaveletBasis` refuses.

    Notes
    -----
    Coefficients equal `pywt.wavedec2(image, wavelet, mode=mode, level=level)`, flattened. One level above
    `pywt.dwt_max_level`, the deepest taken here, it warns that padding reaches all of the coarsest coefficients. The
    haar filter never reaches over the edge, and its frame is the basis.

    Examples
    --------
    >>> frame = WaveletFrame(32, wavelet="db2", mode="symmetric")
    >>> frame
    WaveletFrame(32, wavelet='db2', level=3, mode='symmetric')
    >>> [band.side for band in frame.subbands[::3]]
    [6, 6, 10, 17]
    >>> images = torch.rand(5, 32, 32)
    >>> frame.dim, torch.allclose(frame.synthesize(frame.analyze(images)), images, atol=1e-5)
    (1311, True)
    """

    orthonormal = False
    atoms = WaveletBasis.atoms

    def __init__(self, size: int, wavelet: str = "db2", level: int | None = None, mode: str = "symmetric") -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; expected one of {MODES} ('periodization' is WaveletBasis)")
        basis = WaveletBasis(size, wavelet, level)
        self.size, self.wavelet, self.level, self.mode = basis.size, basis.wavelet, basis.level, mode
        self._steps = _level_matrices(self.size, wavelet, mode, self.level)
        self.subbands = _subbands(self.size, [len(matrix) // 2 for matrix in self._steps])

    def __repr__(self) -> str:
        return f"WaveletFrame({self.size}, wavelet={self.wavelet!r}, level={self.level}, mode={self.mode!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WaveletFrame) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def options(self) -> dict[str, int | str]:
        """The arguments that make this frame."""
        return {"size": self.size, "wavelet": self.wavelet, "level": self.level, "mode": self.mode}

    @property
    def dim(self) -> int:
        """Number of coefficients M, at least size * size."""
        return self.subbands[-1].slice.stop

    def analyze(self, images: torch.Tensor) -> torch.Tensor:
        """Coefficients y = B x of images x.

        Parameters
        ----------
        images : tensor [n, size, size], float32 or float64

        Returns
        -------
        tensor [n, M] of the same dtype and device

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape, NaN or infinity.
        """
        images = check_images(images, self.size, finite=False)
        out = empty_like_rows(images, self.dim)
        steps = [matrix.to(images) for matrix in self._steps]

        def work(rows: slice) -> None:
            block = images[rows]
            scaling, *details = self._bands(out[rows])
            for matrix, bands in zip(steps, reversed(details), strict=True):
                quarters = _cut(matrix @ (block @ matrix.T))
                bands.copy_(quarters[:, 1:])
                block = quarters[:, 0]
            scaling.copy_(block[:, None])

        over_blocks(lambda: work, len(images), BLOCK)
        if not out[:, 0].sum().isfinite():  # one NaN or infinity makes every coefficient of its image one
            check_images(images, self.size)
        return out

    def synthesize(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Images x = B^+ y, whose coefficients come nearest to y: the least-squares left inverse.

        Parameters
        ----------
        coefficients : tensor [n, M], float32 or float64

        Returns
        -------
        tensor [n, size, size] of the same dtype and device

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape.
        """
        coefficients = check_coefficients(coefficients, self.dim)
        out = empty_like_rows(coefficients, self.size**2)
        orthogonal = [matrix.to(coefficients) for matrix in self._orthogonal]
        constraint, gain = (matrix.to(coefficients) for matrix in self._correction)

        def work(rows: slice) -> None:
            image, rest = self._turn(coefficients[rows], orthogonal)
            out[rows] = image + (rest - image @ constraint) @ gain

        over_blocks(lambda: work, len(coefficients), BLOCK)
        return out.unflatten(1, (self.size, self.size))

    def matrix(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """The matrix B [M, size * size]; row i gives coefficient i of an image, flattened row-major."""
        pixels = torch.eye(self.size**2, dtype=dtype).unflatten(1, (self.size, self.size))
        return self.analyze(pixels).T.contiguous()

    def left_inverse(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """The pseudo-inverse B^+ [size * size, M], with B^+ B = 1; its columns are what `synthesize` adds up."""
        return self.synthesize(torch.eye(self.dim, dtype=dtype)).flatten(1).T.contiguous()

    def noise_covariance(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """Covariance B B^T [M, M], of rank size * size, of the coefficients of white noise of variance 1."""
        return self.analyze(self.matrix(dtype).unflatten(1, (self.size, self.size)))

    def frame_bounds(self) -> tuple[float, float]:
        """The least and the largest energy (sum of squares) of B x for an image x of energy 1, the spectrum of B^T B.

        Examples
        --------
        >>> [round(bound, 12) for bound in WaveletFrame(8, mode="symmetric").frame_bounds()]
        [1.0, 4.0]
        """
        smaller = min(self._correction[0], self._correction[0].T, key=len)  # C^T or C: B^T B = 1 + C^T C
        stretched = torch.linalg.eigvalsh(smaller @ smaller.T).clamp(min=0)
        spectrum = 1 + pad(stretched, (0, self.size**2 - len(smaller)))
        return spectrum.min().item(), spectrum.max().item()

    @cached_property
    def _orthogonal(self) -> list[torch.Tensor]:
        """Each level's matrix with zeros outside, completed by columns to an orthogonal one, [2 s', 2 s']."""
        zero = _level_matrices(self.size, self.wavelet, "zero", self.level)
        return [torch.from_numpy(np.hstack([matrix, scipy.linalg.null_space(matrix.T)])) for matrix in zero]

    @cached_property
    def _correction(self) -> tuple[torch.Tensor, torch.Tensor]:
        """C^T [d, M - d] and (1 + C C^T)^-1 C [M - d, d], by a QR of (C^T; 1): C C^T would square the condition."""
        pixels = torch.arange(self.size**2).split(BLOCK)
        images = (one_hot(block, self.size**2).double().unflatten(1, (self.size, self.size)) for block in pixels)
        constraint = torch.cat([self._turn(self.analyze(block), self._orthogonal)[1] for block in images])
        q, r = torch.linalg.qr(torch.cat([constraint, torch.eye(constraint.shape[1], dtype=torch.float64)]))
        return constraint, torch.linalg.solve_triangular(r, q[: len(constraint)].T, upper=True)

    def _turn(self, coefficients: torch.Tensor, orthogonal: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Coefficients [n, M] turned by the orthogonal matrices into images [n, d] and the rest [n, M - d]."""
        scaling, *details = self._bands(coefficients)
        block, rest = scaling[:, 0], []
        for bands, matrix, step in zip(details, reversed(orthogonal), reversed(self._steps), strict=True):
            whole = matrix.T @ (_join(torch.cat([block[:, None], bands], dim=1)) @ matrix)
            side = step.shape[1]
            block = whole[:, :side, :side]
            rest += [whole[:, side:].flatten(1), whole[:, :side, side:].flatten(1)]
        return block.flatten(1), torch.cat(rest, dim=1)

    def _bands(self, coefficients: torch.Tensor) -> list[torch.Tensor]:
        """Views of the scaling coefficients, [n, 1, side, side], then of each level's h, v, d, [n, 3, side, side]."""
        shapes = [(3 if index else 1, band.side, band.side) for index, band in enumerate(self.subbands[::3])]
        parts = coefficients.split([math.prod(shape) for shape in shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def _cut(block: torch.Tensor) -> torch.Tensor:
    """The quarters of [n, 2 s, 2 s] as [n, 4, s, s]: a, h below it, v beside it, d."""
    return block.unflatten(2, (2, -1)).unflatten(1, (2, -1)).permute(0, 3, 1, 2, 4).flatten(1, 2)


def _join(bands: torch.Tensor) -> torch.Tensor:
    """The inverse of `_cut`."""
    return bands.unflatten(1, (2, 2)).permute(0, 2, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def _level_matrices(side: int, wavelet: str, mode: str, level: int) -> list[torch.Tensor]:
    """Each level in one dimension, finest first: [2 s', s] with low-pass rows above high-pass rows."""
    matrices = []
    for _ in range(level):
        matrices.append(torch.from_numpy(np.concatenate(pywt.dwt(np.eye(side), wavelet, mode=mode, axis=0))))
        side = len(matrices[-1]) // 2
    return matrices


def _subbands(size: int, sides: list[int]) -> tuple[Subband, ...]:
    """Subbands of levels with these sides, finest first; scales count down from the image's."""
    scale = size.bit_length() - 1 - len(sides)
    bands = [Subband(scale, "a", 0, sides[-1])]
    for step, side in enumerate(reversed(sides)):
        start = bands[-1].slice.stop
        bands += [Subband(scale + step, o, start + k * side**2, side) for k, o in enumerate("hvd")]
    return tuple(bands)
