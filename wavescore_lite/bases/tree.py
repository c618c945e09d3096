"""What wavelet bases and frames share: an orthogonal filter, a tree of subbands, and who is next to whom in it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pywt
import torch

from ..support.checks import check_integer, check_shape
from .protocol import Subband

COARSEST_SIDE = 4
ORTHOGONAL = 1e-9  # how far filters may be from it; PyWavelets' tables keep to 2e-11

OWN = "own-"  # before a checksum, in place of the name of a filter that PyWavelets does not have

Filters = tuple[np.ndarray, np.ndarray]
Wavelet: TypeAlias = "str | pywt.Wavelet | Sequence[Sequence[float]]"


class WaveletTree:
    """Arguments, subbands and neighbours of a wavelet transform; `WaveletBasis` and `WaveletFrame` add the transform.

    A level takes a row of n numbers to two of about n / 2: place k of the coarser row stands over the places 2 k - lag
    and 2 k + 1 - lag of the finer one.
    """

    wraps: bool  # whether the first place of a subband is next to its last
    lag: int

    def __init__(self, shape: int | tuple[int, int], wavelet: Wavelet, level: int | None) -> None:
        self.shape = check_shape(shape)
        self._filters = orthogonal_filters(wavelet)
        self.wavelet = _named(wavelet, self._filters)
        self.level = _checked_level(self.shape, self.wavelet, len(self._filters[0]), level)
        self.subbands: tuple[Subband, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make it again, as JSON values; a filter of one's own by its taps."""
        wavelet = [taps.tolist() for taps in self._filters] if self.wavelet.startswith(OWN) else self.wavelet
        return {"shape": list(self.shape), "wavelet": wavelet, "level": self.level}

    @property
    def dim(self) -> int:
        """Number of coefficients."""
        return self.subbands[-1].slice.stop

    def analyze(self, images: torch.Tensor) -> torch.Tensor:
        """Coefficients [n, d] of images [n, height, width]."""
        raise NotImplementedError

    def matrix(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """The matrix [d, pixels] of the transform; row i gives coefficient i of an image, flattened row-major."""
        pixels = torch.eye(self.shape[0] * self.shape[1], dtype=dtype).unflatten(1, self.shape)
        return self.analyze(pixels).T.contiguous()

    @cached_property
    def atoms(self) -> np.ndarray:
        """Table of the atoms, a structured array [d] with scale, orientation, row and column.

        Examples
        --------
        >>> from wavescore_lite import WaveletBasis
        >>> print(WaveletBasis(8).atoms[4 * 4 + 1])
        (2, 'h', 0, 1)
        """
        table = np.empty(self.dim, dtype=[("scale", int), ("orientation", "U1"), ("row", int), ("column", int)])
        for band in self.subbands:
            part = table[band.slice]
            part["scale"], part["orientation"] = band.scale, band.orientation
            part["row"], part["column"] = np.divmod(np.arange(len(part)), band.shape[1])
        return table

    def neighbours(self, index: int, radius: int = 0, orientations: bool = False, parent: bool = False) -> np.ndarray:
        """Coefficients that those of a subband may listen to: see `Basis.neighbours`.

        In a basis, which wraps images around, each place has a place on either side of it, and where a subband is so
        small that two of them coincide, each counts once. In a frame there is nothing beyond the last place. The
        parent of the coarsest details is the scaling coefficient at their place.
        """
        own = self.subbands[index]
        places = np.arange(own.shape[0] * own.shape[1])[:, None]
        window = places_around(own.shape, radius, self.wraps)
        columns = [np.where(window < 0, -1, own.start + window)]
        if index and orientations:
            others = [band for band in self.subbands[1:] if band.scale == own.scale and band is not own]
            columns += [band.start + places for band in others]
        if index and parent:
            above = self.subbands[max(index - 3, 0)]
            rows, across = np.divmod(places, own.shape[1])
            if above.orientation != "a":
                rows, across = (rows + self.lag) // 2, (across + self.lag) // 2
            columns.append(above.start + rows * above.shape[1] + across)
        return np.concatenate(columns, axis=1)

    def __repr__(self) -> str:
        height, width = self.shape
        shape = height if height == width else self.shape
        return f"{type(self).__name__}({shape}, wavelet={self.wavelet!r}, level={self.level})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, WaveletTree) and self.options == other.options

    def __hash__(self) -> int:
        return hash(repr(self))


def orthogonal_filters(wavelet: Wavelet) -> Filters:
    """Low-pass and high-pass taps of an orthogonal filter, tested: every shift by two is orthogonal to all others.

    Parameters
    ----------
    wavelet : str, pywt.Wavelet or two sequences of float
        A name in PyWavelets, a filter bank of one's own, of which the two analysis filters count, or their taps.

    Raises
    ------
    ValueError
        If there is no such filter, its taps are not even in number, or it is not orthogonal.

    Examples
    --------
    >>> low, high = orthogonal_filters("haar")
    >>> low.round(3)
    array([0.707, 0.707])
    >>> orthogonal_filters("bior2.2")
    Traceback (most recent call last):
    ...
    ValueError: wavelet is 'bior2.2', which is off by 4.4e-01 (at most 1e-09 passes); expected an orthogonal filter: ...
    """
    try:
        bank = pywt.Wavelet(wavelet) if isinstance(wavelet, str) else wavelet
        pair = (bank.dec_lo, bank.dec_hi) if isinstance(bank, pywt.Wavelet) else bank
        filters = np.array(pair, dtype=float).reshape(2, -1)
    except (ValueError, TypeError):
        filters = np.zeros((2, 1))
    error = np.inf if filters.shape[1] % 2 else _orthogonality_error(filters)
    if not error <= ORTHOGONAL:
        name = wavelet.name if isinstance(wavelet, pywt.Wavelet) else wavelet
        off = "" if np.isinf(error) else f", which is off by {error:.1e} (at most {ORTHOGONAL:g} passes)"
        raise ValueError(
            f"wavelet is {name!r}{off}; expected an orthogonal filter: 'haar', 'db1' to 'db38', 'sym2' to 'sym20', "
            "'coif1' to 'coif17', a pywt.Wavelet, or the taps of two filters, as many in each and even in number"
        )
    return filters[0], filters[1]


def _orthogonality_error(filters: np.ndarray) -> float:
    """How far the products of two filters [2, taps], shifted by two against each other, are from 1 and 0."""
    taps = filters.shape[1]
    products = [filters[:, shift:] @ filters[:, : taps - shift].T for shift in range(0, taps, 2)]
    products[0] = products[0] - np.eye(2)
    return float(np.abs(products).max())


def tree(shapes: Sequence[tuple[int, int]], shape: tuple[int, int]) -> tuple[Subband, ...]:
    """Subbands of a transform of images of a `shape`: scaling atoms, then h, v, d from the coarsest scale on.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Places of the subbands of each level, finest first.

    Examples
    --------
    >>> [(band.orientation, band.scale, band.start) for band in tree([(4, 4)], (8, 8))]
    [('a', 2, 0), ('h', 2, 16), ('v', 2, 32), ('d', 2, 48)]
    """
    scale = min(shape).bit_length() - 1 - len(shapes)
    bands = [Subband(scale, "a", 0, shapes[-1])]
    for step, places in enumerate(reversed(shapes)):
        for orientation in "hvd":
            bands.append(Subband(scale + step, orientation, bands[-1].slice.stop, places))
    return tuple(bands)


def places_around(shape: tuple[int, int], radius: int, wraps: bool) -> np.ndarray:
    """Places within `radius` of each place of a grid, int array [places, Q]: the place itself first, each once.

    Wrapped around, or -1 where there is no such place.

    Examples
    --------
    >>> places_around((1, 4), 1, wraps=True)[0], places_around((1, 4), 1, wraps=False)[0]
    (array([0, 1, 3]), array([ 0, -1, -1, -1, -1,  1, -1, -1, -1]))
    """
    sides, reach = np.array(shape)[:, None], np.arange(-radius, radius + 1)
    steps = np.stack(np.meshgrid(reach, reach, indexing="ij")).reshape(2, -1)
    if wraps:
        steps = np.unique(steps % sides, axis=1)
    steps = steps[:, np.argsort(steps.any(axis=0), kind="stable")]
    rows, columns = np.divmod(np.arange(shape[0] * shape[1])[:, None], shape[1]) + steps[:, None]
    if wraps:
        return rows % shape[0] * shape[1] + columns % shape[1]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.where(inside, rows * shape[1] + columns, -1)


def _named(wavelet: Wavelet, filters: Filters) -> str:
    """The name of a filter in PyWavelets, or one made of its taps."""
    if isinstance(wavelet, str):
        return str(pywt.Wavelet(wavelet).name)
    name, bank = getattr(wavelet, "name", ""), getattr(wavelet, "filter_bank", None)
    if name in pywt.wavelist(kind="discrete") and pywt.Wavelet(name).filter_bank == bank:
        return str(name)
    return f"{OWN}{zlib.crc32(np.stack(filters).tobytes()):08x}"


def _checked_level(shape: tuple[int, int], wavelet: str, taps: int, level: int | None) -> int:
    """Number of decompositions: as many as leave a coarsest side of four places, unless it is given."""
    if taps > min(shape):
        raise ValueError(f"wavelet {wavelet!r} has {taps} taps; expected at most {min(shape)}, the shorter side")
    halvings = min(side & -side for side in shape).bit_length() - 1
    if not halvings:
        raise ValueError(f"shape is {shape}; expected a height and a width that 2^level divides, at least 2")
    deepest = max(step for step in range(1, halvings + 1) if min(shape) >> (step - 1) >= taps)
    if level is None:
        return max(step for step in range(1, deepest + 1) if step == 1 or min(shape) >> step >= COARSEST_SIDE)
    try:
        return check_integer("level", level, 1, deepest)
    except ValueError:
        raise ValueError(
            f"level is {level!r}; expected 1 to {deepest} for shape {shape} and {wavelet!r} ({taps} taps)"
        ) from None
