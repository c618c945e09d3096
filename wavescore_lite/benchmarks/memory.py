"""Resident memory of a pass above its images, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import psutil

from ..bases.wavelets import WaveletBasis
from ..couplings import local_coupled
from ..data import load_images
from ..scores import WaveletScore

SAMPLED_EVERY = 0.002  # seconds


def peak_above(run: Callable[[], object]) -> int:
    """Bytes by which this process's resident memory grows while `run` runs, sampled by a thread."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(SAMPLED_EVERY):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return max(peak, process.memory_info().rss) - before


def peak_of_pass(dataset: str, size: int, images: int) -> int:
    """Bytes above the images that one pass of the local coupling takes, measured in a new process."""
    code = f"import sys; from {__name__} import _peak_here; print(_peak_here(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, dataset, str(size), str(images)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _peak_here(dataset: str, size: str, images: str) -> int:
    clean = load_images(dataset, int(size), "train", limit=int(images))
    model = WaveletScore(WaveletBasis(int(size)), local_coupled(3, radius=1))
    return peak_above(lambda: model.fit(clean))
