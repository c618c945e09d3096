"""How the suite uses a machine: with ``-n auto``, as many workers as cores, with a thread each."""

import os

MOST_WORKERS = 8  # more would wait for the longest file


def pytest_xdist_auto_num_workers():
    """Workers of ``-n auto``: none beside this process on a single core."""
    os.environ["OMP_NUM_THREADS"] = "1"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0
