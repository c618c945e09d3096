"""Images in [0, 1] and their classes, of any data set in the registry, or of the one that is at hand."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import torch

from ..support.checks import SMALLEST_SIDE, check_choice, check_integer
from . import registry
from .protocol import Dataset, DataUnavailable, Files, Place, Root
from .registry import AUTO, dataset


def load_images(
    name: str = "auto", size: int = 32, split: str = "train", limit: int | None = None, root: Root = None
) -> torch.Tensor:
    """Load the first `limit` images of a split.

    Strokes are drawn at `size`. MNIST is resized from 28 to `size` as floats in [0, 1], bilinearly with antialiasing
    (``torch.nn.functional.interpolate(mode="bilinear", antialias=True)``, the kernel of torchvision's ``resize``); at
    28 it is untouched. The kind of resize alone moves denoising errors by 5 to 10 percent.

    Parameters
    ----------
    name : str
        One of `registry.NAMES`, or ``"auto"``, which `resolve_dataset` decides.
    size : int
        Pixels along a side, at least 8.
    split : str
        Such as "train" or "test": the ``counts`` of the data set say which it has, and how many images are in each.
    limit : int, optional
        How many images, from the first on; all of them if None.
    root : path, optional
        The only folder in which to look for files, such as those of ``MNIST/raw``.

    Returns
    -------
    float32 tensor [n, size, size]
        Ink in [0, 1].

    Raises
    ------
    ValueError
        An unknown name or split, a size or limit that is no integer or out of range, or a file that is damaged.
    FileNotFoundError
        A data set was asked for that is not there, or one of its files is missing.

    Examples
    --------
    >>> load_images("strokes", size=16, limit=3).shape
    torch.Size([3, 16, 16])
    """
    size = check_integer("size", size, SMALLEST_SIDE)
    chosen, count = _request(name, split, limit, root)
    return chosen.images(size, split, count, root)


def load_labels(name: str = "auto", split: str = "train", limit: int | None = None, root: Root = None) -> torch.Tensor:
    """Load the classes of the images that `load_images` returns; parameters and errors are the same.

    Returns
    -------
    int64 tensor [n]
        From 0 on: the digit that is written, for MNIST and for strokes.

    Examples
    --------
    >>> load_labels("strokes", limit=4)
    tensor([6, 2, 4, 7])
    """
    chosen, count = _request(name, split, limit, root)
    return chosen.labels(split, count, root)


def resolve_dataset(name: str = "auto", root: Root = None) -> str:
    """Say which data set of the registry `name` means here.

    ``"auto"`` means the first of `registry.AUTO`, MNIST, where it is found or can be fetched, else the second, strokes:
    decided once per process, and said in one line on stderr. A damaged or incomplete copy is an error even so.
    Parameters and errors are those of `load_images`.

    Examples
    --------
    >>> resolve_dataset("strokes")
    'strokes'
    """
    check_choice("dataset", name, ("auto", *registry.NAMES))
    chosen = AUTO[0] if name == "auto" else name
    files = dataset(chosen).files
    if files is None:
        return chosen
    place = next(iter(files.places(root)), None)
    if name == "auto":
        return _decide(files, place)
    _ensure(files, place)
    return chosen


def where(root: Root = None, name: str = AUTO[0]) -> list[tuple[str, Path, str]]:
    """List the places where a data set may lie, the one that decides first; fetches nothing.

    Returns
    -------
    list of (name, folder, state)
        The state is ``"found"``, ``"not looked at"`` (an earlier place decides), a few words such as ``"no MNIST"`` or,
        where the copy is damaged, a sentence that says how. A data set that the package draws has no places.
    """
    files = dataset(name).files
    if files is None:
        return []
    places = files.places(root)
    return [(*place, "not looked at" if k else files.state(place)) for k, place in enumerate(places)]


def _request(name: str, split: str, limit: int | None, root: Root) -> tuple[Dataset, int]:
    """The data set, which is there, and how many of its items are asked for."""
    chosen = dataset(resolve_dataset(name, root))
    most = chosen.counts[check_choice("split", split, tuple(chosen.counts))]
    return chosen, most if limit is None else check_integer("limit", limit, 1, most)


@cache
def _ensure(files: Files, place: Place | None) -> str:
    if place is None:
        nowhere = "this user has no home directory; expected WAVESCORE_DATA or XDG_CACHE_HOME"
        raise DataUnavailable(f"there is no folder to look for {files.title} in: {nowhere}")
    return files.ensure(place)


@cache
def _decide(files: Files, place: Place | None) -> str:
    preferred, otherwise = AUTO
    try:
        how = _ensure(files, place)
    except DataUnavailable:
        what = files.title
        print(
            f"{what} not found: using the built-in {otherwise}. `wavescore data` says how to get {what}.",
            file=sys.stderr,
        )
        return otherwise
    print(f"wavescore: the dataset is {preferred}, {how}", file=sys.stderr)
    return preferred
