"""Estimates stay where posterior means lie, within the range of each clean coefficient, and so do samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import wavescore_lite as ws

KINDS = [ws.WaveletScore, ws.JointScore]
SIGMAS = ws.noise_levels(12, sigma_max=20.0, sigma_min=0.05)


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=8, limit=300)


@pytest.fixture(scope="module")
def dots():
    """Few bright pixels: heavy tails, which degree 3 runs away with."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(1000, 8, 8, generator=generator) < 0.03) * torch.rand(1000, 8, 8, generator=generator)


@pytest.fixture(scope="module")
def basis():
    return ws.WaveletBasis(8)


def within(model, estimates, slack=1e-5):
    lowest, highest = model.bounds
    y = model.basis.analyze(estimates).double()
    return ((y >= lowest - slack) & (y <= highest + slack)).all()


@pytest.mark.parametrize("ridge", [1e-6, "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_the_range_of_the_clean_coefficients(kind, ridge, images, basis, tmp_path):
    y = basis.analyze(images.double())
    model = kind(basis, ws.independent(2), ridge=ridge).fit(images)
    streamed = kind(basis, ws.independent(2), ridge=ridge)
    for part in images.split(77):
        streamed.partial_fit(part)
    halves = [kind(basis, ws.independent(2), ridge=ridge).fit(part) for part in images.split(150)]
    model.save(tmp_path / "model")
    for each in (model, streamed, halves[0].merge(halves[1]), kind.load(tmp_path / "model")):
        assert torch.equal(torch.stack(each.bounds), torch.stack([y.amin(dim=0), y.amax(dim=0)]))


@pytest.mark.parametrize("noise", [None, ws.SampledNoise([0.1, 2.0], draws=2)])
@pytest.mark.parametrize("target", ["denoise", "score"])
@pytest.mark.parametrize("kind", KINDS)
def test_estimates_are_the_bare_ones_kept_within_bounds(kind, target, noise, dots, basis):
    bounded, bare = (
        kind(basis, ws.independent(3), target=target, bounded=bounded).fit(dots, noise) for bounded in (True, False)
    )
    noisy = dots[:50].double() + 0.5 * torch.randn(50, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.clamp(basis.analyze(bare.denoise(noisy, 0.1)), *bounded.bounds)
    estimate = bounded.denoise(noisy, 0.1)
    assert_allclose(basis.analyze(estimate), expected, atol=1e-12)
    assert (expected - basis.analyze(bare.denoise(noisy, 0.1))).abs().max() > 1e-3
    assert not within(bare, bare.denoise(noisy, 0.1))
    assert_allclose(bounded.score(noisy, 0.1), (estimate - noisy) / 0.01, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_rises_on_images_in_range(kind, dots, basis):
    """Projection on a convex set that holds the truth: for each image, not in the mean only."""
    for degree, sigma in ((2, 0.1), (3, 0.03), (3, 0.1)):
        noisy = dots + sigma * torch.randn(dots.shape, generator=torch.Generator().manual_seed(1))
        bounded, bare = (
            (kind(basis, ws.independent(degree), bounded=bounded).fit(dots).denoise(noisy, sigma) - dots)
            .square()
            .sum(dim=(1, 2))
            for bounded in (True, False)
        )
        assert (bounded <= bare * (1 + 1e-5)).all()
        assert (bounded < bare).any()


def test_the_risk_is_of_the_bare_polynomial(images, basis):
    bounded, bare = (ws.WaveletScore(basis, ws.independent(3), bounded=b).fit(images) for b in (True, False))
    assert bounded.risk(1.0) == bare.risk(1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e3, 1e10, 1e20, 1e37])
def test_estimates_of_images_far_away_are_finite_and_at_the_bounds(kind, scale, images, basis):
    model = kind(basis, ws.independent(3)).fit(images)
    estimate = model.denoise(scale * (images[:5] - 0.5), 1.0)
    assert estimate.isfinite().all()
    assert within(model, estimate)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_polynomial_that_overflows_says_so(kind, images, basis):
    model = kind(basis, ws.independent(3), bounded=False).fit(images)
    with pytest.raises(ValueError, match=r"overflows torch.float32 at sigma 1, for pixels up to .*bounded=True"):
        model.denoise(1e20 * images[:5], 1.0)


def test_bare_and_bounded_models_do_not_merge_and_are_told_apart(images, basis):
    bounded, bare = (ws.WaveletScore(basis, ws.independent(2), bounded=b).fit(images) for b in (True, False))
    assert repr(bare) == repr(bounded)[:-1] + ", bounded=False)"
    with pytest.raises(ValueError, match="cannot merge"):
        bounded.merge(bare)


def test_a_file_keeps_whether_the_model_is_bounded(images, basis, tmp_path):
    for bounded in (True, False):
        ws.WaveletScore(basis, ws.independent(2), bounded=bounded).fit(images).save(tmp_path / "model")
        assert ws.WaveletScore.load(tmp_path / "model").bounded is bounded


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_samples_stay_within_bounds_where_the_bare_score_runs_away(kind, stochasticity, dots, basis):
    bounded, bare = (kind(basis, ws.independent(3), bounded=b).fit(dots) for b in (True, False))
    samples = ws.sample(bounded, (200, 8, 8), stochasticity=stochasticity)
    assert samples.isfinite().all()
    assert within(bounded, samples)
    with pytest.raises(ValueError, match=r"NaN or infinity|overflows"):
        ws.sample(bare, (200, 8, 8), stochasticity=stochasticity)


COUPLINGS = st.one_of(
    st.builds(ws.independent, st.integers(1, 5)),
    st.builds(ws.band_tied, st.integers(1, 3), parent=st.booleans(), shared=st.booleans()),
    st.builds(ws.local_coupled, st.integers(1, 3), st.just(1), pure_neighbours=st.booleans(), shared=st.booleans()),
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    coupling=COUPLINGS,
    wavelet=st.sampled_from(["haar", "db2", "db4", "sym4"]),
    polynomials=st.sampled_from(["monomial", "hermite"]),
    target=st.sampled_from(["denoise", "score"]),
    ridge=st.sampled_from([0.0, 1e-6, 1e-2]),
    solver=st.sampled_from(["heun", "euler"]),
    stochasticity=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_samples_of_any_model_are_finite_and_within_bounds(
    images, coupling, wavelet, polynomials, target, ridge, solver, stochasticity, seed
):
    model = ws.WaveletScore(ws.WaveletBasis(8, wavelet), coupling, polynomials, ridge, target).fit(images)
    samples = ws.sample(model, (20, 8, 8), SIGMAS, stochasticity, seed, solver=solver)
    assert samples.isfinite().all()
    assert within(model, samples)
