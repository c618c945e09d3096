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
from typing import Any

import numpy as np
import pywt
import scipy.linalg
import torch
from torch.nn.functional import one_hot, pad

from ..support.parallel import over_blocks
from .filters import Filters, Wavelet
from .tree import WaveletTree, tree

MODES = ("zero", "constant", "symmetric", "reflect", "periodic", "smooth", "antisymmetric", "antireflect")
BLOCK = 128  # images that a worker transforms at a time

Pair = tuple[torch.Tensor, torch.Tensor]  # a matrix for columns, one for rows


class WaveletFrame(WaveletTree):
    """Overcomplete 2-D wavelet transform of PyWavelets' padding modes, and its pseudo-inverse (section 3 of the paper).

    Parameters
    ----------
    shape, wavelet, level
        As for `WaveletBasis`, with the same default level, so that a frame and a basis compare subband by subband.
    mode : str
        How the image goes on outside the square, in PyWavelets' words: "zero", "constant", "symmetric", "reflect",
        "periodic", "smooth", "antisymmetric" or "antireflect". All of them are linear.

    Attributes
    ----------
    subbands : tuple of Subband
        In the order of `pywt.wavedec2`. `scale` is that of the basis; there are more places than in it.
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

    Places lie further out than in the basis: place k of a level stands over places 2 k - lag and 2 k + 1 - lag of the
    finer one, with lag = taps / 2 - 1, in every mode. That is where parents are looked for, and nothing is the
    neighbour of what lies at the opposite edge.

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
    wraps = False

    def __init__(
        self,
        shape: int | tuple[int, int],
        wavelet: Wavelet = "db2",
        level: int | None = None,
        mode: str = "symmetric",
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; expected one of {MODES} ('periodization' is WaveletBasis)")
        super().__init__(shape, wavelet, level)
        self.mode, self.lag = mode, len(self._filters[0]) // 2 - 1
        self._steps = self._level_matrices(mode)
        self.subbands = tree([(len(down) // 2, len(across) // 2) for down, across in self._steps], self.shape)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, mode={self.mode!r})"

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make this frame."""
        return {**super().options, "mode": self.mode}

    def _analyze(self, images: torch.Tensor, out: torch.Tensor) -> None:
        """y = B x."""
        steps = [(down.to(images), across.to(images)) for down, across in self._steps]

        def work(rows: slice) -> None:
            block = images[rows]
            scaling, *details = self._bands(out[rows])
            for (down, across), bands in zip(steps, reversed(details), strict=True):
                quarters = _cut(down @ (block @ across.T))
                bands.copy_(quarters[:, 1:])
                block = quarters[:, 0]
            scaling.copy_(block[:, None])

        over_blocks(lambda: work, len(images), BLOCK)

    def _synthesize(self, coefficients: torch.Tensor, out: torch.Tensor) -> None:
        """x = B^+ y, the least-squares left inverse."""
        orthogonal = [(down.to(coefficients), across.to(coefficients)) for down, across in self._orthogonal]
        constraint, gain = (matrix.to(coefficients) for matrix in self._correction)

        def work(rows: slice) -> None:
            image, rest = self._turn(coefficients[rows], orthogonal)
            out[rows] = image + (rest - image @ constraint) @ gain

        over_blocks(lambda: work, len(coefficients), BLOCK)

    def left_inverse(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """The pseudo-inverse B^+ [d, M], with B^+ B = 1; its columns are what `synthesize` adds up."""
        return self.synthesize(torch.eye(self.dim, dtype=dtype)).flatten(1).T.contiguous()

    def noise_covariance(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """Covariance B B^T [M, M], of rank d, of the coefficients of white noise of variance 1."""
        return self.analyze(self.matrix(dtype).unflatten(1, self.shape))

    def frame_bounds(self) -> tuple[float, float]:
        """The least and the largest energy (sum of squares) of B x for an image x of energy 1, the spectrum of B^T B.

        Examples
        --------
        >>> [round(bound, 12) for bound in WaveletFrame(8, mode="symmetric").frame_bounds()]
        [1.0, 4.0]
        """
        smaller = min(self._correction[0], self._correction[0].T, key=len)  # C^T or C: B^T B = 1 + C^T C
        stretched = torch.linalg.eigvalsh(smaller @ smaller.T).clamp(min=0)
        spectrum = 1 + pad(stretched, (0, self.pixels - len(smaller)))
        return spectrum.min().item(), spectrum.max().item()

    def _level_matrices(self, mode: str) -> list[Pair]:
        """Each level's matrices for columns and rows, finest first: [2 s', s], low-pass rows above high-pass rows."""
        pairs, (height, width) = [], self.shape
        for _ in range(self.level):
            pairs.append((_level_matrix(self._filters, height, mode), _level_matrix(self._filters, width, mode)))
            height, width = (len(matrix) // 2 for matrix in pairs[-1])
        return pairs

    @cached_property
    def _orthogonal(self) -> list[Pair]:
        """Each level's matrices with zeros outside, completed by columns to orthogonal ones, [2 s', 2 s']."""
        return [(_completed(down), _completed(across)) for down, across in self._level_matrices("zero")]

    @cached_property
    def _correction(self) -> tuple[torch.Tensor, torch.Tensor]:
        """C^T [d, M - d] and (1 + C C^T)^-1 C [M - d, d], by a QR of (C^T; 1): C C^T would square the condition."""
        pixels = torch.arange(self.pixels).split(BLOCK)
        images = (one_hot(block, self.pixels).double().unflatten(1, self.shape) for block in pixels)
        constraint = torch.cat([self._turn(self.analyze(block), self._orthogonal)[1] for block in images])
        q, r = torch.linalg.qr(torch.cat([constraint, torch.eye(constraint.shape[1], dtype=torch.float64)]))
        return constraint, torch.linalg.solve_triangular(r, q[: len(constraint)].T, upper=True)

    def _turn(self, coefficients: torch.Tensor, orthogonal: list[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
        """Coefficients [n, M] turned by the orthogonal matrices into images [n, d] and the rest [n, M - d]."""
        scaling, *details = self._bands(coefficients)
        block, rest = scaling[:, 0], []
        for bands, (down, across), step in zip(details, reversed(orthogonal), reversed(self._steps), strict=True):
            whole = down.T @ (_join(torch.cat([block[:, None], bands], dim=1)) @ across)
            height, width = (matrix.shape[1] for matrix in step)
            block = whole[:, :height, :width]
            rest += [whole[:, height:].flatten(1), whole[:, :height, width:].flatten(1)]
        return block.flatten(1), torch.cat(rest, dim=1)

    def _bands(self, coefficients: torch.Tensor) -> list[torch.Tensor]:
        """Views of the scaling coefficients, [n, 1, *places], then of each level's h, v, d, [n, 3, *places]."""
        shapes = [(3 if index else 1, *band.shape) for index, band in enumerate(self.subbands[::3])]
        parts = coefficients.split([math.prod(shape) for shape in shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def _cut(block: torch.Tensor) -> torch.Tensor:
    """The quarters of [n, 2 r, 2 s] as [n, 4, r, s]: a, h below it, v beside it, d."""
    return block.unflatten(2, (2, -1)).unflatten(1, (2, -1)).permute(0, 3, 1, 2, 4).flatten(1, 2)


def _join(bands: torch.Tensor) -> torch.Tensor:
    """The inverse of `_cut`."""
    return bands.unflatten(1, (2, 2)).permute(0, 2, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def _completed(matrix: torch.Tensor) -> torch.Tensor:
    """Orthonormal columns and as many more as make them a basis."""
    return torch.from_numpy(np.hstack([matrix, scipy.linalg.null_space(matrix.T)]))


def _level_matrix(filters: Filters, side: int, mode: str) -> torch.Tensor:
    low, high = (taps.tolist() for taps in filters)
    wavelet = pywt.Wavelet("", filter_bank=[low, high, low[::-1], high[::-1]])
    return torch.from_numpy(np.concatenate(pywt.dwt(np.eye(side), wavelet, mode=mode, axis=0)))
