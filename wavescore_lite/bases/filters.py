"""Orthogonal filters, by name or by their taps, tested; and how deep a tree they make."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pywt

from ..support.checks import check_integer

COARSEST_SIDE = 4
ORTHOGONAL = 1e-9  # how far filters may be from it; PyWavelets' tables keep to 2e-11

OWN = "own-"  # before a checksum, in place of the name of a filter that PyWavelets does not have

Filters = tuple[np.ndarray, np.ndarray]
Wavelet: TypeAlias = "str | pywt.Wavelet | Sequence[Sequence[float]]"


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


def filter_name(wavelet: Wavelet, filters: Filters) -> str:
    """The name of a filter in PyWavelets, or one made of its taps."""
    if isinstance(wavelet, str):
        return str(pywt.Wavelet(wavelet).name)
    name, bank = getattr(wavelet, "name", ""), getattr(wavelet, "filter_bank", None)
    if name in pywt.wavelist(kind="discrete") and pywt.Wavelet(name).filter_bank == bank:
        return str(name)
    return f"{OWN}{zlib.crc32(np.stack(filters).tobytes()):08x}"


def checked_level(shape: tuple[int, int], wavelet: str, taps: int, level: int | None) -> int:
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
