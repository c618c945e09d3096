"""Weights of trained networks as files, with a table of their checksums: the package's, and one's own."""

from __future__ import annotations

from pathlib import Path

from ..support.checks import check_device
from ..support.storage import read_rows
from ..support.weights import TABLE, list_weights, read_weights
from .networks import Network

WEIGHTS = Path(__file__).parent / "weights"


def weights_file(name: str, size: int, dataset: str, seed: int = 0) -> str:
    """Name of the file that holds trained weights; a seed other than 0 is named.

    Examples
    --------
    >>> weights_file("cnn", 32, "mnist"), weights_file("cnn", 32, "mnist", seed=1)
    ('cnn-mnist-32.safetensors', 'cnn-mnist-32-seed-1.safetensors')
    """
    return f"{name}-{dataset}-{size}{f'-seed-{seed}' if seed else ''}.safetensors"


def log_file(name: str, size: int, dataset: str, seed: int = 0) -> str:
    """Name of the log of its training, beside it.

    Examples
    --------
    >>> log_file("cnn", 32, "mnist")
    'cnn-mnist-32.csv'
    """
    return str(Path(weights_file(name, size, dataset, seed)).with_suffix(".csv"))


def trained(dataset: str, size: int, folder: str | Path = WEIGHTS) -> list[dict[str, str]]:
    """Lines of the table of the networks in `folder` that were trained on a dataset: see `save_network`."""
    rows = read_rows(Path(folder) / TABLE)
    return [row for row in rows if (row["dataset"], row["size"]) == (dataset, str(size))]


def training_log(
    name: str, size: int = 32, dataset: str = "mnist", folder: str | Path = WEIGHTS, seed: int = 0
) -> list[dict[str, str]]:
    """How a network was trained: the lines that `train` wrote, empty if there is no log."""
    return read_rows(Path(folder) / log_file(name, size, dataset, seed))


def save_network(network: Network, folder: str | Path, dataset: str, command: str, seed: int = 0) -> dict[str, str]:
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
    seed : int
        Of its training: networks of one design and several seeds lie side by side.

    Returns
    -------
    dict
        The line of the table: network, dataset, size, seed, noise, sha256, command.

    Examples
    --------
    >>> import tempfile
    >>> folder, network = tempfile.mkdtemp(), Network("cnn", size=16, mean=0.1, sigma_data=0.3)
    >>> line = save_network(network, folder, "strokes", "wavescore train cnn --size 16")
    >>> load_network("cnn", 16, "strokes", folder)
    Network('cnn', size=16)
    """
    what = {"network": network.name, "dataset": dataset, "size": str(network.size), "seed": str(seed)}
    path = Path(folder, weights_file(network.name, network.size, dataset, seed))
    return list_weights(path, network.state_dict(), what, {"noise": network.noise}, command)


def load_network(
    name: str,
    size: int = 32,
    dataset: str = "mnist",
    folder: str | Path = WEIGHTS,
    device: str = "cpu",
    seed: int = 0,
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
    seed : int
        Of its training: some designs were trained twice, to see what chance does.

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
    ValueError: there is no trained network 'unet-vast' for mnist at 32 x 32, seed 0, in ...; expected one of ...
    """
    check_device(device)
    rows = {(row["network"], row["dataset"], row["size"], row["seed"]): row for row in read_rows(Path(folder) / TABLE)}
    row = rows.get((name, dataset, str(size), str(seed)))
    if row is None:
        there = ", ".join(f"{n} ({d}, {s}{f', seed {k}' if k != '0' else ''})" for n, d, s, k in rows)
        raise ValueError(
            f"there is no trained network {name!r} for {dataset} at {size} x {size}, seed {seed}, "
            f"in {folder}; expected one of {there or 'none: train one with `wavescore train`'}"
        )
    weights = read_weights(Path(folder) / weights_file(name, size, dataset, seed), row["sha256"])
    network = Network(name, size, noise=row["noise"])
    network.load_state_dict(weights)
    return network.requires_grad_(False).to(device)
