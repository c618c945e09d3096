"""Images <-> wavelet coefficients: an orthonormal periodized basis of the square, y = W x.

One level of the transform is a matrix product on each side of the image: a [s, s] block X becomes A X A^T, where
the upper half of A's rows is the low-pass filter h, the lower half the high-pass filter g, each row shifted by two
pixels and wrapped around. The quarter that is low-pass on both sides goes on to the next level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
import pywt
import torch

from ..support.checks import check_coefficients, check_images, check_size
from ..support.parallel import empty_like_rows, over_blocks

FAMILIES = ("haar", "db", "sym", "coif")
COARSEST_SIDE = 4
BLOCK_BYTES = {"cpu": 3 * 2**19, "cuda": 2**28}  # of images that a worker transforms at a time


@dataclass(frozen=True)
class Subband:
    """The coefficients of one orientation at one scale: `side * side` places, row-major, from `start` on.

    `scale` is j in 2^j = side; `orientation` is "a" (scaling atoms), "h", "v" or "d" (details), as in PyWavelets.
    """

    scale: int
    orientation: str
    start: int
    side: int

    @property
    def slice(self) -> slice:
        """Where the subband's coefficients stand among all [size * size]."""
        return slice(self.start, self.start + self.side**2)


class WaveletBasis:
    """Orthonormal 2-D wavelet basis on a `size` x `size` periodic grid (section 1.2 of the paper).

    Parameters
    ----------
    size : int
        Side of the images in pixels, a power of two >= 8.
    wavelet : str
        A Daubechies ("haar", "db2"), symlet ("sym4") or coiflet ("coif1") filter of PyWavelets.
    level : int, optional
        Number of decompositions. By default the coarsest subband has 4 x 4 places, or as few as the filter fits.

    Attributes
    ----------
    subbands : tuple of Subband
        In the order of `pywt.wavedec2`: the scaling atoms, then h, v, d from the coarsest to the finest scale.

    Raises
    ------
    ValueError
        If the size is no power of two, the filter is unknown or not orthogonal, longer than the image, or the level
        is deeper than the filter fits: a level must not filter a signal shorter than its filter.

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
    """

    orthonormal = True

    def __init__(self, size: int, wavelet: str = "db2", level: int | None = None) -> None:
        size = check_size(size)
        if not str(wavelet).startswith(FAMILIES) or wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(
                f"wavelet is {wavelet!r}; expected an orthogonal filter: 'haar', 'db1' to 'db38', "
                "'sym2' to 'sym20' or 'coif1' to 'coif17'"
            )
        low = np.array(pywt.Wavelet(wavelet).dec_lo)
        if len(low) > size:
            raise ValueError(f"wavelet {wavelet!r} has {len(low)} taps; expected at most size = {size}")
        deepest = int(np.log2(size // len(low))) + 1
        default = min(deepest, int(np.log2(size // COARSEST_SIDE)))
        level = default if level is None else level
        if not isinstance(level, Integral) or not 1 <= level <= deepest:
            raise ValueError(
                f"level is {level!r}; expected 1 to {deepest} for size {size} and {wavelet!r} ({len(low)} taps)"
            )
        self.size, self.wavelet, self.level = int(size), wavelet, int(level)
        self.subbands = _subbands(self.size, self.level)
        self._steps = [torch.from_numpy(_level_matrix(low, self.size >> step)) for step in range(self.level)]

    def __repr__(self) -> str:
        return f"WaveletBasis({self.size}, wavelet={self.wavelet!r}, level={self.level})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WaveletBasis) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def options(self) -> dict[str, int | str]:
        """The arguments that make this basis."""
        return {"size": self.size, "wavelet": self.wavelet, "level": self.level}

    @property
    def dim(self) -> int:
        """Number of coefficients, size * size."""
        return self.size**2

    @cached_property
    def atoms(self) -> np.ndarray:
        """Table of the atoms, a structured array [size * size] with scale, orientation, row and column.

        Examples
        --------
        >>> print(WaveletBasis(8).atoms[4 * 4 + 1])
        (2, 'h', 0, 1)
        """
        table = np.empty(self.dim, dtype=[("scale", int), ("orientation", "U1"), ("row", int), ("column", int)])
        for band in self.subbands:
            part = table[band.slice]
            part["scale"], part["orientation"] = band.scale, band.orientation
            part["row"], part["column"] = np.divmod(np.arange(band.side**2), band.side)
        return table

    def analyze(self, images: torch.Tensor) -> torch.Tensor:
        """Coefficients y = W x of images x.

        Parameters
        ----------
        images : tensor [n, size, size], float32 or float64

        Returns
        -------
        tensor [n, size * size] of the same dtype and device

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape, NaN or infinity.
        """
        images = check_images(images, self.size, finite=False)
        out = empty_like_rows(images, self.dim)
        steps, count = self._steps_like(images), block_size(images)

        def worker() -> Callable[[slice], None]:
            scratch = images.new_empty(2, min(count, len(images)), self.dim)

            def work(rows: slice) -> None:
                block = images[rows]
                for matrix in steps:
                    right, both = _squares(scratch, len(block), len(matrix))
                    torch.mm(block.reshape(-1, len(matrix)), matrix.T, out=right.flatten(0, 1))
                    torch.bmm(matrix.expand_as(right), right, out=both)
                    bands = _bands(out[rows], len(matrix))
                    bands.copy_(_halves(both))
                    block = bands[:, 0, : len(matrix) // 2]

            return work

        over_blocks(worker, len(images), count)
        if not out[:, 0].sum().isfinite():  # one NaN or infinity makes every coefficient of its image one
            check_images(images, self.size)
        return out

    def synthesize(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Images x = W^T y of coefficients y.

        Parameters
        ----------
        coefficients : tensor [n, size * size], float32 or float64

        Returns
        -------
        tensor [n, size, size] of the same dtype and device

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape.
        """
        coefficients = check_coefficients(coefficients, self.dim)
        out = empty_like_rows(coefficients, self.dim)
        steps, count = self._steps_like(coefficients), block_size(coefficients)

        def worker() -> Callable[[slice], None]:
            scratch = coefficients.new_empty(2, min(count, len(coefficients)), self.dim)

            def work(rows: slice) -> None:
                block, result = coefficients[rows], out[rows].view(-1)
                corner = None
                for matrix in reversed(steps):
                    whole, right = _squares(scratch, len(block), len(matrix))
                    for half, bands in zip(_halves(whole).unbind(1), _bands(block, len(matrix)).unbind(1), strict=True):
                        half.copy_(bands)  # one at a time, which takes half as long as both at once
                    if corner is not None:
                        whole[:, : len(matrix) // 2, : len(matrix) // 2] = corner
                    torch.mm(whole.flatten(0, 1), matrix, out=right.flatten(0, 1))
                    corner = result[: right.numel()].view_as(right)
                    torch.bmm(matrix.T.expand_as(right), right, out=corner)

            return work

        over_blocks(worker, len(coefficients), count)
        return out.unflatten(1, (self.size, self.size))

    def matrix(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """The matrix W [size * size, size * size] of the basis; its rows are the atoms, flattened row-major."""
        pixels = torch.eye(self.dim, dtype=dtype).unflatten(1, (self.size, self.size))
        return self.analyze(pixels).T.contiguous()

    def _steps_like(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        return [matrix.to(dtype=tensor.dtype, device=tensor.device) for matrix in self._steps]


def block_size(rows: torch.Tensor) -> int:
    """How many of these rows, images or coefficients, one worker transforms at a time."""
    return max(1, BLOCK_BYTES[rows.device.type] // (rows[:1].nbytes or 1))


def _squares(scratch: torch.Tensor, count: int, side: int) -> torch.Tensor:
    """Two of `count` contiguous [side, side] blocks on scratch memory [2, n, size^2]: [2, count, side, side]."""
    return scratch.flatten(1)[:, : count * side**2].unflatten(1, (count, side, side))


def _bands(coefficients: torch.Tensor, side: int) -> torch.Tensor:
    """The first side^2 coefficients as [n, 2, side, side/2]: subband a above h, then v above d."""
    return coefficients[:, : side**2].unflatten(1, (2, side, side // 2))


def _halves(block: torch.Tensor) -> torch.Tensor:
    """Blocks [n, side, side] as their left and right halves [n, 2, side, side/2]: a above h, then v above d."""
    return block.unflatten(2, (2, -1)).movedim(2, 1)


def _subbands(size: int, level: int) -> tuple[Subband, ...]:
    side = size >> level
    bands = [Subband(side.bit_length() - 1, "a", 0, side)]
    for scale in range(side.bit_length() - 1, size.bit_length() - 1):
        quarter = 4**scale
        bands += [Subband(scale, o, k * quarter, 2**scale) for k, o in enumerate("hvd", start=1)]
    return tuple(bands)


def _level_matrix(low: np.ndarray, side: int) -> np.ndarray:
    """One level in one dimension, [side, side]: rows of h, then of g, shifted by two and wrapped around."""
    taps = np.arange(len(low))
    high = low[::-1] * (-1.0) ** (taps + 1)
    matrix = np.zeros((side, side))
    shifts = 2 * np.arange(side // 2)[:, None]
    columns = (shifts + len(low) // 2 - taps) % side
    rows = np.broadcast_to(shifts // 2, columns.shape)
    np.add.at(matrix, (rows, columns), np.broadcast_to(low, columns.shape))
    np.add.at(matrix, (rows + side // 2, columns), np.broadcast_to(high, columns.shape))
    return matrix
