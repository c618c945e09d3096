"""Images in [0, 1] and their classes: MNIST where it lies or can be fetched, else digits drawn by the package."""

import io
import operator
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate
from tqdm import tqdm

from ..support.checks import check_choice
from ..support.storage import cache_folder, whole_file
from . import mnist, strokes
from .mnist import COUNTS, Place

NAMES = ("auto", "mnist", "strokes")
MIN_SIZE = 8
_FIRST_ITEM = {"train": 0, "test": COUNTS["train"]}
_SHARD = 2000
_CHUNK = 2048


def load_images(
    name: str = "auto",
    size: int = 32,
    split: str = "train",
    limit: int | None = None,
    root: str | Path | None = None,
) -> torch.Tensor:
    """Load the first `limit` images of a split.

    Strokes are drawn at `size`. MNIST is resized from 28 to `size` as floats in [0, 1], bilinearly with antialiasing
    (``torch.nn.functional.interpolate(mode="bilinear", antialias=True)``, the kernel of torchvision's ``resize``); at
    28 it is untouched. The kind of resize alone moves denoising errors by 5 to 10 percent.

    Parameters
    ----------
    name : {"auto", "mnist", "strokes"}
        ``"auto"`` is decided by `resolve_dataset`.
    size : int
        Pixels along a side, at least 8.
    split : {"train", "test"}
        60,000 or 10,000 images.
    limit : int, optional
        How many images, from the first on; all of them if None.
    root : path, optional
        The only folder in which to look for ``MNIST/raw``.

    Returns
    -------
    float32 tensor [n, size, size]
        Ink in [0, 1].

    Raises
    ------
    ValueError
        An unknown name or split, a size or limit out of range, or an MNIST file that is damaged.
    TypeError
        A size or limit that is not a whole number.
    FileNotFoundError
        MNIST was asked for and is not there, or one of its files is missing.

    Examples
    --------
    >>> load_images("strokes", size=16, limit=3).shape
    torch.Size([3, 16, 16])
    """
    count = _check_request(name, split, limit)
    size = _whole("size", size)
    if size < MIN_SIZE:
        raise ValueError(f"size is {size}; expected at least {MIN_SIZE} pixels")
    if resolve_dataset(name, root) == "mnist":
        return _resize(_read_mnist(root, split, "images")[:count], size)
    return torch.from_numpy(_stroke_images(size, split, count)).float().div_(255)


def load_labels(
    name: str = "auto", split: str = "train", limit: int | None = None, root: str | Path | None = None
) -> torch.Tensor:
    """Load the classes of the images that `load_images` returns; parameters and errors are the same.

    Returns
    -------
    int64 tensor [n]
        Digits 0 to 9.

    Examples
    --------
    >>> load_labels("strokes", limit=4)
    tensor([6, 2, 4, 7])
    """
    count = _check_request(name, split, limit)
    if resolve_dataset(name, root) == "mnist":
        return torch.from_numpy(_read_mnist(root, split, "labels")[:count].astype(np.int64))
    return torch.from_numpy(strokes.labels(_stroke_items(split, 0, count)))


def resolve_dataset(name: str = "auto", root: str | Path | None = None) -> str:
    """Say which dataset `name` means here: ``"mnist"`` or ``"strokes"``.

    ``"auto"`` means MNIST where it is found or can be fetched, else strokes: decided once per process, and said in
    one line on stderr. A damaged or incomplete MNIST is an error even so. Parameters and errors are those of
    `load_images`.

    Examples
    --------
    >>> resolve_dataset("strokes")
    'strokes'
    """
    check_choice("dataset", name, NAMES)
    if name == "strokes":
        return name
    place = mnist.places(root)[0]
    if name == "auto":
        return _decide(place)
    _ensure(place)
    return name


def where(root: str | Path | None = None) -> list[tuple[str, Path, str]]:
    """List the places where MNIST may lie, the one that decides first; fetches nothing.

    Returns
    -------
    list of (name, folder, state)
        The state is ``"found"``, ``"no MNIST"``, ``"not looked at"`` (an earlier place decides) or, where the copy is
        damaged, a sentence that says how.
    """
    chosen, *others = mnist.places(root)
    try:
        state = "found" if mnist.is_complete(chosen.folder) else "no MNIST"
    except (ValueError, OSError) as error:
        state = str(error)
    return [(*chosen, state), *((*place, "not looked at") for place in others)]


def _whole(what: str, given: int) -> int:
    if isinstance(given, bool):
        raise TypeError(f"{what} is {given}; expected a whole number")
    try:
        return operator.index(given)
    except TypeError:
        raise TypeError(f"{what} is {given!r}; expected a whole number") from None


def _check_request(name: str, split: str, limit: int | None) -> int:
    """Number of items asked for."""
    check_choice("dataset", name, NAMES)
    check_choice("split", split, tuple(COUNTS))
    if limit is None:
        return COUNTS[split]
    limit = _whole("limit", limit)
    if not 1 <= limit <= COUNTS[split]:
        raise ValueError(f"limit is {limit}; expected None or 1 to {COUNTS[split]} for the split {split!r}")
    return limit


def _read_mnist(root: str | Path | None, split: str, kind: str) -> np.ndarray:
    return mnist.read(mnist.places(root)[0].folder, split, kind)


def _resize(images: np.ndarray, size: int) -> torch.Tensor:
    """Bytes [n, h, h] to floats in [0, 1], float32 [n, size, size]."""
    resized = torch.empty(len(images), size, size)
    for start in range(0, len(images), _CHUNK):
        pixels = torch.from_numpy(images[start : start + _CHUNK].astype(np.float32) / 255)[:, None]
        if pixels.shape[-1] != size:
            pixels = interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
        resized[start : start + _CHUNK] = pixels[:, 0]
    return resized.clamp_(0, 1)


_ensure = cache(mnist.ensure)


@cache
def _decide(place: Place) -> str:
    try:
        how = _ensure(place)
    except mnist.MnistUnavailable as error:
        print(f"wavescore: the dataset is strokes, because {error}", file=sys.stderr)
        return "strokes"
    print(f"wavescore: the dataset is mnist, {how}", file=sys.stderr)
    return "mnist"


def _stroke_items(split: str, start: int, stop: int) -> np.ndarray:
    return _FIRST_ITEM[split] + np.arange(start, stop)


def _stroke_images(size: int, split: str, count: int) -> np.ndarray:
    """The first `count` strokes of a split, uint8 [count, size, size], drawn in shards that the cache folder keeps."""
    starts = range(0, count, _SHARD)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        shards = pool.map(partial(_stroke_shard, size, split, count), starts)
        bar = tqdm(shards, total=len(starts), desc=f"strokes at {size} x {size}", delay=2, disable=None)
        return np.concatenate(list(bar))


def _stroke_shard(size: int, split: str, count: int, start: int) -> np.ndarray:
    """Strokes from `start` to the end of its shard or to `count`; only whole shards are kept."""
    stop, end = min(start + _SHARD, count), min(start + _SHARD, COUNTS[split])
    file = cache_folder() / "strokes" / f"v{strokes.VERSION}-{size}-{split}-{start}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        images = np.load(io.BytesIO(file.read_bytes()))["images"]
        if images.shape == (end - start, size, size) and images.dtype == np.uint8:
            return images[: stop - start]
    images = strokes.draw(_stroke_items(split, start, stop), size)
    if stop == end:
        with suppress(OSError):
            _keep(file, images)
    return images


def _keep(file: Path, images: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as stream:
        np.savez(stream, images=images)
