"""What the tests of the problem sets call: a comparison that says in what an answer is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SINGLE = 3e-6  # of the largest entry: what float32 is good for after some arithmetic


def check(name: str, got: ArrayLike, expected: ArrayLike, rtol: float = 1e-8, atol: float = 1e-10) -> None:
    """Compare an answer with what is expected, and say how it differs.

    Parameters
    ----------
    name : str
        What the answer is called in the message.
    got, expected : array_like of numbers
        Compared as float64, entry by entry, as `numpy.isclose` does; a float32 answer to single precision, that is to
        SINGLE of the largest entry. One number may come in any number of brackets. A complex answer is refused.
    rtol, atol : float

    Raises
    ------
    AssertionError
        If they differ. The message names a likely slip if one explains all entries: a missing return, another shape, a
        sign, a factor, a transpose, a reversed order, a shift; else the entry that is furthest off.

    Examples
    --------
    >>> check("the slope", [0.5, 1.0], [0.5, 1.0])
    >>> check("the slope", [-0.5, -1.0], [0.5, 1.0])
    Traceback (most recent call last):
    ...
    AssertionError: the slope: the sign is wrong (all entries are minus what is expected)
    """
    expected = np.asarray(expected, dtype=np.float64)
    got, is_single = _numbers(name, got)
    if got.size == expected.size == 1:
        got = got.reshape(expected.shape)
    if is_single and expected.size:
        rtol, atol = max(rtol, SINGLE), max(atol, SINGLE * float(np.abs(expected).max()))
    if got.shape != expected.shape:
        turned = ": is it transposed?" if got.T.shape == expected.shape else ""
        raise AssertionError(f"{name}: the shape is {got.shape}; expected {expected.shape}{turned}")
    if not np.isfinite(got).all():
        raise AssertionError(f"{name}: {np.sum(~np.isfinite(got))} of {got.size} entries are not finite")

    if not np.allclose(got, expected, rtol, atol):
        raise AssertionError(f"{name}: {_slip(got, expected, rtol, atol)}")


def _numbers(name: str, got: Any) -> tuple[np.ndarray, bool]:
    """An answer as float64, and whether it came in single precision or less."""
    if got is None:
        raise AssertionError(f"{name} is None; expected numbers: is a return missing?")
    try:
        values = np.asarray(got.detach().cpu() if hasattr(got, "detach") else got)
        if np.iscomplexobj(values):
            raise AssertionError(
                f"{name} is complex; expected real numbers: take the real part, if the other is rounding"
            )
        return values.astype(np.float64), values.dtype in (np.float32, np.float16)
    except (TypeError, ValueError):
        raise AssertionError(
            f"{name} is of type {type(got).__name__}; expected real numbers, all of one shape"
        ) from None


def _slip(got: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> str:
    """The slip that explains the difference, or where the difference is largest."""

    def agrees(values: np.ndarray) -> bool:
        return values.shape == expected.shape and np.allclose(values, expected, rtol, atol)

    if np.allclose(got, expected, SINGLE, SINGLE * float(np.abs(expected).max())):
        return "it is right to single precision only; expected double: compute in float64 from the start"
    if agrees(-got):
        return "the sign is wrong (all entries are minus what is expected)"
    if got.ndim == 2 and agrees(got.T):
        return "it is transposed"
    if got.size == 1:
        return f"it is {got.item():.6g}; expected {expected.item():.6g}"
    factor = np.vdot(got, expected) / np.vdot(got, got) if got.any() else 0.0
    if factor and agrees(factor * got):
        return f"it is off by a factor: {1 / factor:.6g} times what is expected"
    for axis in range(got.ndim):
        if agrees(np.flip(got, axis)):
            return f"the order along axis {axis} is reversed"
        for step in (1, -1):
            if agrees(np.roll(got, step, axis)):
                return f"it is shifted by one along axis {axis}"
    wrong = np.sum(~np.isclose(got, expected, rtol, atol))
    worst = np.unravel_index(np.argmax(np.abs(got - expected)), got.shape)
    return (
        f"{wrong} of {got.size} entries are wrong, the worst at index {', '.join(map(str, worst))}: "
        f"{got[worst]:.6g}, expected {expected[worst]:.6g}"
    )
