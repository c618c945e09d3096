"""MNIST: where its files may lie, how they are read and fetched, how its images come to another size.

The files are looked for in one place: the folder given as `root`, else the one named by the environment variable
``WAVESCORE_DATA``, else the cache folder (``wavescore`` in ``$XDG_CACHE_HOME`` or ``~/.cache``), into which alone
they are downloaded; ``WAVESCORE_OFFLINE=1`` forbids that. In each the layout is torchvision's,
``MNIST/raw/train-images-idx3-ubyte`` and its three companions, gzipped or not. Their contents are compared with known
digests, so that no pixel and no label is another one than everybody's.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

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
DIGESTS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""SHA-256 of the files, and of the zipped ones as servers have them.

:meta hide-value:
"""
SERVERS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CACHE = "the cache folder"
WAYS = "set WAVESCORE_DATA to a folder that holds MNIST/raw, or use 'strokes'; `wavescore data` says more"
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
    given = [("root", root), ("WAVESCORE_DATA", os.environ.get("WAVESCORE_DATA") or None)]
    with contextlib.suppress(FileNotFoundError):  # a user without a home directory has no cache folder
        given.append((CACHE, cache_folder()))
    return [Place(name, Path(folder).expanduser()) for name, folder in given if folder is not None]


def ensure(place: Place) -> str:
    """Have MNIST in `place`, fetching what is missing if that is the cache folder; say how it came there.

    Raises
    ------
    DataUnavailable
        None of the four files is there and they cannot, or must not, be fetched.
    FileNotFoundError, ValueError
        Some of the files are missing, or one is damaged.
    """
    fetched = place.name == CACHE
    if not (fetched and _missing(place.folder)) and is_complete(place.folder):
        return f"found in {place.name}"
    if not fetched:
        raise DataUnavailable(f"{place.name} holds no MNIST: {_raw(place.folder)} has none of its four files; {WAYS}")
    _fetch(place.folder)
    return f"downloaded into {place.name}"


def state(place: Place) -> str:
    """What is in a place: ``"found"``, ``"no MNIST"`` or, where a copy is damaged, a sentence that says how."""
    try:
        return "found" if is_complete(place.folder) else "no MNIST"
    except (ValueError, OSError) as error:
        return str(error)


def is_complete(folder: Path) -> bool:
    """Whether all four files are there and sound: False if none is there, an error if some are missing or damaged."""
    if len(_missing(folder)) == len(FILES):
        return False
    for split, kind in FILES:
        read(folder, split, kind)
    return True


def read(folder: Path, split: str, kind: str) -> np.ndarray:
    """Images, uint8 [n, 28, 28], or labels, uint8 [n], of one split; the errors are those of `read_idx`."""
    file = FILES[split, kind]
    shape = (COUNTS[split], SIDE, SIDE) if kind == "images" else (COUNTS[split],)
    return read_idx(_raw(folder) / file, shape, DIGESTS[file])


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


def _missing(folder: Path) -> list[str]:
    """Which of the four files are neither there nor zipped."""
    return [f for f in FILES.values() if not any((_raw(folder) / (f + ending)).exists() for ending in ("", ".gz"))]


def _fetch(folder: Path) -> None:
    """Fetch the zipped files that are missing; each is moved into place when its digest is right."""
    if os.environ.get("WAVESCORE_OFFLINE", "") not in ("", "0"):
        raise DataUnavailable(f"MNIST is not in {CACHE} and WAVESCORE_OFFLINE forbids fetching it; {WAYS}")
    files = [f"{file}.gz" for file in _missing(folder)]
    try:
        servers = _answering(files[0])
        for file in files:
            _fetch_file(file, servers, _raw(folder))
        is_complete(folder)
    except (OSError, ValueError) as error:
        raise DataUnavailable(f"MNIST could not be fetched ({_line(error)}); {WAYS}") from None


def _fetch_file(file: str, servers: Sequence[str], folder: Path) -> None:
    """Fetch a file from the first server that has it sound."""
    import pooch  # here, because data that are there need none of it

    failed: Exception = OSError("no server answers")
    for server in servers:
        loader = pooch.HTTPDownloader(timeout=PATIENCE, stream=False)  # some megabytes; a stream is left open
        try:
            pooch.retrieve(server + file, f"sha256:{DIGESTS[file]}", file, folder, downloader=loader)
            return
        except (OSError, ValueError) as error:
            failed = error
    raise failed


def _answering(file: str) -> list[str]:
    """The servers that answer in time, all asked at once; in threads, for a name lookup has no limit of its own."""
    heard: set[str] = set()

    def ask(server: str) -> None:
        with contextlib.suppress(OSError, HTTPException, ValueError):
            request = urllib.request.Request(server + file, method="HEAD")
            try:
                urllib.request.urlopen(request, timeout=PATIENCE).close()
            except HTTPError as error:  # which is an answer too, if only that it lacks this file
                error.close()
            heard.add(server)

    asking = [threading.Thread(target=ask, args=(server,), daemon=True) for server in SERVERS]
    for thread in asking:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in asking:
        thread.join(max(0.0, end - time.monotonic()))
    return [server for server in SERVERS if server in heard]


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
