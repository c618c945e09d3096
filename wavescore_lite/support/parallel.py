"""Work on blocks of images, one single-threaded worker a core.

A block is small, so that it stays in a core's cache; a small block leaves little for several threads to share, and on
a busy machine they spend their time waiting for one another. One block a thread has neither problem.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

FEW = 4  # blocks that a thread has at least: to start one takes about as long as a block


def over_blocks(worker: Callable[[], Callable[[slice], None]], count: int, block: int) -> None:
    """Cut `count` rows into blocks and work on as many at a time as torch has threads; on few, one after the other.

    Parameters
    ----------
    worker : callable
        Called once in each thread, to set up what the thread needs for itself; gives a function that takes a slice of
        rows and writes only what belongs to them.
    count, block : int
        Rows in all, and in a block.

    Examples
    --------
    >>> squares = torch.zeros(10)
    >>> def worker():
    ...     def work(rows):
    ...         squares[rows] = torch.arange(10.0)[rows] ** 2
    ...     return work
    >>> over_blocks(worker, count=10, block=3)
    >>> squares[-1]
    tensor(81.)
    """
    blocks = [slice(start, min(start + block, count)) for start in range(0, count, block)]
    threads = min(torch.get_num_threads(), len(blocks) // FEW)
    if threads <= 1:
        _run(worker, blocks)
        return
    before = torch.get_num_threads()

    def run_alone(share: list[slice]) -> None:
        torch.set_num_threads(1)  # of this worker alone; a thread started later would inherit it, hence the finally
        _run(worker, share)

    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run_alone, [blocks[k::threads] for k in range(threads)]))
    finally:
        torch.set_num_threads(before)


def _run(worker: Callable[[], Callable[[slice], None]], blocks: list[slice]) -> None:
    work = worker()
    for rows in blocks:
        work(rows)


def empty_like_rows(rows: torch.Tensor, *shape: int) -> torch.Tensor:
    """An uninitialised tensor of shape (len(rows),) + shape, of the dtype and device of `rows`.

    On the CPU NumPy allocates it, which asks for large memory pages: filling it for the first time is four times
    as fast.
    """
    if rows.device.type != "cpu":
        return rows.new_empty(len(rows), *shape)
    dtype = {torch.float32: np.float32, torch.float64: np.float64}[rows.dtype]
    return torch.from_numpy(np.empty((len(rows), *shape), dtype))
