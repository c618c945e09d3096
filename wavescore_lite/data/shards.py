"""Images that the package draws, kept in the cache folder in shards, so that each is drawn once."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..support.storage import cache_folder, whole_file

SHARD = 2000  # images in a file


def drawn(draw: Callable[[np.ndarray], np.ndarray], name: str, count: int, total: int) -> np.ndarray:
    """The first `count` of `total` images, read from the cache folder or drawn; only whole shards are kept.

    Parameters
    ----------
    draw : callable
        From the places of images, int64 [n] in 0 to `total` - 1, to the images, uint8 [n, height, width].
    name : str
        Of all that the drawing depends on: how the files begin, a folder first.
    count, total : int

    Returns
    -------
    uint8 array [count, height, width]
    """
    starts = range(0, count, SHARD)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        shards = pool.map(partial(_shard, draw, name, count, total), starts)
        bar = tqdm(shards, total=len(starts), desc=f"drawing {name}", delay=2, disable=None)
        return np.concatenate(list(bar))


def _shard(draw: Callable[[np.ndarray], np.ndarray], name: str, count: int, total: int, start: int) -> np.ndarray:
    """Images from `start` to the end of its shard or to `count`."""
    stop, end = min(start + SHARD, count), min(start + SHARD, total)
    file = cache_folder() / f"{name}-{start}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        images: np.ndarray = np.load(io.BytesIO(file.read_bytes()))["images"]
        if len(images) == end - start and images.dtype == np.uint8:
            return images[: stop - start]
    images = draw(np.arange(start, stop))
    if stop == end:
        with suppress(OSError):
            _keep(file, images)
    return images


def _keep(file: Path, images: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as stream:
        np.savez(stream, images=images)
