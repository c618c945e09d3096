"""Log-likelihoods by the probability flow against closed forms: Gaussian data, one point, two points."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal, norm

import wavescore_lite as ws
from wavescore_lite.likelihood import log_likelihood
from wavescore_lite.networks import Network

SIZE, LEAST = 8, 0.1


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=SIZE, limit=400).double()


@pytest.fixture(scope="module")
def wiener(images):
    return ws.Wiener().fit(images)


@pytest.fixture(scope="module")
def noisy(images):
    return images[:3] + LEAST * torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()


def gaussian(images, noisy, least=LEAST):
    """The density of the Gaussian with these images' mean and covariance, with noise, by scipy."""
    flat = images.flatten(1).numpy()
    covariance = np.cov(flat.T, bias=True) + least**2 * np.eye(flat.shape[1])
    return multivariate_normal(flat.mean(axis=0), covariance).logpdf(noisy.flatten(1).numpy())


def test_wiener_has_the_density_of_a_gaussian_to_second_order_in_the_steps(images, noisy, wiener):
    expected = gaussian(images, noisy)
    errors = []
    for steps in (25, 50, 100):
        levels = ws.noise_levels(steps, sigma_max=20.0, sigma_min=LEAST)
        errors.append(abs(log_likelihood(wiener, noisy, levels).numpy() - expected).max())
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.15)
    assert errors[-1] < 0.05


def test_by_default_over_the_levels_that_are_sampled_in_finer_steps(images, noisy, wiener):
    found = ws.log_likelihood(wiener, noisy)
    assert found.dtype == torch.float64
    assert torch.equal(found, log_likelihood(wiener, noisy, ws.noise_levels(100)))
    assert_allclose(found, gaussian(images, noisy, 0.02), atol=0.01 * 64)


def test_a_fit_is_solved_on_the_way(images, noisy):
    """Inside a transform of torch.func, which must not reach into the solution."""
    basis = ws.WaveletBasis(SIZE)
    levels = ws.noise_levels(3, sigma_max=2.0, sigma_min=LEAST)
    for kind, ridge in ((ws.WaveletScore, "auto"), (ws.JointScore, 1e-6)):
        fresh, solved = (kind(basis, ws.independent(2), ridge=ridge).fit(images) for _ in range(2))
        for level in levels[:-1]:
            solved.denoise(noisy, level)
        assert torch.equal(log_likelihood(fresh, noisy, levels), log_likelihood(solved, noisy, levels))


def test_coefficients_of_degree_1_have_the_density_of_their_gaussians(images, noisy):
    """Each by itself: the start is theirs, too, so this is exact but for the steps."""
    basis = ws.WaveletBasis(SIZE)
    model = ws.WaveletScore(basis, ws.independent(1), ridge=0.0, bounded=False).fit(images)
    y, clean = basis.analyze(noisy).numpy(), basis.analyze(images).numpy()
    expected = norm(clean.mean(axis=0), np.sqrt(clean.var(axis=0) + LEAST**2)).logpdf(y).sum(axis=1)
    found = log_likelihood(model, noisy, ws.noise_levels(100, sigma_max=20.0, sigma_min=LEAST))
    assert_allclose(found, expected, atol=0.05)


def test_a_mean_image_is_one_point(images, noisy):
    """With noise it is a Gaussian about it at every level, along whose straight flow no step errs, however long."""
    mean = ws.MeanImage().fit(images)
    expected = norm(images.mean(dim=0).numpy(), LEAST).logpdf(noisy.numpy()).sum(axis=(1, 2))
    assert_allclose(log_likelihood(mean, noisy, [2.0, 0.7, LEAST, 0.0]), expected, rtol=1e-10)


class TwoPoints:
    """Exact denoiser of one of two images, black and grey, with equal probability; no class of the package."""

    grey = torch.full((SIZE, SIZE), 0.1, dtype=torch.float64)

    def denoise(self, noisy, sigma):
        flat = (noisy * self.grey).sum(dim=(1, 2)) - self.grey.square().sum() / 2
        return torch.sigmoid(flat / sigma**2)[:, None, None] * self.grey


