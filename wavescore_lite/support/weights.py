"""Weights as safetensors files, written whole and read only if their checksum is the one that was noted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from .storage import read_rows, whole_file, write_rows

TABLE = "table.csv"  # of weights in a folder, with their checksums


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


def list_weights(
    path: Path, weights: Mapping[str, torch.Tensor], what: Mapping[str, str], how: Mapping[str, str], command: str
) -> dict[str, str]:
    """Write tensors to `path`, and a line on them to the table beside it, in place of an earlier one on the same.

    Parameters
    ----------
    path : Path
        Its folder must be there.
    weights : mapping of str to tensor
    what, how : mapping of str to str
        Columns by which lines are told apart, and those in which they may differ.
    command : str
        How to make the weights again.

    Returns
    -------
    dict
        The line: `what`, `how`, sha256, command.
    """
    table = path.with_name(TABLE)
    others = [row for row in read_rows(table) if what.items() - row.items()]
    line = {**what, **how, "sha256": write_weights(path, weights), "command": command}
    write_rows(table, [*others, line])
    return line


def read_weights(path: str | Path, sha256: str) -> dict[str, torch.Tensor]:
    """Read what `write_weights` wrote; a ValueError if the file has another checksum than `sha256`."""
    content = Path(path).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} is damaged or was replaced: its sha256 is {found}; expected {sha256}")
    return safetensors.torch.load(content)
