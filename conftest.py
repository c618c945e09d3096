"""How the suite uses a machine: with ``-n auto``, as many workers as cores, with a thread each."""

import os

MOST_WORKERS = 8  # more would wait for the longest file


def pytest_xdist_auto_num_workers():
    """Workers of ``-n auto``: none beside this process on a single core."""
    from tools.kernels import ONE_THREAD, cores  # here, for it brings Jupyter along, and the workers do without

    os.environ.update(ONE_THREAD)
    return min(cores(), MOST_WORKERS) if cores() > 1 else 0