def test_any_denoiser_of_torch_has_the_density_of_its_mixture(noisy):
    """The start is that of no data; its error falls as the first level rises."""
    points, least = torch.stack([torch.zeros_like(TwoPoints.grey), TwoPoints.grey]), 0.3
    near = points + 3 * (noisy[:1] - noisy[1:2]) + 0.4 * TwoPoints.grey
    each = [norm(point.numpy(), least).logpdf(near.numpy()).sum(axis=(1, 2)) for point in points]
    errors = []
    for first in (2.5, 10.0, 40.0):
        found = log_likelihood(TwoPoints(), near, ws.noise_levels(60, sigma_max=first, sigma_min=least))
        errors.append(abs(found.numpy() - np.logaddexp(*each) + math.log(2)).max())
    assert errors[0] > 3 * errors[1]
    assert errors[-1] < 0.05


@pytest.mark.parametrize("name", ["bounded", "joint", "network"])
def test_probes_estimate_what_products_with_all_directions_give(name, images, noisy):
    """Within four standard errors over seeds; each image by its index alone, each seed another estimate."""
    basis = ws.WaveletBasis(SIZE)
    model = {
        "bounded": lambda: ws.WaveletScore(basis, ws.local_coupled(2)).fit(images),
        "joint": lambda: ws.JointScore(basis, ws.independent(3)).fit(images),
        "network": lambda: Network("cnn", SIZE, 0.13, 0.31),
    }[name]()
    if name == "network":
        for weights in model.parameters():
            weights.data += 0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    levels = ws.noise_levels(3, sigma_max=5.0, sigma_min=LEAST)
    exact = log_likelihood(model, noisy, levels)
    drawn = torch.stack([log_likelihood(model, noisy, levels, probes=4, seed=seed) for seed in range(12)])
    error = drawn.std(dim=0) / math.sqrt(len(drawn))
    assert (error > 0).all()
    assert ((drawn.mean(dim=0) - exact).abs() < 4 * error).all()
    assert not exact.requires_grad
    assert_allclose(log_likelihood(model, noisy[:2], levels, probes=4), drawn[0, :2], rtol=1e-5)


def test_traces_are_those_of_jacobians(images, noisy):
    """One step, by hand: the trapezoid of the divergence over log s, and the start's density where it ends."""
    model = ws.WaveletScore(ws.WaveletBasis(SIZE), ws.local_coupled(2)).fit(images)
    low, high = 0.5, 0.7
    x = noisy[:1]
    slope = (x - model.denoise(x, low)) / low
    guess = x + (high - low) * slope
    end = x + (high - low) / 2 * (slope + (guess - model.denoise(guess, high)) / high)
    free = [64 - ws.probes.jacobian(model, at, level).trace().item() for at, level in ((x, low), (guess, high))]
    mean, variance = (part.numpy() for part in model.moments.gaussian(high))
    start = norm(mean, np.sqrt(variance)).logpdf(model.basis.analyze(end).numpy()).sum()
    expected = math.log(high / low) / 2 * sum(free) + start
    assert_allclose(log_likelihood(model, x, [high, low, 0.0]).item(), expected, rtol=1e-10)


def test_refusals(noisy, wiener):
    for arguments, message in (
        ({"probes": 0}, "probes is 0; expected an integer >= 1"),
        ({"seed": -1}, "seed is -1; expected an integer >= 0"),
        ({"sigmas": [1.0, 2.0, 0.0]}, "strictly decreasing to 0"),
        ({"images": noisy[:, :4]}, r"images have shape \[3, 4, 8\]"),
    ):
        with pytest.raises(ValueError, match=message):
            log_likelihood(wiener, **{"images": noisy, **arguments})
