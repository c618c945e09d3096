"""Jacobians against matrices, differences and posterior covariances; reach and shifts against cases done by hand."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws
from wavescore_lite.networks import Network
from wavescore_lite.probes import jacobian, reach, shift_error

pytestmark = pytest.mark.usefixtures("single_threaded")


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=8, limit=400)


@pytest.fixture(scope="module")
def noisy(images):
    return images[:1].double() + 0.7 * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def test_wiener_jacobian_is_its_matrix(images, noisy):
    flat = images.flatten(1).double().numpy()
    covariance = np.cov(flat.T, bias=True)
    gain = np.linalg.solve(covariance + 0.49 * np.eye(64), covariance)
    assert_allclose(jacobian(ws.Wiener().fit(images), noisy, 0.7), gain, atol=1e-10)


def test_jacobian_is_output_by_input(images):
    class Matrix:  # none of the package's: by central differences
        """The linear map with entry [p, q] = 100 p + q, which no transposition leaves alone."""

        weights = 100 * torch.arange(64.0).double()[:, None] + torch.arange(64.0)

        def denoise(self, noisy, sigma):
            return (noisy.flatten(1) @ self.weights.T).unflatten(1, (8, 8))

    assert_allclose(jacobian(Matrix(), images[:1], 1.0), Matrix.weights, rtol=1e-8, atol=1e-6)


def test_posterior_mean_has_the_posterior_covariance_as_jacobian(images, noisy):
    """Over sigma^2: the derivative of Tweedie's formula, with the covariance summed from Bayes' weights."""
    flat = images.flatten(1).double().numpy()
    exponents = -((noisy.flatten(1).numpy() - flat) ** 2).sum(axis=1) / (2 * 0.49)
    weights = np.exp(exponents - exponents.max())
    covariance = np.cov(flat.T, aweights=weights / weights.sum(), ddof=0)
    found = jacobian(ws.PosteriorMean().fit(images.double()), noisy, 0.7)
    assert_allclose(found, covariance / 0.49, atol=1e-12)


@pytest.mark.parametrize("name", ["cnn", "unet-attention"])
class Plain:
    """A denoiser with nothing to say of itself but its estimates, to be differentiated by differences."""

    def __init__(self, model):
        self.denoise = model.denoise


@pytest.mark.parametrize("name", ["cnn", "unet-attention"])
def test_network_jacobian_is_that_of_autograd_and_of_differences(name, noisy):
    network = Network(name, 8, 0.13, 0.31)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
        network.double()
        found = jacobian(network, noisy, 0.7)
    sigma = torch.tensor([0.7]).double()
    exact = torch.autograd.functional.jacobian(lambda x: network(x, sigma).flatten(), noisy).reshape(64, 64)
    assert not found.requires_grad
    assert_allclose(found, exact, atol=1e-8)
    assert_allclose(jacobian(Plain(network), noisy, 0.7, step=1e-3), exact, atol=1e-6)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("kind", [ws.WaveletScore, ws.JointScore])
def test_jacobians_of_fits_are_those_of_differences(kind, bounded, images, noisy):
    """Of estimates that no step takes across a bound."""
    model = kind(ws.WaveletBasis(8), ws.band_tied(3), bounded=bounded).fit(images)
    exact = jacobian(kind(model.basis, model.coupling, bounded=bounded).fit(images), noisy, 0.7)
    assert_allclose(jacobian(Plain(model), noisy, 0.7, step=1e-5), exact, atol=1e-7)
    assert (exact - exact.T).abs().max() > 1e-3


def test_independent_coefficients_have_a_symmetric_jacobian_and_neighbours_have_none(images, noisy):
    basis = ws.WaveletBasis(8)
    alone, local = (
        jacobian(ws.WaveletScore(basis, c).fit(images), noisy, 0.7) for c in (ws.independent(3), ws.local_coupled(3, 1))
    )
    assert_allclose(alone, alone.T, atol=1e-12)
    assert (local - local.T).abs().max() > 1e-3
    diagonal = basis.matrix() @ alone @ basis.matrix().T
    assert_allclose(diagonal - torch.diag(diagonal.diagonal()), 0, atol=1e-9)


def test_reach_counts_squares_inside_a_square():
    field = torch.zeros(2, 8, 8)
    field[0, 4, 4], field[0, 5, 2], field[1, 0, 4] = 3, 4, 1
    assert reach(field, 0.3).tolist() == [0, 4]
    assert reach(field, 0.4).tolist() == [2, 4]
    with pytest.raises(ValueError, match="share is 1"):
        reach(field, 1)


def test_shift_error_by_hand(images, noisy):
    class Masked:
        """Sees the left half alone."""

        def denoise(self, noisy, sigma):
            return noisy * (torch.arange(8) < 4)

    some = images[:50]
    moved = some.roll((0, 2), dims=(1, 2)).numpy()
    mask = np.arange(8) < 4
    estimate = np.roll(some.numpy() * mask, 2, axis=2)
    expected = ((moved * mask - estimate) ** 2).sum() / ((estimate - estimate.mean(0)) ** 2).sum()
    assert shift_error(Masked(), some, 1.0, (0, 2)) == pytest.approx(expected, rel=1e-5)
    assert shift_error(Masked(), some, 1.0, (2, 0)) == 0


def test_shared_parameters_commute_with_shifts_of_the_coarsest_step(images):
    model = ws.WaveletScore(ws.WaveletBasis(8, level=1), ws.local_coupled(2, 1, shared=True), bounded=False).fit(images)
    noisy = images[:20].double()
    assert shift_error(model, noisy, 1.0, (2, -4)) < 1e-20
    assert shift_error(model, noisy, 1.0, (1, 0)) > 1e-3


def test_bad_input_is_named(images):
    wiener = ws.Wiener().fit(images)
    with pytest.raises(ValueError, match="noisy holds 2 images; expected one"):
        jacobian(wiener, images[:2], 1.0)
    with pytest.raises(ValueError, match="step is 0; expected a number > 0"):
        jacobian(wiener, images[:1], 1.0, step=0)
    with pytest.raises(ValueError, match="gives one answer to all 5 images"):
        shift_error(ws.MeanImage().fit(images), images[:5], 1.0, (1, 0))
