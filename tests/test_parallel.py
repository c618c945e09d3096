"""Blocks cover every row once, errors come through, and torch's threads are left as they were."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from wavescore_lite import WaveletBasis
from wavescore_lite.support.parallel import FEW, over_blocks


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 9, 23, 24, 25])
def test_every_row_once_by_threads_where_that_is_worth_it(count, two_threads):
    visits, workers = torch.zeros(count), []

    def worker():
        workers.append(threading.current_thread() is threading.main_thread())

        def work(rows):
            visits[rows] += 1

        return work

    over_blocks(worker, count, block=3)
    assert (visits == 1).all()
    assert workers == ([True] if count <= 3 * (2 * FEW - 1) else [False, False])
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as later:  # which inherits what was set last
        assert later.submit(torch.get_num_threads).result() == 2


def test_errors_come_through(two_threads):
    def worker():
        def work(rows):
            raise KeyError("no such row")

        return work

    with pytest.raises(KeyError, match="no such row"):
        over_blocks(worker, 30, block=3)
    assert torch.get_num_threads() == 2


def test_threads_do_not_change_the_transform(two_threads):
    basis, images = WaveletBasis(16), torch.rand(8000, 16, 16, dtype=torch.float64)
    both = basis.analyze(images)
    torch.set_num_threads(1)
    assert torch.equal(basis.analyze(images), both)
    assert torch.allclose(basis.synthesize(both), images, atol=1e-12)
