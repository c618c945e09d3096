"""MNIST: where its files may lie, how they are read and fetched, how its images come to another size.

The files are looked for in one place: the folder given as `root`, else the one named by the environment variable
``WAVESCORE_DATA``, else the cache folder (``wavescore`` in ``$XDG_CACHE_HOME`` or ``~/.cache``), into which alone
they are downloaded; ``WAVESCORE_OFFLINE=1`` forbids that. In each the layout is torchvision's,
``MNIST/raw/train-images-idx3-ubyte`` and its three companions, gzipped or not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
import urllib.request
import warnings
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from ..support.storage import cache_folder
from .idx import read_idx
from .protocol import Dataset, DataUnavailable, Files, Place, Root

COUNTS = {"train": 60_000, "test": 10_000}
SIDE = 28
FILES = {
    (split, kind): f"{prefix}-{kind}-{ending}-ubyte"
    for split, prefix in (("train", "train"), ("test", "t10k"))
    for kind, ending in (("images", "idx3"), ("labels", "idx1"))
}
CACHE = "the cache folder"
WAYS = (
    "set WAVESCORE_DATA to a folder that holds MNIST/raw/train-images-idx3-ubyte and its companions, "
    "or go online with a torchvision that matches torch, or use the dataset 'strokes', which needs neither"
)
ADVICE = """\
  - on a machine with network: python -c "import wavescore_lite as ws; ws.load_images('mnist')"
  - put the four files of MNIST (gzipped or not) in FOLDER/MNIST/raw and set WAVESCORE_DATA=FOLDER
  - do without: load_images('strokes') draws its own digits, and 'auto' falls back to them"""
PATIENCE = 5.0
"""Seconds that a server may stay silent."""
BATCH = 2048
"""Images that are resized at a time."""


def places(root: Root = None) -> list[Place]:
    """The places that are set, in the order in which they decide: only the first is looked at."""
    given = [
        ("root", root),
        ("WAVESCORE_DATA", os.environ.get("WAVESCORE_DATA") or None),
        (CACHE, cache_folder()),
    ]
    return [Place(name, Path(folder).expanduser()) for name, folder in given if folder is not None]


def ensure(place: Place) -> str:
    """Have MNIST in `place`, fetching it into the cache folder if that is the place; say how it came there.

    Raises
    ------
    DataUnavailable
        None of the four files is there and they cannot, or must not, be fetched.
    FileNotFoundError, ValueError
        Some of the files are missing, or one is damaged.
    """
    if is_complete(place.folder):
        return f"found in {place.name}"
    if place.name != CACHE:
        files = f"{', '.join(FILES.values())} (or .gz)"
        raise DataUnavailable(f"{place.name} holds no MNIST: {_raw(place.folder)} has none of {files}; {WAYS}")
    _download(place.folder)
    return f"downloaded into {place.name}"


def state(place: Place) -> str:
    """What is in a place: ``"found"``, ``"no MNIST"`` or, where a copy is damaged, a sentence that says how."""
    try:
        return "found" if is_complete(place.folder) else "no MNIST"
    except (ValueError, OSError) as error:
        return str(error)


def is_complete(folder: Path) -> bool:
    """Whether all four files are there and sound: False if none is there, an error if some are missing or damaged."""
    if not any((_raw(folder) / (file + ending)).exists() for file in FILES.values() for ending in ("", ".gz")):
        return False
    for split, kind in FILES:
        read(folder, split, kind)
    return True


def read(folder: Path, split: str, kind: str) -> np.ndarray:
    """Images, uint8 [n, 28, 28], or labels, uint8 [n], of one split; the errors are those of `read_idx`."""
    path = _raw(folder) / FILES[split, kind]
    data = read_idx(path, (COUNTS[split], SIDE, SIDE) if kind == "images" else (COUNTS[split],))
    if kind == "labels" and data.max() > 9:
        raise ValueError(f"{path} holds the label {data.max()}; expected digits 0 to 9")
    return data


def resize(images: np.ndarray, size: int) -> torch.Tensor:
    """Bytes [n, h, h] to floats in [0, 1], float32 [n, size, size]: bilinearly, with antialiasing.

    Examples
    --------
    >>> resize(np.full((2, 28, 28), 255, dtype=np.uint8), 32).unique()
    tensor([1.])
    """
    resized = torch.empty(len(images), size, size)
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(images[start : start + BATCH].astype(np.float32) / 255)[:, None]
        if pixels.shape[-1] != size:
            pixels = interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
        resized[start : start + BATCH] = pixels[:, 0]
    return resized.clamp_(0, 1)


def _images(size: int, split: str, count: int, root: Root) -> torch.Tensor:
    return resize(read(places(root)[0].folder, split, "images")[:count], size)


def _labels(split: str, count: int, root: Root) -> torch.Tensor:
    return torch.from_numpy(read(places(root)[0].folder, split, "labels")[:count].astype(np.int64))


def _raw(folder: Path) -> Path:
    return folder / "MNIST" / "raw"


def _download(folder: Path) -> None:
    """Fetch MNIST beside its final place and move it there in one step: no part of it is ever taken for data."""
    if os.environ.get("WAVESCORE_OFFLINE", "") not in ("", "0"):
        raise DataUnavailable(f"MNIST is not in {CACHE} and WAVESCORE_OFFLINE forbids fetching it; {WAYS}")
    fetcher = _import_fetcher()
    try:
        if not any(_answers(mirror + fetcher.resources[0][0]) for mirror in fetcher.mirrors):
            raise OSError("no server answers")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="mnist-", dir=folder) as scratch:
            with _socket_timeout(PATIENCE), contextlib.redirect_stdout(sys.stderr):
                fetcher(scratch, download=True)
            is_complete(Path(scratch))
            _settle(_raw(Path(scratch)), _raw(folder))
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        raise DataUnavailable(f"MNIST could not be fetched ({_line(error)}); {WAYS}") from None


def _import_fetcher() -> Any:
    """``torchvision.datasets.MNIST``, which verifies checksums; a build made for another torch fails in many ways."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchvision.datasets import MNIST
    except Exception as error:
        raise DataUnavailable(
            f"MNIST cannot be fetched, because torchvision does not import ({_line(error)}); {WAYS}"
        ) from None
    return MNIST


def _answers(url: str) -> bool:
    """Whether a server answers in time; in a thread, because a name lookup has no time limit of its own."""
    heard = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        silent = contextlib.suppress(OSError, HTTPException, ValueError)
        with silent, urllib.request.urlopen(request, timeout=PATIENCE):
            heard.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return heard.is_set()


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _settle(source: Path, target: Path) -> None:
    """Move a folder into place; if another process was first, its complete copy stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError:
        if not is_complete(target.parent.parent):
            raise


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


DATASET = Dataset(
    name="mnist",
    counts=COUNTS,
    sizing=f"bilinear, antialiased, from {SIDE} x {SIDE}",
    images=_images,
    labels=_labels,
    files=Files(places, ensure, state, "MNIST", ADVICE),
)
