"""The estimator against quadrature, Monte Carlo, brute-force regression and known optima."""

from itertools import pairwise, product

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgWarning

import wavescore_lite as ws
from wavescore_lite.fitting import FORMAT
from wavescore_lite.moments import Moments
from wavescore_lite.noise import FITTING, standard_normal
from wavescore_lite.polynomials import PolynomialFamily
from wavescore_lite.support import storage

SIGMAS = (0.5, 1.0, 2.0, 4.0)


@pytest.fixture(scope="module")
def images():
    """Skewed, correlated images: smooth random fields, cubed and squashed into [0, 1]."""
    rng = np.random.default_rng(3)
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(8), np.fft.fftfreq(8)))
    fields = np.fft.ifft2(np.fft.fft2(rng.standard_normal((600, 8, 8))) / (0.1 + frequencies)).real
    return torch.from_numpy(scipy.stats.norm.cdf(fields / fields.std()) ** 3).float()


@pytest.fixture(scope="module")
def basis():
    return ws.WaveletBasis(8, level=1)


def band_pairs(degree):
    """A coupling of two coordinates, to exercise what is general: each detail with the next orientation."""
    table = np.array([[0, 0]] + [e for e in product(range(degree + 1), repeat=2) if e[0] and sum(e) <= degree])

    def build(basis):
        scaling = np.arange(basis.subbands[0].side ** 2)[:, None]
        details = np.arange(len(scaling), basis.dim)
        partner = np.where(details + 16 < basis.dim, details + 16, details - 32)
        return [
            ws.Group(scaling, PolynomialFamily(np.arange(degree + 1)[:, None])),
            ws.Group(np.stack([details, partner], axis=1), PolynomialFamily(table)),
        ]

    return ws.Coupling(f"band_pairs(degree={degree})", build)


COUPLINGS = [ws.independent(1), ws.independent(2), ws.independent(3), ws.independent(4), band_pairs(3)]
couplings = pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)


def features_of(group, coefficients):
    points = coefficients[:, group.neighbours]  # [n, m, Q]
    return np.prod(points[:, :, None, :] ** group.family.exponents, axis=-1)


@couplings
def test_gram_by_quadrature_over_the_noise(coupling, basis, images):
    model = ws.WaveletScore(basis, coupling).fit(images)
    clean = basis.analyze(images.double()).numpy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    weights = weights / weights.sum()
    for sigma in (0.5, 3.0):
        for group, ours in zip(model.groups, model.gram(sigma), strict=True):
            gram = 0
            for index in product(range(8), repeat=group.neighbours.shape[1]):
                points = clean[:, group.neighbours] + sigma * nodes[list(index)]
                phi = np.prod(points[:, :, None, :] ** group.family.exponents, axis=-1)
                gram = gram + weights[list(index)].prod() * np.einsum("nmf,nmg->mfg", phi, phi) / len(clean)
            assert_allclose(ours, gram, rtol=1e-11, atol=1e-11)


def test_gram_by_monte_carlo(basis, images):
    """400 noisy copies of each image: every entry within 5 standard errors of the exact one, and not far below."""
    model = ws.WaveletScore(basis, ws.independent(3)).fit(images)
    clean, sigma = basis.analyze(images.double()).numpy()[:, :, None], 1.0
    powers = np.arange(4)
    noise = np.random.default_rng(0).standard_normal((400, *clean.shape))
    gram = np.array([np.einsum("nmf,nmg->mfg", phi, phi) for phi in ((clean + sigma * z) ** powers for z in noise)])
    gram /= len(clean)
    error = gram.std(0, ddof=1) / np.sqrt(len(gram))
    deviations = (model.gram(sigma)[0].numpy() - gram.mean(0))[error > 0] / error[error > 0]
    assert np.abs(deviations).max() < 5
    assert np.abs(deviations).mean() > 0.4


