"""What a seed means: published numbers rest on it, so it is pinned."""

import numpy as np
import pytest
import torch

from wavescore_lite.noise import FITTING, SCORING, standard_normal


@pytest.mark.parametrize(("first", "block", "place"), [(0, 0, 0), (63, 0, 63), (64, 1, 0), (130, 2, 2)])
def test_noise_of_an_image_is_numpys_stream_of_its_block(first, block, place):
    drawn = standard_normal(first, 1, (2, 3), seed=7, stream=FITTING, draw=5)
    whole = np.random.default_rng([7, 1, 5, block]).standard_normal((64, 2, 3), dtype=np.float32)
    assert torch.equal(drawn, torch.from_numpy(whole[place : place + 1]))


def test_models_are_scored_on_noise_that_none_was_fitted_on():
    fitting, scoring = (standard_normal(0, 200, (4,), seed=0, stream=stream) for stream in (FITTING, SCORING))
    assert torch.equal(standard_normal(0, 200, (4,), seed=0), scoring)
    assert not torch.isin(scoring, fitting).any()


@pytest.mark.parametrize(("first", "count"), [(0, 64), (64, 64), (1, 63), (63, 2), (5, 200), (128, 1)])
def test_any_stretch_is_the_same_noise(first, count):
    whole = standard_normal(0, 256, (3,), seed=1)
    assert torch.equal(standard_normal(first, count, (3,), seed=1), whole[first : first + count])
