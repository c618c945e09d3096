"""Weights as safetensors files, written whole and read only if their checksum is the one that was noted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from .storage import whole_file


def write_weights(path: str | Path, weights: Mapping[str, torch.Tensor]) -> str:
    """Write tensors to `path`, all of them or nothing, and return the sha256 of the file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "weights.safetensors")
    >>> read_weights(path, write_weights(path, {"bias": torch.ones(2)}))
    {'bias': tensor([1., 1.])}
    """
    content = safetensors.torch.save({name: value.cpu().contiguous() for name, value in weights.items()})
    with whole_file(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def read_weights(path: str | Path, sha256: str) -> dict[str, torch.Tensor]:
    """Read what `write_weights` wrote; a ValueError if the file has another checksum than `sha256`."""
    content = Path(path).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} is damaged or was replaced: its sha256 is {found}; expected {sha256}")
    return safetensors.torch.load(content)
