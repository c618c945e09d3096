"""Weights of trained networks as files, with a table of their checksums: the package's, and one's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch

from ..support.checks import check_device
from ..support.storage import read_rows, whole_file, write_rows
from .networks import Network

WEIGHTS = Path(__file__).parent / "weights"
TABLE = "table.csv"


def weights_file(name: str, size: int, dataset: str) -> str:
    """Name of the file that holds trained weights.

    Examples
    --------
    >>> weights_file("cnn", 32, "mnist")
    'cnn-mnist-32.safetensors'
    """
    return f"{name}-{dataset}-{size}.safetensors"


def log_file(name: str, size: int, dataset: str) -> str:
    """Name of the log of its training, beside it.

    Examples
    --------
    >>> log_file("cnn", 32, "mnist")
    'cnn-mnist-32.csv'
    """
    return str(Path(weights_file(name, size, dataset)).with_suffix(".csv"))


def trained(dataset: str, size: int, folder: str | Path = WEIGHTS) -> list[dict[str, str]]:
    """Lines of the table of the networks in `folder` that were trained on a dataset: see `save_network`."""
    rows = read_rows(Path(folder) / TABLE)
    return [row for row in rows if (row["dataset"], row["size"]) == (dataset, str(size))]


def training_log(
    name: str, size: int = 32, dataset: str = "mnist", folder: str | Path = WEIGHTS
) -> list[dict[str, str]]:
    """How a network was trained: the lines that `train` wrote, empty if there is no log."""
    return read_rows(Path(folder) / log_file(name, size, dataset))


def save_network(network: Network, folder: str | Path, dataset: str, command: str) -> dict[str, str]:
    """Write the weights to `folder`, and their checksum to its table, in place of an earlier line on the same network.

    Parameters
    ----------
    network : Network
    folder : path
        Where the safetensors file and ``table.csv`` go; it must be there.
    dataset : str
        What the network was trained on, one of `data.registry.NAMES`.
    command : str
        How to train it again.

    Returns
    -------
    dict
        The line of the table: network, dataset, size, sha256, command.

    Examples
    --------
    >>> import tempfile
    >>> folder, network = tempfile.mkdtemp(), Network("cnn", size=16, mean=0.1, sigma_data=0.3)
    >>> line = save_network(network, folder, "strokes", "wavescore train cnn --size 16")
    >>> load_network("cnn", 16, "strokes", folder)
    Network('cnn', size=16)
    """
    folder = Path(folder)
    content = safetensors.torch.save({key: value.cpu().contiguous() for key, value in network.state_dict().items()})
    line = {"network": network.name, "dataset": dataset, "size": str(network.size)}
    others = [row for row in read_rows(folder / TABLE) if line.items() - row.items()]
    line |= {"sha256": hashlib.sha256(content).hexdigest(), "command": command}
    with whole_file(folder / weights_file(network.name, network.size, dataset)) as file:
        file.write(content)
    write_rows(folder / TABLE, [*others, line])
    return line


def load_network(
    name: str, size: int = 32, dataset: str = "mnist", folder: str | Path = WEIGHTS, device: str = "cpu"
) -> Network:
    """Load a trained network, after its checksum was compared with the table beside it.

    Parameters
    ----------
    name : str
        A design, see `Network`.
    size : int
        Pixels along a side of the images.
    dataset : str
        What it was trained on, one of `data.registry.NAMES`.
    folder : path
        Where the weights lie, with their ``table.csv``: those of the package, or what `wavescore train` wrote.
    device : {"cpu", "cuda"}

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        If no such network is in the table, which the error lists, or its file is damaged.
    FileNotFoundError
        If a file that the table names is missing.

    Examples
    --------
    >>> load_network("unet-vast")
    Traceback (most recent call last):
    ...
    ValueError: there is no trained network 'unet-vast' for mnist at 32 x 32 in ...; expected one of ...
    """
    check_device(device)
    table = {(row["network"], row["dataset"], row["size"]): row["sha256"] for row in read_rows(Path(folder) / TABLE)}
    expected = table.get((name, dataset, str(size)))
    if expected is None:
        there = ", ".join(f"{n} ({d}, {s})" for n, d, s in table) or "none: train one with `wavescore train`"
        raise ValueError(
            f"there is no trained network {name!r} for {dataset} at {size} x {size} in {folder}; "
            f"expected one of {there}"
        )
    path = Path(folder) / weights_file(name, size, dataset)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"{path} is damaged or was replaced: its sha256 is {found}; expected {expected}")
    network = Network(name, size)
    network.load_state_dict(safetensors.torch.load(content))
    return network.requires_grad_(False).to(device)
