"""Errors, baselines and noise streams against what they are by definition."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.signal.windows import gaussian
from scipy.spatial.distance import cdist
from scipy.special import softmax

import wavescore_lite as ws
from wavescore_lite import metrics
from wavescore_lite.denoisers import empirical
from wavescore_lite.noise import FITTING, SCORING, standard_normal
from wavescore_lite.similarity import structural_similarity


class Constant:
    def __init__(self, value):
        self.value = value

    def denoise(self, noisy, sigma):
        return torch.full_like(noisy, self.value)


class Keep:
    def denoise(self, noisy, sigma):
        return noisy


@pytest.fixture
def images():
    return torch.rand(700, 8, 8, generator=torch.Generator().manual_seed(0))


def test_mse_is_the_mean_square_after_clipping(images):
    expected = (0.25 - images).double().square().mean().item()
    assert ws.denoising_mse(Constant(0.25), images, sigma=1.0) == pytest.approx(expected, rel=1e-6)
    clipped = (1 - images).double().square().mean().item()
    assert ws.denoising_mse(Constant(7.0), images, sigma=1.0) == pytest.approx(clipped, rel=1e-6)


def test_noise_has_the_stated_sigma():
    grey = torch.full((4000, 8, 8), 0.5)
    mse = ws.denoising_mse(Keep(), grey, sigma=0.05)
    assert mse == pytest.approx(0.05**2, rel=5 * (2 / grey.numel()) ** 0.5)


def test_seed_fixes_the_noise_and_batches_do_not_matter(images):
    errors = ws.denoising_errors(Keep(), images, sigma=1.0, seed=3, batch=700)
    assert torch.equal(errors, ws.denoising_errors(Keep(), images, sigma=1.0, seed=3, batch=33))
    assert not torch.equal(errors, ws.denoising_errors(Keep(), images, sigma=1.0, seed=4))
    assert errors.shape == (700,)
    assert errors.dtype == torch.float64


def test_noise_streams_are_independent_and_normal():
    drawn = {
        (stream, seed, draw): standard_normal(5, 1000, (8, 8), seed=seed, stream=stream, draw=draw).numpy().ravel()
        for stream in (FITTING, SCORING)
        for seed in (0, 1)
        for draw in (0, 1)
    }
    correlation = np.corrcoef(list(drawn.values()))
    assert np.abs(correlation - np.eye(8)).max() < 5 / np.sqrt(64_000)
    for values in drawn.values():
        assert abs(values.mean()) < 5 / np.sqrt(64_000)
        assert abs(values.var() - 1) < 5 * np.sqrt(2 / 64_000)


def test_refuses_images_and_denoisers_that_cannot_be(images):
    with pytest.raises(ValueError, match=r"expected values in \[0.0, 1.0\]"):
        ws.denoising_mse(Keep(), images - 1, sigma=1.0)
    with pytest.raises(ValueError, match="sigma is 0; expected a finite noise level > 0"):
        ws.denoising_mse(Keep(), images, sigma=0)
    with pytest.raises(ValueError, match="expected finite"):
        ws.denoising_mse(Constant(float("nan")), images, sigma=1.0)

    class Flat:
        def denoise(self, noisy, sigma):
            return noisy.flatten(1)

    with pytest.raises(ValueError, match=r"returned shape \[700, 64\]; expected finite \[700, 8, 8\]"):
        ws.denoising_mse(Flat(), images, sigma=1.0)


def test_comparison_passes_its_seed_on_and_tables_standard_errors(images):
    errors = ws.compare({"keep": Keep()}, images, sigmas=[0.5, 1.0], seed=3)["keep"]
    for row, sigma in zip(errors, (0.5, 1.0), strict=True):
        assert torch.equal(row, ws.denoising_errors(Keep(), images, sigma, seed=3))
    table = ws.error_table({"keep": errors}, [0.5, 1.0])
    for row in errors.numpy():
        assert f"{row.mean():.4f} ± {row.std(ddof=1) / np.sqrt(len(row)):.4f}" in table


def test_errors_of_a_trained_denoiser_hold_no_graph(images):
    weight = torch.tensor(0.5, requires_grad=True)

    class Trained:
        def denoise(self, noisy, sigma):
            return weight * noisy

    assert not ws.denoising_errors(Trained(), images, sigma=1.0).requires_grad


def test_mean_image(images):
    estimate = ws.MeanImage().fit(images).denoise(images[:3].double() + 5, sigma=2.0)
    assert_allclose(estimate, images.double().mean(0).expand(3, 8, 8), rtol=1e-14)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 4.0])
def test_wiener_is_the_linear_least_squares_denoiser(images, sigma):
    """The affine map with the least noise-integrated training risk, solved as one normal equation with numpy."""
    flat = images.flatten(1).double().numpy()
    covariance, mean = np.cov(flat.T, bias=True), flat.mean(0)
    gain = np.linalg.solve(covariance + sigma**2 * np.eye(64), covariance)
    noisy = images[:9].double() + sigma * torch.randn(9, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    expected = mean + (noisy.flatten(1).numpy() - mean) @ gain
    assert_allclose(ws.Wiener().fit(images).denoise(noisy, sigma).flatten(1), expected, atol=1e-12)


def test_wiener_in_a_basis_that_diagonalises_the_images_is_independent_degree_one():
    """With uncorrelated coefficients the full linear denoiser and the diagonal one are the same."""
    basis = ws.WaveletBasis(8)
    signs = torch.from_numpy(np.array([[1 - 2 * (bin(i & j).count("1") % 2) for j in range(64)] for i in range(64)]))
    coefficients = 0.3 + torch.linspace(0.1, 1, 64).double() * signs[:, torch.arange(64)].double()
    images = basis.synthesize(torch.cat([coefficients, 0.6 - coefficients]))
    noisy = images[:10] + 1
    independent = ws.WaveletScore(basis, ws.independent(1), ridge=0, value_range=None).fit(images)
    assert_allclose(independent.denoise(noisy, 1.0), ws.Wiener().fit(images).denoise(noisy, 1.0), atol=1e-10)


@pytest.mark.parametrize("model", [ws.MeanImage(), ws.Wiener(), ws.PosteriorMean()])
def test_baselines_refuse_what_others_refuse(model, images):
    fresh = type(model)()
    with pytest.raises(RuntimeError, match=r"is not fitted; expected fit\(images\) first"):
        fresh.denoise(images, 1.0)
    with pytest.raises(TypeError, match="dtype uint8"):
        fresh.fit(images.byte())
    fresh.fit(images)
    with pytest.raises(ValueError, match=r"expected \[n, 8, 8\]"):
        fresh.denoise(torch.zeros(2, 16, 16), 1.0)
    with pytest.raises(ValueError, match="expected a finite noise level > 0"):
        fresh.denoise(images, -1)


def test_error_saved_is_paired(images):
    errors = ws.compare({"grey": Constant(0.5), "dark": Constant(0.3)}, images, sigmas=[1.0, 2.0])
    saved, standard_error = ws.error_saved(errors["dark"], errors["grey"])
    worse, better = (errors[name][0].numpy() for name in ("dark", "grey"))
    assert saved[0].item() == pytest.approx(1 - better.mean() / worse.mean())
    (vb, cov), (_, vw) = np.cov(better, worse)
    ratio = better.mean() / worse.mean()  # whose variance is, to first order:
    variance = (vb - 2 * ratio * cov + ratio**2 * vw) / worse.mean() ** 2 / 700
    assert standard_error[0].item() == pytest.approx(variance**0.5)
    with pytest.raises(ValueError, match="expected them paired"):
        ws.error_saved(errors["dark"], errors["grey"][:, :5])


@pytest.mark.parametrize(("sigma", "dtype", "tolerance"), [(0.05, torch.float64, 1e-12), (2.0, torch.float32, 1e-5)])
def test_posterior_mean_is_bayes_rule_over_the_training_images(images, sigma, dtype, tolerance, monkeypatch):
    """All weights at once with scipy, against blocks of 300 images; noise so small that weights would underflow too."""
    monkeypatch.setattr(empirical, "BATCH", 300)
    noisy = images[:9].double() + sigma * torch.randn(9, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    flat = images.flatten(1).double().numpy()
    exponents = -cdist(noisy.flatten(1).numpy(), flat, "sqeuclidean") / (2 * sigma**2)
    expected = softmax(exponents, axis=1) @ flat
    found = ws.PosteriorMean().fit(images).denoise(noisy.to(dtype), sigma)
    assert found.dtype == dtype
    assert_allclose(found.flatten(1), expected, atol=tolerance)


def test_posterior_mean_has_the_least_error_where_it_was_fitted(images):
    best = ws.denoising_mse(ws.PosteriorMean().fit(images), images, sigma=1.0)
    assert best < ws.denoising_mse(ws.Wiener().fit(images), images, sigma=1.0)


def by_definition(x, y):
    """Structural similarity of two images, window by window: weighted means, variances and covariance."""
    row = gaussian(11, 1.5)
    window = np.outer(row, row) / np.outer(row, row).sum()
    values = []
    for i in range(len(x) - 10):
        for j in range(len(x) - 10):
            a, b = x[i : i + 11, j : j + 11].ravel(), y[i : i + 11, j : j + 11].ravel()
            mean = np.average([a, b], axis=1, weights=window.ravel())
            (v, c), (_, w) = np.cov([a, b], aweights=window.ravel(), ddof=0)
            brightness = (2 * mean[0] * mean[1] + 1e-4) / (mean[0] ** 2 + mean[1] ** 2 + 1e-4)
            values.append(brightness * (2 * c + 9e-4) / (v + w + 9e-4))
    return np.mean(values)


def test_structural_similarity_window_by_window(rng):
    x = rng.uniform(size=(3, 16, 16))
    y = np.clip(x + 0.3 * rng.standard_normal(x.shape), 0, 1)
    found = structural_similarity(torch.from_numpy(x), torch.from_numpy(y))
    assert_allclose(found, [by_definition(*pair) for pair in zip(x, y, strict=True)], rtol=1e-10)
    with pytest.raises(ValueError, match=r"shapes \[3, 8, 8\] and \[3, 8, 8\]; expected both .* sides >= 11"):
        structural_similarity(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))


def test_image_quality_is_of_the_same_estimates_and_noise():
    images = torch.rand(70, 16, 16, generator=torch.Generator().manual_seed(0))
    quality = metrics.image_quality(Keep(), images, sigma=0.3, seed=2)
    assert torch.equal(quality["mse"], ws.denoising_errors(Keep(), images, sigma=0.3, seed=2))
    assert_allclose(quality["psnr"], 10 * np.log10(1 / quality["mse"].numpy()))
    noisy = images + 0.3 * standard_normal(0, 70, (16, 16), seed=2, stream=FITTING)
    expected = structural_similarity(noisy.clamp(0, 1), images)
    own = metrics.image_quality(Keep(), images, sigma=0.3, seed=2, batch=32, stream=FITTING)["ssim"]
    assert_allclose(own, expected, rtol=1e-12)
    assert not torch.equal(own, quality["ssim"])


def test_subband_errors_are_those_of_the_coefficients():
    """Against the matrix of atoms, and Parseval."""
    clean, estimates = torch.rand(2, 5, 16, 16, generator=torch.Generator().manual_seed(3)).double()
    basis = ws.WaveletBasis(16)
    coefficients = (estimates - clean).flatten(1).numpy() @ basis.matrix().numpy().T
    found = metrics.subband_errors(estimates, clean, basis)
    for k, band in enumerate(basis.subbands):
        assert_allclose(found[:, k], (coefficients[:, band.slice] ** 2).sum(axis=1) / 256, rtol=1e-10)
    assert_allclose(found.sum(dim=1), metrics.squared_errors(estimates, clean), rtol=1e-12)
    quality = metrics.image_quality(Keep(), clean, sigma=0.3, basis=basis)
    assert_allclose(quality["subbands"].sum(dim=1), quality["mse"], rtol=1e-10)


def test_standard_error_of_a_saving_is_that_of_many_sets_of_images(rng):
    """Spread of the share over 2,000 sets of 200 images, for errors that are correlated and skewed."""
    hard = rng.gamma(4, size=(2000, 200))
    worse = hard * (1 + 0.1 * rng.standard_normal(hard.shape))
    better = 0.4 * hard * (1 + 0.1 * rng.standard_normal(hard.shape))
    saved, standard_error = ws.error_saved(torch.from_numpy(worse), torch.from_numpy(better))
    assert_allclose(standard_error.mean(), saved.std(), rtol=0.06)
    assert_allclose(saved.mean(), 0.6, atol=1e-3)


def test_what_a_baseline_answers_is_not_its_memory(images):
    model = ws.MeanImage().fit(images)
    before = model.mean.clone()
    model.denoise(images[:2].to(model.mean), 1.0).zero_()
    assert torch.equal(model.mean, before)
