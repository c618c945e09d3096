"""Images of any height and width: turning them on their side turns everything that is made of them."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import wavescore_lite as ws
from wavescore_lite import metrics, probes
from wavescore_lite.bases import Subband
from wavescore_lite.bases.tree import places_around
from wavescore_lite.denoisers.protocol import score, sigma_range
from wavescore_lite.joint import ImageFeatures

SHAPE = (8, 12)
SIGMA = 0.7
COUPLINGS = [
    ws.independent(3),
    ws.band_tied(2, parent=True),
    ws.local_coupled(2, 1, pure_neighbours=True),
    ws.local_coupled(2, 1, parent=True, shared=True),
]


@pytest.fixture(scope="module")
def images():
    """Parts of strokes, neither square nor symmetric."""
    return ws.load_images("strokes", size=16, limit=700)[:, 3:11, 2:14].double()


def turned(images):
    return images.mT.contiguous()


def models(coupling):
    kinds = [ws.WaveletScore] if "shared" in repr(coupling) else [ws.WaveletScore, ws.JointScore]
    for kind in kinds:
        for target in ("denoise", "score"):
            yield lambda shape, kind=kind, target=target: kind(
                ws.WaveletBasis(shape), coupling, "hermite", 1e-4, target
            )


@pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
def test_fits_of_images_on_their_side_are_the_fits_on_their_side(coupling, images):
    """h and v change places, places change rows for columns, and nothing else may change."""
    noisy = images[:20] + SIGMA * torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    for make in models(coupling):
        upright, lying = make(SHAPE).fit(images), make(SHAPE[::-1]).fit(turned(images))
        estimate = upright.denoise(noisy, SIGMA)
        assert_allclose(lying.denoise(turned(noisy), SIGMA), turned(estimate), atol=1e-9)
        assert_allclose(upright.risk(SIGMA), lying.risk(SIGMA), rtol=1e-9)
        assert (estimate - noisy).square().mean() > 0.01


@pytest.mark.parametrize("kind", [ws.MeanImage, ws.Wiener, ws.PosteriorMean])
def test_baselines_take_rectangles(kind, images):
    noisy = images[:9] + SIGMA
    estimate = kind().fit(images).denoise(noisy, SIGMA)
    assert_allclose(kind().fit(turned(images)).denoise(turned(noisy), SIGMA), turned(estimate), atol=1e-9)
    with pytest.raises(ValueError, match=r"shape \[9, 12, 8\]; expected \[n, 8, 12\]"):
        kind().fit(images).denoise(turned(noisy), SIGMA)


def test_baselines_take_arrays():
    images = np.random.default_rng(0).uniform(size=(50, 8, 8))
    for kind in (ws.MeanImage, ws.Wiener, ws.PosteriorMean):
        model = kind().fit(images)
        assert torch.equal(model.denoise(images[:3], 1.0), model.denoise(torch.from_numpy(images[:3]), 1.0))
        assert model.score(images[:3], np.float32(2.0)).shape == (3, 8, 8)


NO_LEVELS = [True, "1", np.nan, 0, -1.0, None, np.array([1.0, 0.0]), [1.0, np.inf], torch.ones(3), np.ones((1, 2))]


@pytest.mark.parametrize("sigma", NO_LEVELS)
def test_noise_levels_that_are_none(sigma, images):
    with pytest.raises(ValueError, match=r"expected (a finite|finite|one) noise level"):
        ws.MeanImage().fit(images).denoise(images[:2], sigma)


@pytest.mark.parametrize("sigma", [1, 1.0, np.float32(1), np.array(1.0), np.array([1.0]), torch.tensor(1.0)])
def test_noise_levels_of_every_numeric_kind(sigma, images):
    wiener = ws.Wiener().fit(images)
    assert torch.equal(wiener.denoise(images[:2], sigma), wiener.denoise(images[:2], 1.0))


@pytest.mark.parametrize("kind", [ws.WaveletScore, ws.JointScore])
def test_exact_risk_of_rectangles_is_the_mean_over_draws(kind, images):
    model = kind(ws.WaveletBasis(SHAPE), ws.independent(2), ridge=1e-3).fit(images[:500])
    fresh = images[500:]
    draws = []
    for seed in range(40):
        noisy = fresh + SIGMA * ws.standard_normal(0, len(fresh), SHAPE, seed)
        draws.append((model.denoise(noisy, SIGMA) - fresh).square().mean().item())
    exact = model.risk(SIGMA, fresh)
    assert abs(np.mean(draws) - exact) < 4 * np.std(draws) / len(draws) ** 0.5
    assert np.std(draws) / len(draws) ** 0.5 < 0.005 * exact


def test_sampled_noise_and_files_of_rectangles(images, tmp_path):
    model = ws.WaveletScore(ws.WaveletBasis(SHAPE), ws.independent(2)).fit(images, ws.SampledNoise([1.0], draws=2))
    model.save(tmp_path / "model.npz")
    loaded = ws.WaveletScore.load(tmp_path / "model.npz", basis=ws.WaveletBasis(SHAPE))
    assert torch.equal(loaded.denoise(images[:5], 1.0), model.denoise(images[:5], 1.0))
    with pytest.raises(ValueError, match=r"is of WaveletBasis\(\(8, 12\), .*expected WaveletBasis\(\(12, 8\)"):
        ws.WaveletScore.load(tmp_path / "model.npz", basis=ws.WaveletBasis(SHAPE[::-1]))


def test_files_keep_a_filter_of_ones_own_and_a_frame(images, tmp_path):
    taps = [[0.6, 0.8], [-0.8, 0.6]]
    for basis in (ws.WaveletBasis(SHAPE, taps), ws.WaveletFrame(SHAPE, "db2", mode="reflect")):
        model = ws.WaveletScore(basis, ws.independent(2)).fit(images, ws.SampledNoise([1.0]))
        model.save(tmp_path / "model.npz")
        loaded = ws.WaveletScore.load(tmp_path / "model.npz")
        assert loaded.basis == basis
        assert torch.equal(loaded.denoise(images[:5], 1.0), model.denoise(images[:5], 1.0))


def test_models_in_filters_of_one_name_but_other_taps_do_not_merge(images):
    one, other = (
        ws.WaveletScore(ws.WaveletBasis(SHAPE, taps), ws.independent(1)).fit(images)
        for taps in ([[0.6, 0.8], [-0.8, 0.6]], [[0.8, 0.6], [-0.6, 0.8]])
    )
    with pytest.raises(ValueError, match="expected two models made alike"):
        one.merge(other)


class Pixels:
    """A basis of one's own: the pixels themselves, on a torus."""

    orthonormal = True

    def __init__(self, shape):
        self.shape, self.options = tuple(shape), {"shape": list(shape)}
        self.dim = self.shape[0] * self.shape[1]
        self.subbands = (Subband(0, "a", 0, self.shape),)

    def __eq__(self, other):
        return isinstance(other, Pixels) and self.options == other.options

    def __repr__(self):
        return f"Pixels({self.shape})"

    def analyze(self, images):
        return images.flatten(1)

    def synthesize(self, coefficients):
        return coefficients.unflatten(1, self.shape)

    def neighbours(self, index, radius=0, orientations=False, parent=False):
        return places_around(self.shape, radius, wraps=True)


