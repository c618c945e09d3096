"""What users give for a tensor: NumPy arrays of any layout, lists, tensors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch


def as_tensor(name: str, values: Any) -> torch.Tensor:
    """Return `values` as a tensor, or say that they are none; arrays share their memory, where torch can have it so.

    Examples
    --------
    >>> as_tensor("images", None)
    Traceback (most recent call last):
    ...
    TypeError: images are of type NoneType; expected a dense tensor or an array of numbers
    """
    if isinstance(values, np.ndarray) and not (values.dtype.isnative and min(values.strides, default=0) >= 0):
        values = np.array(values, values.dtype.newbyteorder("="), order="C")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writ", UserWarning)  # nor is it written to
            tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        tensor = None
    if tensor is None or tensor.layout != torch.strided:
        kind = f"array of {values.dtype}" if isinstance(values, np.ndarray) else f"type {type(values).__name__}"
        raise TypeError(f"{name} are of {kind}; expected a dense tensor or an array of numbers")
    return tensor
