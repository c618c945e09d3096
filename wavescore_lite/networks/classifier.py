"""A small classifier of digits, trained here, whose features samples are compared by; and its weights as files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import relu

from ..support.checks import check_device, check_images, check_size
from ..support.storage import read_rows
from ..support.weights import TABLE, list_weights, read_weights

CLASSIFIERS = Path(__file__).parent / "classifiers"
CLASSES, FEATURES = 10, 64
CHANNELS = (24, 48, 96)  # of three convolutions, each of which halves the image
BATCH_PIXELS = 2**18  # of images at a time


class Classifier(nn.Module):
    """Three strided convolutions, a layer of 64 features, ten classes.

    Each feature has mean 0 and variance 1 over the training images, shifted as they are in training. That gives
    distances a scale: a feature vector is sqrt(64) from the mean, on average in the square. There are 151,346 weights
    for images of 32 x 32.

    Parameters
    ----------
    size : int
        Pixels along a side, a power of two >= 8.

    Examples
    --------
    >>> classifier = Classifier(size=8)
    >>> classifier.features(torch.rand(3, 8, 8)).shape, classifier.classify(torch.rand(3, 8, 8)).shape
    (torch.Size([3, 64]), torch.Size([3]))
    """

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.size = check_size(size)
        widths = (1, *CHANNELS)
        blocks: list[nn.Module] = []
        for inner, outer in zip(widths, CHANNELS, strict=False):
            blocks += [nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        seen = CHANNELS[-1] * (size // 2 ** len(CHANNELS)) ** 2
        self.embed = nn.Sequential(
            *blocks, nn.Flatten(), nn.Linear(seen, FEATURES, bias=False), nn.BatchNorm1d(FEATURES, affine=False)
        )
        self.head = nn.Linear(FEATURES, CLASSES)
        self.eval()

    def __repr__(self) -> str:
        return f"Classifier(size={self.size})"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [n, 10] of images [n, size, size] in [0, 1], unchecked and differentiable."""
        return self.head(relu(self.embed(images[:, None])))

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """What the last layer sees of each image, before it is rectified.

        Parameters
        ----------
        images : tensor [n, size, size], float32 or float64
            Values outside [0, 1] are clipped first: no image has them, but a sample may.

        Returns
        -------
        tensor [n, 64], float32

        Raises
        ------
        TypeError, ValueError
            For other images, of another size, or with NaN or infinity.
        """
        images, count = check_images(images, self.size), max(1, BATCH_PIXELS // self.size**2)
        weights = self.head.weight
        return torch.cat([self.embed(part.clamp(0, 1).to(weights)[:, None]) for part in images.split(count)])

    @torch.no_grad()
    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """The most probable class of each image, int64 [n]; the arguments and errors of `features`."""
        return self.head(relu(self.features(images))).argmax(dim=1)


def classifier_file(dataset: str, size: int) -> str:
    """Name of the file that holds trained weights; the log of the training beside it ends in .csv.

    Examples
    --------
    >>> classifier_file("mnist", 32)
    'classifier-mnist-32.safetensors'
    """
    return f"classifier-{dataset}-{size}.safetensors"


def save_classifier(classifier: Classifier, folder: str | Path, dataset: str, command: str) -> dict[str, str]:
    """Write the weights in half precision to `folder`, and their checksum to its table, in place of an earlier line.

    Parameters
    ----------
    classifier : Classifier
    folder : path
        Where the safetensors file and ``table.csv`` go; it must be there.
    dataset : str
        What it was trained on.
    command : str
        How to train it again.

    Returns
    -------
    dict
        The line of the table: dataset, size, sha256, command.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> line = save_classifier(Classifier(size=8), folder, "strokes", "wavescore train-classifier --size 8")
    >>> load_classifier("strokes", 8, folder)
    Classifier(size=8)
    """
    state, path = classifier.state_dict(), Path(folder, classifier_file(dataset, classifier.size))
    weights = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    return list_weights(path, weights, {"dataset": dataset, "size": str(classifier.size)}, {}, command)


def load_classifier(
    dataset: str = "mnist", size: int = 32, folder: str | Path = CLASSIFIERS, device: str = "cpu"
) -> Classifier:
    """Load a trained classifier, after its checksum was compared with the table beside it.

    Those of the package are right on 99.55 % of mnist's test images and on 99.93 % of strokes'.

    Parameters
    ----------
    dataset : str
        What it was trained on: with the package come "mnist" and "strokes".
    size : int
        Pixels along a side of the images; 32 with the package.
    folder : path
        Where the weights lie, with their ``table.csv``: those of the package, or what `wavescore train-classifier`
        wrote.
    device : {"cpu", "cuda"}

    Returns
    -------
    Classifier

    Raises
    ------
    ValueError
        If there is none for such images, with a list of those there are, or its file is damaged.
    FileNotFoundError
        If the file that the table names is missing.

    Examples
    --------
    >>> from wavescore_lite import load_images, load_labels
    >>> images, labels = (load("strokes", split="test", limit=100) for load in (load_images, load_labels))
    >>> (load_classifier("strokes").classify(images) == labels).float().mean() > 0.95
    tensor(True)
    """
    check_device(device)
    rows = {(row["dataset"], row["size"]): row for row in read_rows(Path(folder) / TABLE)}
    row = rows.get((dataset, str(size)))
    if row is None:
        there = ", ".join(f"{d} ({s} x {s})" for d, s in rows)
        raise ValueError(
            f"there is no trained classifier for {dataset} at {size} x {size} in {folder}; "
            f"expected one of {there or 'none: train one with `wavescore train-classifier`'}"
        )
    classifier = Classifier(size)
    classifier.load_state_dict(read_weights(Path(folder) / classifier_file(dataset, size), row["sha256"]))
    return classifier.requires_grad_(False).to(device)
