"""What is refused at the door, and in which words: every error names what was given and what was expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np
import torch
from torch.autograd import forward_ad

from .arrays import as_tensor

SMALLEST_SIDE = 8
LEAST_SIGMA, MOST_SIGMA = 1e-15, 1e15  # their squares are numbers in single precision, their powers in double

Shape = tuple[int, int]
T = TypeVar("T")


def check_images(
    images: torch.Tensor,
    shape: int | Sequence[int] | None = None,
    value_range: tuple[float, float] | None = None,
    finite: bool = True,
    graph: bool = False,
) -> torch.Tensor:
    """Return `images` as a floating tensor [n, height, width], or say what is wrong with it.

    Parameters
    ----------
    images : tensor or array [n, height, width], float32 or float64
    shape : int or (int, int), optional
        Required height and width in pixels, one number for a square; any are taken when it is omitted.
    value_range : (float, float), optional
        Closed interval that every pixel must lie in.
    finite : bool
        Whether to look for NaN and infinity, which reads every pixel.
    graph : bool
        Whether the images stay in their autograd graph.

    Returns
    -------
    torch.Tensor
        The same values and dtype; NumPy arrays share their memory.

    Raises
    ------
    TypeError
        If the values are not float32 or float64.
    ValueError
        If the shape, a NaN or infinity, or the range is wrong.

    Examples
    --------
    >>> check_images(torch.zeros(5, 8, 8, dtype=torch.uint8))
    Traceback (most recent call last):
    ...
    TypeError: images have dtype uint8; expected float32 or float64 (for bytes: images.float() / 255)
    """
    images = as_tensor("images", images)
    images = images if graph else images.detach()
    if images.dtype not in (torch.float32, torch.float64):
        given = str(images.dtype).removeprefix("torch.")
        raise TypeError(f"images have dtype {given}; expected float32 or float64 (for bytes: images.float() / 255)")
    sides = shape if isinstance(shape, Sequence) else (shape, shape)
    required = None if shape is None else tuple(sides)
    expected = "[n, height, width]" if required is None else f"[n, {required[0]}, {required[1]}]"
    found = list(images.shape)
    if len(found) == 2:
        raise ValueError(f"images have shape {found}; expected {expected}: add the first axis, images[None]")
    if len(found) != 3 or (required is not None and tuple(found[1:]) != required):
        raise ValueError(f"images have shape {found}; expected {expected}: one grayscale channel")
    if found[0] == 0:
        raise ValueError(f"too few images: got 0 of shape {found}; expected at least 1")
    if finite and not transformed() and not is_finite(images):
        raise ValueError(f"images {found} hold NaN or infinity; expected finite values")
    if value_range is not None:
        low, high = (end.item() for end in torch.aminmax(images))
        if low < value_range[0] or high > value_range[1]:
            raise ValueError(f"images lie in [{low:.4g}, {high:.4g}]; expected values in {list(value_range)}")
    return images


def is_finite(values: torch.Tensor) -> bool:
    """Whether there is no NaN and no infinity: one read, as both survive a sum; a sum that overflows is looked into."""
    return math.isfinite(values.sum().item()) or bool(values.isfinite().all())


def transformed() -> bool:
    """Whether a transform of torch.func is at work, under which values are not to be looked at."""
    return torch._C._are_functorch_transforms_active()


def untransformed() -> AbstractContextManager[Any]:
    """A context where operations are no part of a transform of torch.func: what is made in it has plain values."""
    return torch._C._DisableFuncTorch()


def differentiated(values: torch.Tensor) -> bool:
    """Whether a derivative by these values is asked for: by autograd, in forward mode, or by torch.func."""
    return transformed() or (values.requires_grad and torch.is_grad_enabled()) or forward_ad._current_level >= 0


def check_coefficients(coefficients: torch.Tensor, dim: int) -> torch.Tensor:
    """Return `coefficients` as a floating tensor [n, dim], or say what is wrong with it."""
    coefficients = as_tensor("coefficients", coefficients)
    if coefficients.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"coefficients have dtype {coefficients.dtype}; expected float32 or float64")
    if coefficients.ndim != 2 or coefficients.shape[1] != dim:
        raise ValueError(f"coefficients have shape {list(coefficients.shape)}; expected [n, {dim}]")
    return coefficients


def check_sigma(sigma: float | torch.Tensor | np.ndarray) -> float:
    """Return the noise level `sigma` (in pixel units) as a float; refuse what is not > 0, and from 1e-15 to 1e15.

    Examples
    --------
    >>> check_sigma(0)
    Traceback (most recent call last):
    ...
    ValueError: sigma is 0; expected a finite noise level > 0
    """
    number: Any = sigma
    given = repr(sigma)
    if isinstance(sigma, torch.Tensor | np.ndarray):
        several = math.prod(sigma.shape) != 1
        number, given = (None, f"of shape {list(sigma.shape)}") if several else (sigma.item(), str(sigma))
    if not _is_number(number) or number <= 0:
        raise ValueError(f"sigma is {given}; expected a finite noise level > 0")
    if not LEAST_SIGMA <= number <= MOST_SIGMA:
        raise ValueError(f"sigma is {given}; expected a noise level from {LEAST_SIGMA:g} to {MOST_SIGMA:g}")
    return float(number)


def check_sigmas(sigma: float | torch.Tensor | np.ndarray, count: int) -> float | torch.Tensor:
    """Return one noise level as a float, or one for each of `count` images as a tensor [count], float64, on the CPU.

    Levels of images may have further axes of length 1. Levels that are all the same are one.

    Examples
    --------
    >>> check_sigmas(torch.tensor([1.0, 2.0]).view(2, 1, 1), 2), check_sigmas(torch.ones(5), 5)
    (tensor([1., 2.], dtype=torch.float64), 1.0)
    >>> check_sigmas(torch.ones(3), 2)
    Traceback (most recent call last):
    ...
    ValueError: sigma is of shape [3]; expected one noise level, or one for each of 2 images
    """
    if not isinstance(sigma, torch.Tensor | np.ndarray | Sequence) or math.prod(np.shape(sigma)) == 1:
        return check_sigma(sigma)
    levels = as_tensor("noise levels", sigma).detach()
    if levels.dtype == torch.bool or levels.is_complex():
        raise TypeError(f"noise levels have dtype {levels.dtype}; expected numbers > 0")
    if levels.ndim == 0 or levels.shape[0] != count or levels.numel() != count:
        raise ValueError(
            f"sigma is of shape {list(levels.shape)}; expected one noise level, or one for each of {count} images"
        )
    levels = levels.to("cpu", torch.float64).flatten()
    for end in (levels.min(), levels.max()):
        check_sigma(end)
    return levels[0].item() if (levels == levels[0]).all() else levels


def check_ridge(ridge: float | str) -> float:
    """Return the ridge as a float; refuse what is not finite and >= 0.

    Examples
    --------
    >>> check_ridge(-1)
    Traceback (most recent call last):
    ...
    ValueError: ridge is -1; expected a finite number >= 0
    """
    if not _is_number(ridge) or float(ridge) < 0:
        raise ValueError(f"ridge is {ridge!r}; expected a finite number >= 0")
    return float(ridge)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`; otherwise name the argument and the choices.

    Examples
    --------
    >>> check_choice("target", "noise", ("denoise", "score"))
    Traceback (most recent call last):
    ...
    ValueError: target is 'noise'; expected one of 'denoise', 'score'
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")
    return value


def check_kind(name: str, value: T, kind: type, example: str) -> T:
    """Return `value` if it is of a kind; otherwise name the argument and an example.

    Examples
    --------
    >>> check_kind("basis", 32, torch.Tensor, "torch.ones(1)")
    Traceback (most recent call last):
    ...
    TypeError: basis is 32; expected a Tensor, for example torch.ones(1)
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}; expected a {kind.__name__}, for example {example}")
    return value


