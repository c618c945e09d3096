"""What the tests of the problem sets call: comparisons that say in what an answer is wrong, and what runs a test."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SINGLE = 3e-6  # of the largest entry: what float32 is good for after some arithmetic
ROUGH = 1e-4  # of the largest entry: where float32 may be what is wrong
SHOWN = 60  # characters of an answer that is no number


def run_test(test: Callable[[], None]) -> None:
    """Run a test at once, and say that it passed: a decorator, so that what a test needs stays within it.

    Parameters
    ----------
    test : callable
        Without arguments; it raises an error where an answer is wrong.

    Raises
    ------
    AssertionError
        If the test gave a warning, which it quotes: a warning costs the points of a test, as an error does. Errors of
        the test are passed on, with a note on warnings before them.

    Examples
    --------
    >>> @run_test
    ... def test_sum():
    ...     check("the sum", 1 + 1, 2.0)
    passed
    """
    with warnings.catch_warnings(record=True) as given:
        try:
            test()
        except Exception as error:
            for warning in given:
                error.add_note(f"Before it there was a warning: {_quoted(warning)}")
            raise
    if given:
        raise AssertionError(f"there is a warning, and it costs points as an error does: {_quoted(given[0])}")
    print("passed")


def _quoted(warning: warnings.WarningMessage) -> str:
    line = linecache.getline(warning.filename, warning.lineno).strip()
    return f"{warning.category.__name__}: {warning.message}" + (f" (at: {line})" if line else "")


def check(name: str, got: Any, expected: ArrayLike, rtol: float = 1e-8, atol: float = 1e-10) -> None:
    """Compare an answer with what is expected, and say how it differs.

    Parameters
    ----------
    name : str
        What the answer is called in the message.
    got, expected : array_like of numbers
        Compared as float64, entry by entry, as `numpy.isclose` does; a float32 answer to single precision, that is to
        SINGLE of the largest entry (of 1 where all are zero). One number may come in any number of brackets. A complex
        answer is refused.
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
    values = numbers(name, got, expected.shape)
    is_single = values.dtype == np.float32
    values = values.astype(np.float64)
    if is_single and expected.size:
        rtol, atol = max(rtol, SINGLE), max(atol, SINGLE * (float(np.abs(expected).max()) or 1.0))
    if not np.allclose(values, expected, rtol, atol):
        raise AssertionError(f"{name}: {_slip(values, expected, rtol, atol, is_single)}")