def test_a_basis_of_ones_own_is_fitted_saved_and_read_back(images, tmp_path):
    basis, cropped = Pixels((7, 9)), images[:, :7, :9]  # an odd number of pixels
    for coupling in (ws.independent(2), ws.local_coupled(2, 1), ws.band_tied(2)):
        model = ws.WaveletScore(basis, coupling).fit(cropped)
        model.save(tmp_path / "model.npz")
        loaded = ws.WaveletScore.load(tmp_path / "model.npz", basis=Pixels((7, 9)))
        assert torch.equal(loaded.denoise(cropped[:5], 1.0), model.denoise(cropped[:5], 1.0))
        assert loaded.merge(model).fingerprint.startswith("1400 images")
    variance, mean = cropped.var(dim=0, correction=0), cropped.mean(dim=0)
    linear = ws.WaveletScore(basis, ws.independent(1), ridge=0).fit(cropped).denoise(cropped[:5], 0.5)
    assert_allclose(linear, mean + (cropped[:5] - mean) * variance / (variance + 0.25), atol=1e-9)
    with pytest.raises(
        ValueError, match=r"is of \{'kind': 'Pixels', .*expected load\(path, basis=...\), for there is no"
    ):
        ws.WaveletScore.load(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"is of .*'Pixels'.*; expected Pixels\(\(9, 7\)\)"):
        ws.WaveletScore.load(tmp_path / "model.npz", basis=Pixels((9, 7)))


def test_a_coupling_that_was_read_back_is_of_its_family(images, tmp_path):
    coupling = ws.local_coupled(2, 1, parent=True)
    ws.WaveletScore(ws.WaveletBasis(SHAPE), coupling).fit(images).save(tmp_path / "model.npz")
    loaded = ws.WaveletScore.load(tmp_path / "model.npz").coupling
    assert (loaded, loaded.family, loaded.options) == (coupling, coupling.family, coupling.options)
    assert ws.independent(3, parent=1) == ws.independent(3, parent=True)


def test_joint_features_of_a_rectangle_are_all_of_its_coefficients():
    basis = ws.WaveletBasis(SHAPE)
    features = ImageFeatures(ws.independent(2).groups(basis), basis.dim)
    assert len(features) == 1 + 2 * 96


