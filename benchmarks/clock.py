"""Timing on a machine that others use too: candidates take turns, and medians and ratios are what is quoted."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm


def interleaved(candidates: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of each candidate: in every repetition each runs once, after one untimed run of all."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repetition in tqdm(range(repetitions + 1), leave=False, disable=None):
        for name, run in candidates.items():
            started = time.perf_counter()
            run()
            if repetition:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(rows: list[dict[str, object]], file: Path) -> None:
    """Print the rows as a table and write them to a CSV file."""
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    with open(file, "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
