"""Images <-> wavelet coefficients: an orthonormal periodized basis of the rectangle, y = W x.

One level of the transform is a matrix product on each side of the image: a block X becomes A X B^T, where the upper
half of A's rows is the low-pass filter h, the lower half the high-pass filter g, each row shifted by two pixels and
wrapped around; B is the same for the other side. The quarter that is low-pass on both sides goes on to the next level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..support.parallel import over_blocks
from .filters import Filters, Wavelet
from .tree import WaveletTree, tree

BLOCK_BYTES = {"cpu": 3 * 2**19, "cuda": 2**28}  # of images that a worker transforms at a time


class WaveletBasis(WaveletTree):
    """Orthonormal 2-D wavelet basis on a periodic grid (section 1.2 of the paper).

    Parameters
    ----------
    shape : int or (int, int)
        Height and width of the images in pixels, one number for a square: each at least 8, and a multiple of 2^level.
    wavelet : str, pywt.Wavelet or two sequences of float
        An orthogonal filter of PyWavelets ("haar", "db2", "sym4", "coif1"), or one of your own: as a filter bank, of
        which the analysis filters count, or by their taps.
    level : int, optional
        Number of decompositions. By default the coarsest subband has 4 places along the shorter side, or as few more
        as the shape and the filter allow.

    Attributes
    ----------
    subbands : tuple of Subband
        In the order of `pywt.wavedec2`: the scaling atoms, then h, v, d from the coarsest to the finest scale.

    Raises
    ------
    ValueError
        If a side is odd or too short, the filter is unknown or not orthogonal, longer than the shorter side, or the
        level is deeper than the sides can be halved or the filter fits: a level must not filter a signal shorter than
        its filter.

    Notes
    -----
    Coefficients equal `pywt.wavedec2(image, wavelet, mode="periodization", level=level)`, flattened. Rows of W are
    the atoms w_i, so <x, w_i> = (W x)_i, and W^T W = 1 to the precision of the filter table.

    Examples
    --------
    >>> basis = WaveletBasis(32, wavelet="db2")
    >>> basis
    WaveletBasis(32, wavelet='db2', level=3)
    >>> images = torch.rand(5, 32, 32)
    >>> y = basis.analyze(images)
    >>> y.shape
    torch.Size([5, 1024])
    >>> torch.allclose(basis.synthesize(y), images, atol=1e-5)
    True
    >>> WaveletBasis((48, 64)).subbands[0].shape
    (6, 8)
    """

    orthonormal = True
    wraps, lag = True, 0

    def __init__(self, shape: int | tuple[int, int], wavelet: Wavelet = "db2", level: int | None = None) -> None:
        super().__init__(shape, wavelet, level)
        height, width = self.shape
        self.subbands = tree([(height >> step, width >> step) for step in range(1, self.level + 1)], self.shape)
        self._steps = [
            tuple(torch.from_numpy(_level_matrix(self._filters, side >> step)) for side in self.shape)
            for step in range(self.level)
        ]

    def _analyze(self, images: torch.Tensor, out: torch.Tensor) -> None:
        """y = W x."""
        steps, count = self._steps_like(images), block_size(images)

        def worker() -> Callable[[slice], None]:
            scratch = images.new_empty(2, min(count, len(images)), self.dim)

            def work(rows: slice) -> None:
                block = images[rows]
                for down, across in steps:
                    shape = len(down), len(across)
                    right, both = _pages(scratch, len(block), shape)
                    torch.mm(block.reshape(-1, len(across)), across.T, out=right.flatten(0, 1))
                    torch.bmm(down.expand(len(block), -1, -1), right, out=both)
                    bands = _bands(out[rows], shape)
                    bands.copy_(_halves(both))
                    block = bands[:, 0, : len(down) // 2]

            return work

        over_blocks(worker, len(images), count)

    def _synthesize(self, coefficients: torch.Tensor, out: torch.Tensor) -> None:
        """x = W^T y."""
        steps, count = self._steps_like(coefficients), block_size(coefficients)

        def worker() -> Callable[[slice], None]:
            scratch = coefficients.new_empty(2, min(count, len(coefficients)), self.dim)

            def work(rows: slice) -> None:
                block, result = coefficients[rows], out[rows].view(-1)
                corner = None
                for down, across in reversed(steps):
                    shape = len(down), len(across)
                    whole, right = _pages(scratch, len(block), shape)
                    for half, bands in zip(_halves(whole).unbind(1), _bands(block, shape).unbind(1), strict=True):
                        half.copy_(bands)  # one at a time, which takes half as long as both at once
                    if corner is not None:
                        whole[:, : len(down) // 2, : len(across) // 2] = corner
                    torch.mm(whole.flatten(0, 1), across, out=right.flatten(0, 1))
                    corner = result[: right.numel()].view_as(right)
                    torch.bmm(down.T.expand(len(block), -1, -1), right, out=corner)

            return work

        over_blocks(worker, len(coefficients), count)

    def _steps_like(self, tensor: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        return [tuple(matrix.to(dtype=tensor.dtype, device=tensor.device) for matrix in pair) for pair in self._steps]


def block_size(rows: torch.Tensor) -> int:
    """How many of these rows, images or coefficients, one worker transforms at a time."""
    return max(1, BLOCK_BYTES[rows.device.type] // (rows[:1].nbytes or 1))


def _pages(scratch: torch.Tensor, count: int, shape: tuple[int, int]) -> torch.Tensor:
    """Two of `count` contiguous blocks of a shape on scratch memory [2, n, d]: [2, count, *shape]."""
    return scratch.flatten(1)[:, : count * shape[0] * shape[1]].unflatten(1, (count, *shape))


def _bands(coefficients: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """The first height * width coefficients as [n, 2, height, width/2]: subband a above h, then v above d."""
    height, width = shape
    return coefficients[:, : height * width].unflatten(1, (2, height, width // 2))


def _halves(block: torch.Tensor) -> torch.Tensor:
    """Blocks [n, height, width] as their left and right halves [n, 2, height, width/2]: a above h, then v above d."""
    return block.unflatten(2, (2, -1)).movedim(2, 1)


def _level_matrix(filters: Filters, side: int) -> np.ndarray:
    """One level in one dimension, [side, side]: rows of h, then of g, shifted by two and wrapped around."""
    taps = len(filters[0])
    matrix = np.zeros((side, side))
    shifts = 2 * np.arange(side // 2)[:, None]
    columns = (shifts + taps // 2 - np.arange(taps)) % side
    rows = np.broadcast_to(shifts // 2, columns.shape)
    for half, values in enumerate(filters):
        np.add.at(matrix, (rows + half * (side // 2), columns), np.broadcast_to(values, columns.shape))
    return matrix
