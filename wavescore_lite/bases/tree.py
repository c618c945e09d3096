"""What wavelet bases and frames share: a tree of subbands, and who is next to whom in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..support.checks import check_coefficients, check_images, check_shape, differentiated
from ..support.parallel import empty_like_rows
from .filters import OWN, Wavelet, checked_level, filter_name, orthogonal_filters
from .protocol import Subband


class WaveletTree(ABC):
    """Arguments, subbands and neighbours of a wavelet transform; `WaveletBasis` and `WaveletFrame` add the transform.

    A level takes a row of n numbers to two of about n / 2: place k of the coarser row stands over the places 2 k - lag
    and 2 k + 1 - lag of the finer one.
    """

    wraps: bool  # whether the first place of a subband is next to its last
    lag: int

    def __init__(self, shape: int | tuple[int, int], wavelet: Wavelet, level: int | None) -> None:
        self.shape = check_shape(shape)
        self._filters = orthogonal_filters(wavelet)
        self.wavelet = filter_name(wavelet, self._filters)
        self.level = checked_level(self.shape, self.wavelet, len(self._filters[0]), level)
        self.subbands: tuple[Subband, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make it again, as JSON values; a filter of one's own by its taps."""
        wavelet = [taps.tolist() for taps in self._filters] if self.wavelet.startswith(OWN) else self.wavelet
        return {"shape": list(self.shape), "wavelet": wavelet, "level": self.level}

    @property
    def dim(self) -> int:
        """Number of coefficients d."""
        return self.subbands[-1].slice.stop

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        return self.shape[0] * self.shape[1]

    def analyze(self, images: torch.Tensor) -> torch.Tensor:
        """Coefficients y of images x.

        Parameters
        ----------
        images : tensor [n, height, width], float32 or float64

        Returns
        -------
        tensor [n, d] of the same dtype and device

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape, NaN or infinity.
        """
        images = check_images(images, self.shape, finite=False, graph=True)
        if differentiated(images):
            return images.flatten(1) @ self.matrix(images.dtype).T.to(images.device)
        out = self._analyzed(images)
        if not out[:, 0].sum().isfinite():  # one NaN or infinity makes every coefficient of its image one
            check_images(images, self.shape)
        return out

    def synthesize(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Images x of coefficients y; in a frame those whose coefficients come nearest to y, by least squares.

        Parameters
        ----------
        coefficients : tensor [n, d], float32 or float64

        Returns
        -------
        tensor [n, height, width] of the same dtype and device

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape.
        """
        coefficients = check_coefficients(coefficients, self.dim)
        if differentiated(coefficients):
            inverse = self._synthesized(torch.eye(self.dim, dtype=coefficients.dtype)).to(coefficients.device)
            return (coefficients @ inverse).unflatten(1, self.shape)
        return self._synthesized(coefficients).unflatten(1, self.shape)

    def _analyzed(self, images: torch.Tensor) -> torch.Tensor:
        out = empty_like_rows(images, self.dim)
        self._analyze(images, out)
        return out

    def _synthesized(self, coefficients: torch.Tensor) -> torch.Tensor:
        out = empty_like_rows(coefficients, self.pixels)
        self._synthesize(coefficients, out)
        return out

    @abstractmethod
    def _analyze(self, images: torch.Tensor, out: torch.Tensor) -> None:
        """Write the coefficients of images to `out` [n, d]."""

    @abstractmethod
    def _synthesize(self, coefficients: torch.Tensor, out: torch.Tensor) -> None:
        """Write images to `out` [n, pixels]."""

    def matrix(self, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """The matrix [d, pixels] of the transform; row i gives coefficient i of an image, flattened row-major."""
        return self._analyzed(torch.eye(self.pixels, dtype=dtype).unflatten(1, self.shape)).T.contiguous()

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
