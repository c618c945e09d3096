import numpy as np
import pytest
import torch
from hypothesis import settings

# What passes once passes again, on a machine that is slow or busy too.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def single_threaded():
    """One thread for torch: small operations spend their time waiting for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