@couplings
def test_gram_is_a_polynomial_in_the_variance(coupling, basis, images):
    """D + 1 noise levels fix the Gram at every other; D do not."""
    model = ws.WaveletScore(basis, coupling).fit(images)
    degree = max(group.family.degree for group in model.groups)
    for index in range(len(model.groups)):
        for count, holds in ((degree + 1, True), (degree, False)):
            variances = np.linspace(0.5, 3, count)
            grams = [model.gram(v**0.5)[index].numpy() for v in variances]
            lagrange = [np.prod([(2.2 - w) / (v - w) for w in variances if w != v]) for v in variances]
            predicted = sum(weight * gram for weight, gram in zip(lagrange, grams, strict=True))
            exact = model.gram(2.2**0.5)[index].numpy()
            agree = np.allclose(predicted, exact, rtol=1e-9, atol=1e-9)
            assert agree == holds


@couplings
@pytest.mark.parametrize("target", ["denoise", "score"])
def test_solution_is_a_weighted_regression_over_noise_nodes(coupling, target, basis, images):
    """Ridge regression on images at every quadrature node of the noise, written out with numpy for some targets."""
    sigma, ridge = 1.5, 0.01
    model = ws.WaveletScore(basis, coupling, ridge=ridge, target=target).fit(images)
    clean = basis.analyze(images.double()).numpy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    weights = weights / weights.sum()
    for group, ours in zip(model.groups, model.coefficients(sigma), strict=True):
        for i in (0, len(group.targets) // 2, -1):
            y = clean[:, group.neighbours[i]]
            spread = np.sqrt(y.var(axis=0) + sigma**2)
            gram, right = 0, 0
            for index in product(range(8), repeat=y.shape[1]):
                mass = weights[list(index)].prod() / len(y)
                noisy = (y + sigma * nodes[list(index)]) / spread
                phi = np.prod(noisy[:, None, :] ** group.family.exponents, axis=-1)
                lowered = np.maximum(group.family.exponents - np.eye(y.shape[1], dtype=int)[0], 0)
                slope = group.family.exponents[:, 0] * np.prod(noisy[:, None, :] ** lowered, axis=-1)
                values = phi * y[:, :1] if target == "denoise" else -slope / spread[0]
                gram, right = gram + mass * phi.T @ phi, right + mass * values.sum(0)
            hat = np.linalg.solve(gram + ridge * np.eye(len(gram)), right)
            expected = hat / np.prod(spread**group.family.exponents, axis=1)
            assert_allclose(ours[i], expected, rtol=1e-8, atol=1e-10)


@couplings
def test_two_targets_one_optimum(coupling, basis, images):
    """Without a ridge Stein's identity and regression on the clean image are the same denoiser, on any data."""
    noisy = images[:50].double() + 2 * torch.randn(50, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    by_score = ws.WaveletScore(basis, coupling, ridge=0, target="score").fit(images)
    by_image = ws.WaveletScore(basis, coupling, ridge=0, target="denoise").fit(images)
    for sigma in SIGMAS:
        assert_allclose(by_score.denoise(noisy, sigma), by_image.denoise(noisy, sigma), atol=2e-8)


def test_two_ridges_two_limits(basis, images):
    noisy = images[:20].double() + 1
    black = ws.WaveletScore(basis, ws.independent(3), ridge=1e9).fit(images)
    same = ws.WaveletScore(basis, ws.independent(3), ridge=1e9, target="score", bounded=False).fit(images)
    assert_allclose(black.denoise(noisy, 1.0), torch.zeros(20, 8, 8), atol=1e-5)
    assert_allclose(same.denoise(noisy, 1.0), noisy, atol=1e-5)
    assert_allclose(same.score(noisy, 1.0), torch.zeros(20, 8, 8), atol=1e-5)


def with_moments(model, raw_moments):
    """Give a model exact moments [d, 2 D + 1] in place of an image's sums; no range comes with them."""
    model.bounded = False
    model.moments = Moments(model.groups)
    size = len(model.groups[0].family.closed)
    hankel = np.arange(size)[:, None] + np.arange(size)
    model.moments.totals["gram_0"][0].copy_(torch.from_numpy(raw_moments[:, hankel]))
    model.moments.count = 1
    return model


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("target", ["denoise", "score"])
def test_gaussian_data_gives_the_diagonal_wiener_filter(degree, target, basis):
    rng = np.random.default_rng(degree)
    mean, deviation = rng.standard_normal(64), rng.uniform(0.2, 2, 64)
    moments = np.array(
        [
            [scipy.stats.norm(m, s).moment(k) if k else 1.0 for k in range(2 * degree + 1)]
            for m, s in zip(mean, deviation, strict=True)
        ]
    )
    model = with_moments(ws.WaveletScore(basis, ws.independent(degree), ridge=0, target=target), moments)
    noisy = torch.from_numpy(3 * rng.standard_normal((20, 8, 8)))
    y = basis.analyze(noisy).numpy()
    for sigma in SIGMAS:
        wiener = mean + deviation**2 / (deviation**2 + sigma**2) * (y - mean)
        assert_allclose(basis.analyze(model.denoise(noisy, sigma)), wiener, atol=1e-10)
        assert_allclose(model.coefficients(sigma)[0][:, 2:], 0, atol=1e-10)


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_mixture_score_is_projected(degree, basis):
    """On a Gaussian mixture the fit is the L2(p_sigma) projection of the true score, by adaptive quadrature."""
    weights, means, deviations, sigma = np.array([0.3, 0.7]), np.array([-1.5, 1.0]), np.array([0.4, 0.6]), 0.7
    raw = [
        sum(
            w * (scipy.stats.norm(m, s).moment(k) if k else 1)
            for w, m, s in zip(weights, means, deviations, strict=True)
        )
        for k in range(2 * degree + 1)
    ]
    model = ws.WaveletScore(basis, ws.independent(degree), ridge=0, target="score")
    ours = with_moments(model, np.tile(raw, (64, 1))).coefficients(sigma)[0][11].numpy()
    noisy_deviations = np.hypot(deviations, sigma)

    def density(x):
        return (weights * scipy.stats.norm.pdf(x, means, noisy_deviations)).sum()

    def true_score_times_density(x):
        return (weights * scipy.stats.norm.pdf(x, means, noisy_deviations) * (means - x) / noisy_deviations**2).sum()

    def integral(f):
        return scipy.integrate.quad(f, -12, 12, epsabs=1e-12, epsrel=1e-12, limit=200)[0]

    powers = range(degree + 1)
    gram = [[integral(lambda x, r=r, m=m: x ** (r + m) * density(x)) for m in powers] for r in powers]
    right = [integral(lambda x, r=r: x**r * true_score_times_density(x)) for r in powers]
    assert_allclose(ours, np.linalg.solve(gram, right), rtol=1e-7, atol=1e-7)


def test_units_do_not_matter(basis, images):
    """Images and noise in other units give the same estimate in those units, at any ridge."""
    options = {"ridge": 0.1, "value_range": None}
    ones = ws.WaveletScore(basis, ws.independent(3), **options).fit(images.double())
    bytes_ = ws.WaveletScore(basis, ws.independent(3), **options).fit(255 * images.double())
    noisy = images[:10].double() + 1
    assert_allclose(bytes_.denoise(255 * noisy, 255.0) / 255, ones.denoise(noisy, 1.0), rtol=1e-9, atol=1e-10)


def test_score_is_the_denoising_residual(basis, images):
    model = ws.WaveletScore(basis, ws.independent(2)).fit(images)
    noisy = images[:5].double() + 1
    assert_allclose(model.score(noisy, 2.0), (model.denoise(noisy, 2.0) - noisy) / 4, atol=1e-13)


@pytest.mark.parametrize("noise", [None, ws.SampledNoise([1, 2], draws=2, seed=5)], ids=["exact", "sampled"])
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 599), max_size=5, unique=True))
def test_batches_do_not_matter(noise, cuts, basis, images):
    whole = ws.WaveletScore(basis, band_pairs(2)).fit(images, noise=noise)
    ends = [0, *sorted(cuts), 600]
    parts = [images[a:b] for a, b in pairwise(ends)]
    streamed = ws.WaveletScore(basis, band_pairs(2)).fit(parts[0], noise=noise)
    for part in parts[1:]:
        streamed.partial_fit(part)
    for a, b in zip(whole.gram(1.0), streamed.gram(1.0), strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    for a, b in zip(whole.coefficients(1.0), streamed.coefficients(1.0), strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_merge_is_the_fit_of_both(basis, images):
    whole = ws.WaveletScore(basis, ws.independent(3)).fit(images)
    parts = [ws.WaveletScore(basis, ws.independent(3)).fit(part) for part in (images[:217], images[217:])]
    merged = parts[0].merge(parts[1])
    assert_allclose(merged.gram(1.0)[0], whole.gram(1.0)[0], rtol=1e-12)
    assert parts[0].moments.count == 217
    assert merged.moments.count == 600


@pytest.mark.parametrize("ridge", [1e-6, "auto"])
def test_merge_of_sampled_fits_continues_the_noise(ridge, basis, images):
    """After all images that were seen, those held out too."""

    def fit(part, first=0):
        noise = ws.SampledNoise([1.0], seed=4, first=first)
        return ws.WaveletScore(basis, ws.independent(2), ridge=ridge).fit(part, noise=noise)

    whole, first, second = fit(images), fit(images[:217]), fit(images[217:], 217)
    assert_allclose(second.merge(first).gram(1.0)[0], whole.gram(1.0)[0], rtol=1e-12)
    assert second.merge(first).chosen_ridge(1.0) == whole.chosen_ridge(1.0)
    with pytest.raises(ValueError, match=r"expected SampledNoise\(first=217\)"):
        first.merge(fit(images[217:]))


def test_fit_forgets_the_fit_before(basis, images):
    model = ws.WaveletScore(basis, ws.independent(2)).fit(images)
    assert model.num_parameters == 64 * 3
    assert model.fit(images[:100]).moments.count == 100


def test_singular_gram_asks_for_a_ridge(basis):
    """Moments of a distribution on one point leave 1 and y proportional; a ridge mends it."""
    for ridge in (0, 1e-6):
        model = with_moments(ws.WaveletScore(basis, ws.independent(1), ridge=ridge), np.ones((64, 3)))
        if ridge:
            with pytest.warns(LinAlgWarning, match=r"the condition number is 1.2e\+30"):
                assert model.coefficients(2.0**-40)[0].isfinite().all()
        else:
            with pytest.raises(ValueError, match=r"Gram of independent\(degree=1\) is singular at ridge 0; expected"):
                model.coefficients(2.0**-40)


def test_images_after_a_solution_change_it(basis, images):
    whole = ws.WaveletScore(basis, ws.independent(2)).fit(images)
    model = ws.WaveletScore(basis, ws.independent(2)).fit(images[:300])
    model.gram(2.0), model.denoise(images, 1.0)
    model.partial_fit(images[300:])
    assert_allclose(model.gram(2.0)[0], whole.gram(2.0)[0], rtol=1e-12)
    assert_allclose(model.denoise(images, 1.0), whole.denoise(images, 1.0), atol=1e-6)


def test_sampled_fits_merge_from_any_first_image(basis, images):
    def fit(first, last):
        model = ws.WaveletScore(basis, ws.independent(2))
        return model.fit(images[first:last], noise=ws.SampledNoise([1.0], first=first))

    merged = fit(0, 100).merge(fit(217, 600).merge(fit(100, 217)))
    assert_allclose(merged.coefficients(1.0)[0], fit(0, 600).coefficients(1.0)[0], rtol=1e-9, atol=1e-10)
    assert merged.moments.noise.first == 0


def test_long_batches_go_on_with_the_noise(basis, images):
    many, noise = images.repeat(8, 1, 1), ws.SampledNoise([1.0])
    at_once = ws.WaveletScore(basis, ws.independent(1)).fit(many, noise=noise)
    in_parts = ws.WaveletScore(basis, ws.independent(1)).fit(many[:2400], noise=noise).partial_fit(many[2400:])
    assert_allclose(at_once.gram(1.0)[0], in_parts.gram(1.0)[0], rtol=1e-12)


def test_merged_and_loaded_models_keep_their_options(basis, images, tmp_path):
    options = {"ridge": 0.1, "target": "score", "value_range": (-1.0, 2.0)}
    model = ws.WaveletScore(basis, ws.independent(1), **options).fit(2 * images)
    model.save(tmp_path / "model.npz")
    for other in (model.merge(model), ws.WaveletScore.load(tmp_path / "model.npz")):
        assert {name: getattr(other, name) for name in options} == options
        with pytest.raises(ValueError, match=r"expected values in \[-1.0, 2.0\]"):
            other.partial_fit(3 * images)


def test_no_gradient_is_tracked_through_a_fit(basis, images):
    """Fitted images in an autograd graph are taken as values: the same model, no graph."""
    traced = images.clone().requires_grad_()
    model = ws.WaveletScore(basis, ws.independent(2)).fit(traced)
    for result in (*model.bounds, model.denoise(images, 1.0), ws.Wiener().fit(traced).denoise(images, 1.0)):
        assert not result.requires_grad
    expected = ws.WaveletScore(basis, ws.independent(2)).fit(images).denoise(images, 1.0)
    assert torch.equal(model.denoise(images, 1.0), expected)


def test_arrays_and_strided_tensors_are_images_too(basis, images):
    model = ws.WaveletScore(basis, ws.independent(2)).fit(images.numpy())
    turned = images.mT
    assert_allclose(model.denoise(turned.numpy(), 1.0), model.denoise(turned.contiguous(), 1.0), atol=1e-6)
    assert_allclose(model.score(images[:1].expand(4, 8, 8), 2.0), model.score(images[[0] * 4], 2.0), atol=1e-6)


def test_merge_refuses_what_does_not_belong_together(basis, images):
    model = ws.WaveletScore(basis, ws.independent(2)).fit(images)
    with pytest.raises(ValueError, match="expected two models made alike"):
        model.merge(ws.WaveletScore(basis, ws.independent(3)).fit(images))
    with pytest.raises(RuntimeError, match="is not fitted"):
        model.merge(ws.WaveletScore(basis, ws.independent(2)))
    sampled = ws.WaveletScore(basis, ws.independent(2)).fit(images, noise=ws.SampledNoise([1.0]))
    with pytest.raises(ValueError, match="cannot merge a fit on sampled noise"):
        model.merge(sampled)
    other = ws.WaveletScore(basis, ws.independent(2)).fit(images, noise=ws.SampledNoise([2.0], first=600))
    with pytest.raises(ValueError, match="expected the same noise"):
        sampled.merge(other)


@pytest.mark.parametrize("target", ["denoise", "score"])
@pytest.mark.parametrize(
    "coupling", [ws.independent(3), band_pairs(2), ws.band_tied(2), ws.local_coupled(2, 1)], ids=repr
)
def test_sampled_fit_is_plain_regression_on_noisy_copies(target, coupling, basis, images):
    noise = ws.SampledNoise([0.7, 2.0], draws=3, seed=9)
    model = ws.WaveletScore(basis, coupling, ridge=1e-3, target=target).fit(images, noise=noise)
    clean = np.tile(basis.analyze(images.double()).numpy(), (3, 1))
    pixels = torch.cat([standard_normal(0, 600, (8, 8), seed=9, stream=FITTING, draw=k) for k in range(3)])
    noisy = clean + 2.0 * basis.analyze(pixels.double()).numpy()
    for group, ours in zip(model.groups, model.coefficients(2.0), strict=True):
        spread = noisy[:, group.neighbours].std(axis=0)  # [m, Q]
        scaled = noisy[:, group.neighbours] / spread
        phi = np.prod(scaled[:, :, None, :] ** group.family.exponents, axis=-1)
        lowered = np.maximum(group.family.exponents - np.eye(spread.shape[1], dtype=int)[0], 0)
        slope = group.family.exponents[:, 0] * np.prod(scaled[:, :, None, :] ** lowered, axis=-1)
        values = phi * clean[:, group.targets][:, :, None] if target == "denoise" else -slope / spread[:, :1]
        gram = np.einsum("nmf,nmg->mfg", phi, phi) / len(phi) + 1e-3 * np.eye(phi.shape[-1])
        hat = np.linalg.solve(gram, values.mean(0)[:, :, None])[..., 0]
        expected = hat / np.prod(spread[:, None, :] ** group.family.exponents, axis=-1)
        assert_allclose(ours, expected, rtol=1e-9, atol=1e-10)


def test_many_draws_approach_the_exact_fit(basis, images):
    exact = ws.WaveletScore(basis, ws.independent(2), ridge=0).fit(images).coefficients(1.0)[0]
    distance = [
        (
            ws.WaveletScore(basis, ws.independent(2), ridge=0)
            .fit(images, noise=ws.SampledNoise([1.0], draws=k))
            .coefficients(1.0)[0]
            - exact
        )
        .square()
        .mean()
        .sqrt()
        for k in (4, 64)
    ]
    assert 2.5 < distance[0] / distance[1] < 6  # a sixteenth of the variance


def test_nested_degrees_never_fit_worse(basis, images):
    """Exact training risk E|y_0 - a^T phi|^2 at ridge 0 falls with the degree, for every coefficient."""
    clean = basis.analyze(images.double())
    risks = []
    for degree in (1, 2, 3, 4):
        model = ws.WaveletScore(basis, ws.independent(degree), ridge=0).fit(images)
        a, right = model.coefficients(1.0)[0], model.moments.equations(1.0)[0].denoise
        risks.append(clean.square().mean(0) - (a * right).sum(1))
    for lower, higher in pairwise(risks):
        assert (higher <= lower + 1e-9).all()
    assert (risks[2] < risks[0] - 1e-4).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_denoise_keeps_shape_and_dtype(dtype, basis, images):
    model = ws.WaveletScore(basis, ws.independent(3)).fit(images)
    estimate = model.denoise(images[:7].to(dtype), 1.0)
    assert estimate.shape == (7, 8, 8)
    assert estimate.dtype == dtype
    assert_allclose(estimate, model.denoise(images[:7].double(), 1.0), atol=1e-5)


def test_refuses_what_it_cannot_fit(basis, images):
    model = ws.WaveletScore(basis, ws.independent(3))
    with pytest.raises(RuntimeError, match=r"is not fitted; expected fit\(images\) or load"):
        model.denoise(images, 1.0)
    for sigma in (0, -1.0, float("nan"), float("inf"), "1"):
        with pytest.raises(ValueError, match="expected a finite noise level > 0"):
            ws.WaveletScore(basis, ws.independent(1)).fit(images).denoise(images, sigma)
    with pytest.raises(TypeError, match="dtype uint8"):
        model.fit((255 * images).byte())
    with pytest.raises(ValueError, match=r"lie in \[.*, 255\]; expected values in \[0.0, 1.0\]"):
        model.fit(255 * images)
    with pytest.raises(ValueError, match=r"shape \[600, 1, 8, 8\]; expected \[n, 8, 8\]"):
        model.fit(images[:, None])
    with pytest.raises(ValueError, match="too few images: got 0"):
        model.fit(images[:0])
    with pytest.raises(ValueError, match="NaN"):
        model.fit(torch.full((3, 8, 8), float("nan")))
    for degree in (0, 7, 2.0):
        with pytest.raises(ValueError, match="expected an integer from 1 to 6"):
            ws.independent(degree)
    with pytest.raises(ValueError, match="expected one of 'denoise', 'score'"):
        ws.WaveletScore(basis, ws.independent(1), target="noise")
    with pytest.raises(ValueError, match="polynomials is 'legendre'; expected one of 'monomial'"):
        ws.WaveletScore(basis, ws.independent(1), polynomials="legendre")
    with pytest.raises(ValueError, match="ridge is -1; expected a finite number >= 0"):
        ws.WaveletScore(basis, ws.independent(1), ridge=-1)


def test_refuses_equations_of_no_image(basis):
    with pytest.raises(ValueError, match="too few images: 0 summed"):
        Moments(ws.independent(1).groups(basis)).equations(1.0)


def test_refuses_sampled_noise_that_cannot_be(basis, images):
    fitted = ws.WaveletScore(basis, ws.independent(3)).fit(images, noise=ws.SampledNoise([1, 2]))
    with pytest.raises(ValueError, match=r"sigma is 3.0; fitted on sampled noise at \[1.0, 2.0\] only"):
        fitted.denoise(images, 3.0)
    with pytest.raises(ValueError, match="too few images: 3 noisy copies for 4 features"):
        fitted.fit(images[:3], noise=ws.SampledNoise([1])).denoise(images, 1)
    with pytest.raises(ValueError, match="expected at least one, each once"):
        ws.SampledNoise([])
    with pytest.raises(ValueError, match="expected at least one, each once"):
        ws.SampledNoise([1, 1.0])
    with pytest.raises(ValueError, match="draws is 0; expected an integer >= 1"):
        ws.SampledNoise([1], draws=0)
    with pytest.raises(ValueError, match="expected a finite noise level"):
        ws.SampledNoise([0])


def test_refuses_couplings_that_do_not_cover(basis):
    family = PolynomialFamily(np.array([[0], [1]]))
    for neighbours, message in (
        (np.arange(63)[:, None], "expected each of 64 once"),
        (np.arange(64)[:, None] // 2, "expected each of 64 once"),
        (np.stack([np.arange(64), np.arange(64)[::-1]], 1), "2 neighbours a target, but exponents for 1"),
        (np.stack([np.arange(64), np.arange(1, 65)], 1), "outside 0 to 63"),
        (np.stack([np.arange(64), np.arange(-1, 63)], 1), "expected integers >= 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ws.WaveletScore(basis, ws.Coupling("odd", lambda _, n=neighbours: [ws.Group(n, family)]))


class TestFiles:
    @pytest.fixture(params=[None, ws.SampledNoise([1.0], seed=2)], ids=["exact", "sampled"])
    def model(self, request, basis, images):
        model = ws.WaveletScore(basis, band_pairs(2), ridge=1e-3, target="score")
        return model.fit(images, noise=request.param)

    def test_round_trip(self, model, images, tmp_path):
        model.save(tmp_path / "model.npz")
        loaded = ws.WaveletScore.load(tmp_path / "model.npz", basis=model.basis)
        assert repr(loaded) == repr(model)
        assert torch.equal(loaded.denoise(images, 1.0), model.denoise(images, 1.0))
        assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
        continued = loaded.partial_fit(images)
        assert continued.moments.count == 1200

    def test_refuses_every_truncation(self, model, tmp_path):
        path = tmp_path / "model.npz"
        model.save(path)
        whole = path.read_bytes()
        for kept in np.linspace(0, len(whole) - 1, 25).astype(int):
            path.write_bytes(whole[:kept])
            with pytest.raises(ValueError, match="cut short, damaged or no wavescore file"):
                ws.WaveletScore.load(path)

    def test_refuses_damage(self, model, tmp_path):
        path = tmp_path / "model.npz"
        model.save(path)
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="cut short, damaged"):
            ws.WaveletScore.load(path)

    def test_refuses_another_basis_version_kind_and_shape(self, model, tmp_path):
        path = tmp_path / "model.npz"
        model.save(path)
        with pytest.raises(ValueError, match=r"is of WaveletBasis\(8, .*level=1\); expected WaveletBasis\(16"):
            ws.WaveletScore.load(path, basis=ws.WaveletBasis(16))
        header, arrays = storage.read(path, "WaveletScore", FORMAT)
        for change, message in (
            ({"format": 2}, f"is of format 2, and this version reads {FORMAT}: make it again, by the same fit"),
            ({"kind": "Other"}, "kind 'Other'; expected 'WaveletScore'"),
        ):
            storage.write(path, header | change, arrays)
            with pytest.raises(ValueError, match=message):
                ws.WaveletScore.load(path)
        storage.write(path, header, {**arrays, "gram_0": arrays["gram_0"][:-1]})
        with pytest.raises(ValueError, match=r"holds shape \[.*\] for gram_0; expected shape \[.*16, 3, 3\]"):
            ws.WaveletScore.load(path)
        del arrays["gram_1"]
        storage.write(path, header, arrays)
        with pytest.raises(ValueError, match="holds nothing for gram_1"):
            ws.WaveletScore.load(path)

    def test_missing_and_unfitted(self, basis, tmp_path):
        with pytest.raises(FileNotFoundError):
            ws.WaveletScore.load(tmp_path / "nothing.npz")
        with pytest.raises(RuntimeError, match="is not fitted"):
            ws.WaveletScore(basis, ws.independent(1)).save(tmp_path / "model.npz")
        assert list(tmp_path.iterdir()) == []