def numbers(name: str, got: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """An answer as an array to compute with, whatever it came as.

    Parameters
    ----------
    name : str
        What the answer is called in the message.
    got : array_like of numbers
        Nested lists, a tensor, a matrix, a sympy number.
    shape : tuple of int, optional
        Which shape is expected. One number may come in any number of brackets.

    Returns
    -------
    array
        float32 if the answer was in single precision or less, so that what is computed of it is compared as such; else
        float64.

    Raises
    ------
    AssertionError
        If it is no array of finite real numbers, or of another shape.

    Examples
    --------
    >>> numbers("the variance", [[2]], ())
    array(2.)
    >>> numbers("the rows", [[1], [2, 3]])
    Traceback (most recent call last):
    ...
    AssertionError: the rows: there are rows of 1 to 2 entries; expected real numbers, all rows of one length
    """
    values = _array(name, got)
    if shape is not None and values.size == 1 and set(shape) <= {1}:
        values = values.reshape(shape)
    if shape is not None and values.shape != shape:
        turned = ": is it transposed?" if values.T.shape == shape else ""
        raise AssertionError(f"{name}: the shape is {values.shape}; expected {shape}{turned}")
    if not np.isfinite(values).all():
        count = np.sum(~np.isfinite(values))
        raise AssertionError(f"{name}: {count} of {values.size} entries are not finite; expected finite numbers")
    return values


def entries(name: str, got: Any, wanted: int | Collection[Any]) -> list[Any]:
    """The parts of an answer that is a list or a dictionary.

    Parameters
    ----------
    name : str
        What the answer is called in the message.
    got : list, tuple, array or dict
    wanted : int or collection
        How many entries a list has, or the keys of a dictionary.

    Returns
    -------
    list
        In the order of the keys.

    Raises
    ------
    AssertionError
        If it is something else, or has other entries.

    Examples
    --------
    >>> entries("errors by side", {8: 0.1, 4: 0.2}, (4, 8))
    [0.2, 0.1]
    >>> entries("h, v, d", (1.0, 2.0), 3)
    Traceback (most recent call last):
    ...
    AssertionError: h, v, d: there are 2 entries; expected 3
    """
    if isinstance(wanted, int):
        count = len(got) if isinstance(got, list | tuple) or np.ndim(got) else None
        if count is None:
            raise AssertionError(f"{name} is {_shown(got)}; expected a list of {wanted} entries")
        if count != wanted:
            raise AssertionError(f"{name}: there are {count} entries; expected {wanted}")
        return list(got)
    if not isinstance(got, dict):
        raise AssertionError(f"{name} is {_shown(got)}; expected a dictionary with the keys {_listed(wanted)}")
    if set(got) != set(wanted):
        raise AssertionError(f"{name}: the keys are {_listed(got)}; expected {_listed(wanted)}")
    return [got[key] for key in wanted]


def _array(name: str, got: Any) -> np.ndarray:
    """An answer as an array of real numbers: float32 if it came in single precision or less, else float64."""
    if got is None:
        raise AssertionError(f"{name} is None; expected numbers: is a return missing?")
    try:
        if hasattr(got, "detach"):
            got = got.detach().cpu().resolve_conj()
            got = got.float() if got.is_floating_point() and got.element_size() < 4 else got  # bfloat16 too
        values = np.asarray(got)
        if values.dtype.kind in "biufO":
            return values.astype(np.float32 if values.dtype in (np.float32, np.float16) else np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        values = np.asarray(None)
    if np.iscomplexobj(values):
        raise AssertionError(f"{name} is complex; expected real numbers: take the real part, if the other is rounding")
    rows = got if isinstance(got, list | tuple) else []
    lengths = {len(row) for row in rows if isinstance(row, list | tuple) or bool(getattr(row, "ndim", 0))}
    if len(lengths) > 1:
        raise AssertionError(
            f"{name}: there are rows of {min(lengths)} to {max(lengths)} entries; expected real numbers, all rows of "
            f"one length"
        )
    raise AssertionError(f"{name} is {_shown(got)}; expected real numbers")


def _shown(got: Any) -> str:
    """An answer that is none, in a few words."""
    text, kind = " ".join(repr(got).split()), f"of type {type(got).__name__}"
    return "None: is a return missing?" if got is None else f"{text}, {kind}" if len(text) <= SHOWN else kind


def _listed(keys: Collection[Any]) -> str:
    return ", ".join(map(str, keys)) or "none"


def _told_apart(value: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ."""
    digits = next((d for d in range(6, 17) if f"{value:.{d}g}" != f"{other:.{d}g}"), 17)
    return f"{value:.{digits}g}", f"{other:.{digits}g}"


def _slip(got: np.ndarray, expected: np.ndarray, rtol: float, atol: float, is_single: bool) -> str:
    """The slip that explains the difference, or where the difference is largest."""

    def agrees(values: np.ndarray) -> bool:
        return values.shape == expected.shape and np.allclose(values, expected, rtol, atol)

    largest = float(np.abs(expected).max())
    if not is_single and np.allclose(got, expected, SINGLE, SINGLE * largest):
        return "it is right to single precision only; expected double: compute in float64 from the start"
    if is_single and np.allclose(got, expected, ROUGH, ROUGH * largest):
        error = float(np.abs(got - expected).max())
        return f"it is off by {error / largest:.0e} of the largest entry, in float32: compute in float64"
    if agrees(-got):
        return "the sign is wrong (all entries are minus what is expected)"
    if got.ndim == 2 and agrees(got.T):
        return "it is transposed"
    if got.size == 1:
        return "it is {}; expected {}".format(*_told_apart(got.item(), expected.item()))
    factor = np.vdot(got, expected) / np.vdot(got, got) if got.any() else 0.0
    if factor and agrees(factor * got):
        return f"it is off by a factor: {_told_apart(1 / factor, 1.0)[0]} times what is expected"
    for axis in range(got.ndim):
        if agrees(np.flip(got, axis)):
            return f"the order along axis {axis} is reversed"
        for step in (1, -1):
            if agrees(np.roll(got, step, axis)):
                return f"it is shifted by one along axis {axis}"
    wrong = np.sum(~np.isclose(got, expected, rtol, atol))
    worst = np.unravel_index(np.argmax(np.abs(got - expected)), got.shape)
    value, right = _told_apart(got[worst], expected[worst])
    return (
        f"{wrong} of {got.size} entries are wrong, the worst at index {', '.join(map(str, worst))}: {value}, "
        f"expected {right}"
    )
