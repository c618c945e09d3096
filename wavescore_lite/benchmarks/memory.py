"""Resident memory of a fit above its images, in a process of its own: `python -m wavescore_lite.benchmarks.memory`."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import psutil

from .. import WaveletBasis, WaveletScore, datasets, local_coupled

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
    command = [sys.executable, "-m", "wavescore_lite.benchmarks.memory", dataset, str(size), str(images)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(dataset: str, size: str, images: str) -> None:
    """Print the bytes for `peak_of_pass`."""
    clean = datasets.load_images(dataset, int(size), "train", limit=int(images))
    model = WaveletScore(WaveletBasis(int(size)), local_coupled(3, radius=1))
    print(peak_above(lambda: model.fit(clean)))


if __name__ == "__main__":
    main(*sys.argv[1:])
