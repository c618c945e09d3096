"""Finite numbers give a finite answer, or one ValueError that says what does not fit; digits that are lost are told."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgWarning

import wavescore_lite as ws
from wavescore_lite import joint_score
from wavescore_lite.networks import Network

SIZE = 8
BASIS = ws.WaveletBasis(SIZE)
FITS = pytest.mark.parametrize("fit", [ws.WaveletScore, ws.JointScore])


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=SIZE, limit=300)


@pytest.fixture(scope="module")
def noise():
    return torch.randn(300, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def network():
    made = Network("unet-small", SIZE, mean=0.2, sigma_data=0.3)
    for weights in made.parameters():
        weights.data += 0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    return made


@pytest.fixture(scope="module")
def models(images):
    made = [kind().fit(images) for kind in (ws.MeanImage, ws.Wiener, ws.PosteriorMean)]
    for coupling in (ws.independent(3), ws.independent(6), ws.band_tied(3, parent=True), ws.local_coupled(3)):
        made += [
            ws.WaveletScore(BASIS, coupling).fit(images),
            ws.WaveletScore(BASIS, coupling, "hermite", ridge=0.1, target="score", bounded=False).fit(images),
        ]
    frame = ws.WaveletScore(ws.WaveletFrame(SIZE), ws.independent(3)).fit(images, ws.SampledNoise([1e-9, 1.0, 1e9]))
    return [*made, ws.JointScore(BASIS, ws.independent(3)).fit(images), frame, network()]


@settings(max_examples=300)
@given(
    number=st.integers(0, 13),
    level=st.one_of(st.floats(-15, 15), st.sampled_from([-400, -320, -30, -15, -9, 0, 9, 15, 39, 155, 308])),
    scale=st.one_of(st.floats(-45, 38), st.sampled_from([-300, 0, 13, 38, 300])),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    way=st.sampled_from(["denoise", "score"]),
    several=st.booleans(),
)
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
def test_finite_input_gives_finite_output_or_one_error(models, images, number, level, scale, dtype, way, several):
    noisy = (images[:4].double() - 0.5) * 10.0**scale
    noisy = noisy.clamp(*(end * torch.finfo(dtype).max for end in (-1, 1))).to(dtype)
    sigma = torch.tensor([1.0, 10.0**level, 1.0, 1.0], dtype=torch.float64) if several else 10.0**level
    try:
        answer, message = getattr(models[number], way)(noisy, sigma), None
    except ValueError as error:
        answer, message = None, str(error)
    if answer is None:
        assert "expected" in message or "fitted on sampled noise" in message
    else:
        assert answer.isfinite().all()
        assert answer.dtype == dtype


@pytest.mark.parametrize("scale", [1e-38, 1e13, 3e38])
@pytest.mark.parametrize("sigma", [1e-15, 1e-6, 1.0, 1e15])
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
def test_bounded_models_and_memory_always_answer_in_single_precision(models, images, sigma, scale):
    half = images * (torch.arange(SIZE) < 4)  # the noise alone moves coefficients of the other half
    kept = [m for m in models if isinstance(m, ws.PosteriorMean) or (getattr(m, "bounded", False) and m.basis.wraps)]
    assert len(kept) == 6
    for model in [*kept, ws.WaveletScore(ws.WaveletBasis(SIZE, "haar"), ws.band_tied(3)).fit(half)]:
        answer = model.denoise(scale * (images[:4] - 0.5), sigma)
        assert -5 < answer.min() <= answer.max() < 6


def test_single_precision_is_enough_for_the_posterior_mean(images, noise):
    """Its exponents are divided by sigma^2: in float64 where what float32 rounds off would tell in a weight."""
    model = ws.PosteriorMean().fit(images)
    for sigma in (0.01, 0.1, 1.0):
        noisy = images + sigma * noise
        assert_allclose(model.denoise(noisy, sigma), model.denoise(noisy.double(), sigma), atol=2e-4)


@pytest.mark.parametrize("sigma", [1e-16, 1e16, 1e39, 1e-320, np.float64(1e300), torch.tensor(1e30), [1.0, 1e30]])
def test_noise_levels_out_of_range_are_named(models, images, sigma):
    for model in models[:4]:
        with pytest.raises(ValueError, match=r"sigma is .*; expected a noise level from 1e-15 to 1e\+15"):
            model.denoise(images[:2], torch.tensor(sigma) if isinstance(sigma, list) else sigma)


def test_a_whole_number_beyond_all_floats_is_no_noise_level(models, images):
    with pytest.raises(ValueError, match="expected a finite noise level > 0"):
        models[0].denoise(images[:2], 10**400)


@FITS
def test_sums_that_overflow_are_refused(fit, images):
    model = fit(BASIS, ws.independent(3), value_range=None).fit(1e60 * images.double())
    with (
        pytest.raises(ValueError, match="overflow float64; expected images of smaller values"),
        np.errstate(all="ignore"),
    ):
        model.denoise(images, 1.0)


def warned(model, images, sigma=1.0):
    """What it says of the solution, at the first question alone."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.denoise(images[:3], sigma)
        model.denoise(images[3:5], sigma)
    assert all(issubclass(one.category, LinAlgWarning) for one in said)
    return [str(one.message) for one in said]


