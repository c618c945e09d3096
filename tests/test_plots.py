"""Pictures show what they say, where they say it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

import wavescore_lite as ws


@pytest.fixture(autouse=True)
def closed_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_grid_shows_each_image_with_its_titles():
    rows = [torch.rand(3, 8, 8), torch.rand(3, 8, 8)]
    figure = ws.plots.image_grid(rows, row_titles=["clean", "noisy"], column_titles=["1", "2", "3"])
    assert len(figure.axes) == 6
    assert_array_equal(figure.axes[4].images[0].get_array(), rows[1][1])
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["clean", "noisy"]
    assert [axis.get_title() for axis in figure.axes[:3]] == ["1", "2", "3"]


def test_grid_refuses_rows_and_titles_that_do_not_match():
    with pytest.raises(ValueError, match=r"rows hold \[3, 2\] images"):
        ws.plots.image_grid([torch.rand(3, 8, 8), torch.rand(2, 8, 8)])
    with pytest.raises(ValueError, match="row_titles has 1 entries; expected 2"):
        ws.plots.image_grid([torch.rand(3, 8, 8)] * 2, row_titles=["one"])
    with pytest.raises(ValueError, match="column_titles has 1 entries; expected 3"):
        ws.plots.image_grid([torch.rand(3, 8, 8)] * 2, column_titles=["one"])


def test_tree_puts_each_subband_in_its_quarter():
    basis = ws.WaveletBasis(16, level=2)
    picture = ws.plots.tree_image(basis, torch.arange(256.0))
    assert sorted(picture.ravel()) == list(range(256))
    finest = {band.orientation: band for band in basis.subbands[-3:]}
    assert_array_equal(picture[8:, :8].ravel(), np.arange(256)[finest["h"].slice])
    assert_array_equal(picture[:8, 8:].ravel(), np.arange(256)[finest["v"].slice])
    assert_array_equal(picture[8:, 8:].ravel(), np.arange(256)[finest["d"].slice])
    assert_array_equal(picture[:4, :4].ravel(), np.arange(16))
    with pytest.raises(ValueError, match=r"shape \[64\]; expected \[256\]"):
        ws.plots.tree_image(basis, torch.zeros(64))


def test_draw_tree_labels_its_colours():
    figure, axis = plt.subplots()
    ws.plots.draw_tree(axis, ws.WaveletBasis(8), torch.arange(64.0), label="variance")
    assert figure.axes[1].get_ylabel() == "variance"
