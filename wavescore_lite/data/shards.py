"""Images that the package draws, kept in the cache folder in shards, so that each is drawn once."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from ..support.progress import progress
from ..support.storage import cache_folder, read, write

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
        bar = progress(shards, total=len(starts), desc=f"drawing {name}", delay=2)
        return np.concatenate(list(bar))


def _shard(draw: Callable[[np.ndarray], np.ndarray], name: str, count: int, total: int, start: int) -> np.ndarray:
    """Images from `start` to the end of its shard or to `count`."""
    stop, end = min(start + SHARD, count), min(start + SHARD, total)
    with suppress(OSError, ValueError):
        images = read(_file(name, start), "images")[1]["images"]
        if len(images) == end - start:
            return images[: stop - start]
    images = draw(np.arange(start, stop))
    if stop == end:
        with suppress(OSError):
            file = _file(name, start)
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, {"kind": "images"}, {"images": images})
    return images


def _file(name: str, start: int) -> Path:
    return cache_folder() / f"{name}-{start}.safetensors"