@FITS
def test_condition_numbers_are_those_of_the_systems_that_are_solved(fit, images, monkeypatch):
    """In the 1-norm; LAPACK estimates that of one large system, from below."""
    solved = []

    def spy(place, name):
        solve = getattr(place, name)
        monkeypatch.setattr(
            place, name, lambda gram, right: solved.append(np.asarray(gram).copy()) or solve(gram, right)
        )

    spy(torch.linalg, "solve")
    spy(joint_score, "solve_in_place")
    model = fit(BASIS, ws.local_coupled(2), ridge=1e-3).fit(images)
    for sigma in (0.3, 2.0):
        _, found = model._solve(model.moments.equations(sigma), 1e-3)
        expected = max(np.linalg.cond(gram, 1).max() for gram in solved)
        assert_allclose(found, expected, rtol=1e-8 if fit is ws.WaveletScore else 0.3)
        solved.clear()


@FITS
def test_an_ill_conditioned_solve_says_so_once_for_a_fit(fit, images):
    far = images.double() + 30
    model = fit(BASIS, ws.independent(3), ridge=0.0, value_range=None).fit(far)
    (message,) = warned(model, far)
    stated = float(message.split("condition number is ")[1].split(",")[0])
    assert stated > 4.5e15
    assert "at sigma 1" in message
    assert warned(model, far, 0.9) == []
    assert len(warned(model.partial_fit(far), far)) == 1
    assert warned(fit(BASIS, ws.independent(3), ridge=0.0).fit(images), images) == []
    assert warned(fit(BASIS, ws.independent(3), ridge="auto").fit(images), images) == []


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize("shift", [0.3, 1, 3, 10, 30, 100, 1000])
def test_digits_that_a_mean_far_from_zero_costs_are_told(degree, shift, images, noise):
    """Without a ridge, grey added to all images changes nothing for a family that holds all powers, but digits."""
    noisy = images.double() + noise.double()
    here = ws.WaveletScore(BASIS, ws.independent(degree), ridge=0.0, bounded=False).fit(images.double())
    there = ws.WaveletScore(BASIS, ws.independent(degree), ridge=0.0, bounded=False, value_range=None)
    there.fit(images.double() + shift)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        lost = (there.denoise(noisy + shift, 1.0) - shift - here.denoise(noisy, 1.0)).abs().max().item()
    assert bool(said) == (shift >= 10)
    assert said or lost < 1e-8


def test_the_distance_is_in_noisy_standard_deviations_of_what_varies(images):
    far = 0.25 * images.double() + 20
    far[:, :, :2] = 20.0
    model = ws.WaveletScore(BASIS, ws.independent(1), value_range=None).fit(far)
    y = BASIS.analyze(far).numpy()
    distance = (abs(y.mean(axis=0)) / np.sqrt(y.var(axis=0) + 0.25))[np.ptp(y, axis=0) > 1e-6].max()
    (message,) = warned(model, far, 0.5)
    assert f"up to {distance:.1f} standard deviations from zero" in message
    flat = 1 - 0.25 * (images[:, :, :1] < 0).double().expand(-1, -1, 8)
    assert warned(ws.WaveletScore(BASIS, ws.independent(1)).fit(flat), flat, 0.01) == []


def test_an_estimate_depends_on_the_images_beside_it_by_rounding_alone(models, images, noise):
    for model in models:
        for dtype, accuracy in ((torch.float32, 1e-5), (torch.float64, 1e-5 if isinstance(model, Network) else 1e-11)):
            noisy = (images + noise).to(dtype)
            whole = model.denoise(noisy, 1.0)
            alone = torch.cat([model.denoise(part, 1.0) for part in noisy.split([1, 2, 297])])
            assert_allclose(alone, whole, atol=accuracy * max(1.0, whole.abs().max().item()))