def check_interval(name: str, interval: Sequence[float]) -> tuple[float, float]:
    """Return (lowest, highest) as floats; a ValueError for what is none."""
    try:
        low, high = map(float, interval)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low <= high:
        raise ValueError(f"{name} is {interval!r}; expected two numbers, the lowest and the highest")
    return low, high


def check_integer(name: str, value: int, least: int | None = None, most: int | None = None) -> int:
    """Return `value` as an int if it is a whole number, NumPy's too, within its bounds; True and False are none.

    Examples
    --------
    >>> check_integer("radius", 4, 0, 3)
    Traceback (most recent call last):
    ...
    ValueError: radius is 4; expected an integer from 0 to 3
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or (least is not None and value < least) or (most is not None and value > most):
        bounds = "" if least is None else f" >= {least}" if most is None else f" from {least} to {most}"
        raise ValueError(f"{name} is {value!r}; expected an integer{bounds}")
    return int(value)


def check_shape(shape: int | Shape) -> Shape:
    """Return (height, width) of images in pixels, from one number if they are square; each at least 8.

    Examples
    --------
    >>> check_shape(32), check_shape((48, 64))
    ((32, 32), (48, 64))
    >>> check_shape(4)
    Traceback (most recent call last):
    ...
    ValueError: shape is 4; expected a height and a width, or one number for both, each >= 8
    """
    sides = tuple(shape) if isinstance(shape, Sequence) else (shape, shape)
    try:
        height, width = (check_integer("side", side, SMALLEST_SIDE) for side in sides)
    except ValueError:
        raise ValueError(
            f"shape is {shape!r}; expected a height and a width, or one number for both, each >= {SMALLEST_SIDE}"
        ) from None
    return height, width


def check_size(size: int) -> int:
    """Return `size` if it is a power of two, at least 8: what networks that halve images again and again need.

    Examples
    --------
    >>> check_size(24)
    Traceback (most recent call last):
    ...
    ValueError: size is 24; expected a power of two >= 8
    """
    whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
    if not whole or size < SMALLEST_SIDE or size & (size - 1):
        raise ValueError(f"size is {size!r}; expected a power of two >= {SMALLEST_SIDE}")
    return int(size)


def check_device(device: str) -> str:
    """Return `device` if it is "cpu", or "cuda" where there is a GPU.

    Examples
    --------
    >>> check_device("gpu")
    Traceback (most recent call last):
    ...
    ValueError: device is 'gpu'; expected one of 'cpu', 'cuda'
    """
    check_choice("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but torch finds no GPU; expected 'cpu' here")
    return device


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