def test_metrics_of_rectangles(images, rng):
    clean = torch.from_numpy(rng.uniform(size=(3, 14, 18)))
    estimate = (clean + 0.1 * torch.from_numpy(rng.standard_normal(clean.shape))).clamp(0, 1)
    basis = ws.WaveletBasis((14, 18), "haar", 1)
    parts = metrics.subband_errors(estimate, clean, basis)
    assert_allclose(parts.sum(dim=1), metrics.squared_errors(estimate, clean), rtol=1e-12)
    similarity = metrics.structural_similarity(estimate, clean)
    assert_allclose(metrics.structural_similarity(turned(estimate), turned(clean)), similarity, rtol=1e-12)
    squares = [metrics.structural_similarity(estimate[:, :, k : k + 14], clean[:, :, k : k + 14]) for k in (0, 4)]
    assert (similarity - torch.stack(squares).mean(dim=0)).abs().max() < 0.05
    with pytest.raises(ValueError, match="errors do not split over WaveletFrame"):
        metrics.subband_errors(estimate, clean, ws.WaveletFrame((14, 18)))
    with pytest.raises(ValueError, match="batch is 0; expected an integer >= 1"):
        ws.denoising_errors(ws.MeanImage().fit(clean), clean, SIGMA, batch=0)
    quality = metrics.image_quality(ws.MeanImage().fit(clean), clean, SIGMA, basis=basis)
    assert quality["subbands"].shape == (3, 4)
    assert ws.denoising_mse(ws.MeanImage().fit(clean), clean, SIGMA) > 0


def test_probes_of_rectangles(images):
    wiener = ws.Wiener().fit(images)
    jacobian = probes.jacobian(wiener, images[:1], SIGMA)
    assert jacobian.shape == (96, 96)
    assert_allclose(jacobian, jacobian.T, atol=1e-8)
    field = torch.zeros(1, *SHAPE)
    field[0, 4, 6], field[0, 4, 11] = 1.0, 1.0
    assert probes.reach(field, 0.9).item() == 5
    assert probes.shift_error(wiener, images[:5], SIGMA, (2, 3)) > 0


def test_a_tree_of_a_rectangle_has_each_subband_in_its_quarter():
    basis = ws.WaveletBasis((8, 16), level=1)
    numbers = np.concatenate([np.full(32, k) for k in range(4)])
    picture = ws.plots.tree_image(basis, torch.from_numpy(numbers))
    expected = np.kron([[0, 2], [1, 3]], np.ones((4, 8)))
    assert_array_equal(picture, expected)
    frame = ws.WaveletFrame(16)
    with pytest.raises(ValueError, match="more coefficients than pixels; expected a WaveletBasis"):
        ws.plots.tree_image(frame, torch.zeros(frame.dim))


def test_samples_of_rectangles(images):
    wiener = ws.Wiener().fit(images)
    samples = ws.sample(wiener, (4, *SHAPE), seed=0)
    assert samples.shape == (4, *SHAPE)
    assert samples.isfinite().all()


def test_sampling_keeps_to_the_noise_levels_of_a_denoiser():
    network = ws.networks.Network("cnn", 8, mean=0.2, sigma_data=0.3)
    samples, path = ws.sample(network, (3, 8, 8), path=True)
    assert samples.isfinite().all()
    assert path[0].std() == pytest.approx(network.sigma_range[1], rel=0.2)


def test_every_denoiser_has_its_score_from_one_function(images):
    """(D - x) / sigma^2, and the noise levels that it answers for."""
    square = ws.load_images("strokes", size=8, limit=300)
    basis = ws.WaveletBasis(8)
    noise = ws.SampledNoise([0.5, 2.0], draws=3)
    denoisers = [kind().fit(square) for kind in (ws.MeanImage, ws.Wiener, ws.PosteriorMean)]
    denoisers += [kind(basis, ws.independent(2)).fit(square) for kind in (ws.WaveletScore, ws.JointScore)]
    denoisers += [ws.WaveletScore(basis, ws.independent(2)).fit(square, noise), ws.networks.Network("cnn", 8)]
    noisy = square[:5] + 1.0
    for denoiser in denoisers:
        low, high = sigma_range(denoiser)
        sigma = max(low, 0.5)
        expected = (denoiser.denoise(noisy, sigma) - noisy) / sigma**2
        assert torch.equal(denoiser.score(noisy, sigma), expected)
        assert torch.equal(score(denoiser, noisy, sigma), expected)
        assert low < high
    assert sigma_range(denoisers[-2]) == (0.5, 2.0)
    assert sigma_range(denoisers[-1]) == ws.networks.SIGMA_RANGES["log-normal"]
    assert sigma_range(denoisers[0]) == (0.0, np.inf)
