"""Measures of samples against other computations of the same, against theory, and against damage done on purpose."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.stats import kurtosis, skew, wasserstein_distance

import wavescore_lite as ws
from wavescore_lite.quality import (
    coefficient_moments,
    density_coverage,
    frechet_distance,
    kernel_distance,
    memorisation,
    moment_discrepancies,
    nearest_images,
    pixels,
    power_spectrum,
    precision_recall,
    sliced_wasserstein,
    spectrum_distance,
    unbiased_frechet_distance,
)
from wavescore_lite.quality import features as feature_distances

pytestmark = pytest.mark.usefixtures("single_threaded")

COUNT = 500  # samples, and references, of the tests that damage images
OF_FEATURES = (frechet_distance, unbiased_frechet_distance, kernel_distance, precision_recall, density_coverage)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_and_error(values):
    return np.mean(values), np.std(values, ddof=1) / len(values) ** 0.5


@pytest.mark.parametrize("shapes", [((50, 8), (70, 8)), ((50, 1), (20, 1)), ((6, 8), (70, 8))])
def test_frechet_distance_is_that_of_another_matrix_root(shapes):
    mixing = normal(8, 8, seed=3)[: shapes[0][1], : shapes[0][1]]
    first, second = normal(*shapes[0]) @ mixing + 0.3, normal(*shapes[1], seed=1)
    moments = [(part.numpy().mean(axis=0), np.atleast_2d(np.cov(part.numpy().T))) for part in (first, second)]
    (mean, covariance), (other_mean, other) = moments
    root = sqrtm(covariance @ other).real
    expected = np.sum((mean - other_mean) ** 2) + np.trace(covariance + other - 2 * root)
    assert_allclose(frechet_distance(first, second), expected, rtol=1e-6)
    assert_allclose(frechet_distance(second.float(), first), expected, rtol=1e-5)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_the_bias_of_the_frechet_distance_is_as_large_as_theory_says_and_is_removed():
    """Two sets of one Gaussian law with variances l: to second order in what differs the distance is

    |m - m'|^2 + sum_ij (C - C')_ij^2 / (2 (l_i + l_j)), and E (C - C')_ij^2 = (1/n + 1/n') (1 + d_ij) l_i l_j.
    """
    variances, n, m = torch.tensor([4.0, 1.0, 0.5, 0.1]).double(), 400, 800
    pairs = variances * variances[:, None] / (variances + variances[:, None]) / 2
    bias = (1 / n + 1 / m) * (variances.sum() + pairs.sum() + pairs.trace()).item()
    biased, unbiased = [], []
    for seed in range(300):
        samples, reference = (normal(n + m, 4, seed=seed) * variances.sqrt()).split([n, m])
        biased.append(frechet_distance(samples, reference))
        unbiased.append(unbiased_frechet_distance(samples, reference, seed))
    mean, error = mean_and_error(biased)
    assert mean == pytest.approx(bias, abs=3 * error + 0.01 * bias)
    assert error < 0.05 * bias
    mean, error = mean_and_error(unbiased)
    assert abs(mean) < 3 * error < 0.2 * bias


def test_the_unbiased_frechet_distance_is_that_of_the_laws():
    scales, shift = torch.tensor([2.0, 1.0, 0.5]).double(), torch.tensor([0.3, 0.0, 0.0]).double()
    truth = shift.square().sum().item() + (scales - 1).square().sum().item()
    pairs = [normal(2 * 300, 3, seed=seed).split(300) for seed in range(200)]
    mean, error = mean_and_error([unbiased_frechet_distance(scales * x + shift, y) for x, y in pairs])
    assert mean == pytest.approx(truth, abs=3 * error)
    mean, error = mean_and_error([frechet_distance(scales * x + shift, y) for x, y in pairs])
    assert mean > truth + 3 * error


def test_a_line_is_extrapolated_from_disjoint_parts(monkeypatch):
    """In place of the distance a number that is 5 + 7 / n + 9 / m, of parts that together are everything, once."""
    seen = {parts: [] for parts in (1, 2, 3, 4)}

    def linear(samples, reference):
        seen[120 // len(samples)].append(samples)
        return 5 + 7 / len(samples) + 9 / len(reference)

    monkeypatch.setattr(feature_distances, "frechet_distance", linear)
    samples, reference = normal(120, 3), normal(240, 3)
    assert unbiased_frechet_distance(samples, reference) == pytest.approx(5)
    for parts in seen.values():
        assert_allclose(torch.cat(parts).sort(dim=0).values, samples.sort(dim=0).values)


def test_kernel_distance_is_the_sum_over_all_pairs(monkeypatch):
    monkeypatch.setattr(feature_distances, "BLOCK", 4)
    x, y = normal(9, 5).numpy(), normal(7, 5, seed=1).numpy() + 0.5
    within = [np.mean([(a @ b / 5 + 1) ** 3 for a, b in itertools.permutations(points, 2)]) for points in (x, y)]
    between = np.mean([(a @ b / 5 + 1) ** 3 for a in x for b in y])
    expected = sum(within) - 2 * between
    assert_allclose(kernel_distance(torch.from_numpy(x), torch.from_numpy(y)), expected, rtol=1e-12)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0, 1.5)])
def test_kernel_distance_is_unbiased(shift, scale):
    """In one dimension E k(x, y) = sum_p binom(3, p) m_p m'_p, so that moments up to the third give the distance."""
    moments = np.array([1, shift, shift**2 + scale**2, shift**3 + 3 * shift * scale**2])
    truth = np.sum([1, 3, 3, 1] * (moments - [1, 0, 1, 0]) ** 2)
    draws = [normal(150, 1, seed=seed).split([50, 100]) for seed in range(400)]
    mean, error = mean_and_error([kernel_distance(scale * x + shift, y) for x, y in draws])
    assert mean == pytest.approx(truth, abs=3 * error)
    assert error < 0.1 * max(1, truth)


def balls(samples, reference, neighbours):
    """Which sample lies in the ball of which reference, whose radius a tree finds."""
    tree = cKDTree(reference)
    radii = tree.query(reference, k=[neighbours + 1])[0][:, 0]
    return np.array(
        [[np.linalg.norm(x - y) <= radius for y, radius in zip(reference, radii, strict=True)] for x in samples]
    )


@pytest.mark.parametrize("neighbours", [1, 4])
def test_neighbourhoods_are_those_of_a_tree(neighbours, monkeypatch):
    monkeypatch.setattr("wavescore_lite.quality.neighbours.BLOCK", 16)
    samples, reference = normal(60, 3).numpy() * 0.7 + 0.5, normal(45, 3, seed=1).numpy()
    pair = torch.from_numpy(samples), torch.from_numpy(reference)
    inside, around = balls(samples, reference, neighbours), balls(reference, samples, neighbours)
    shares = inside.any(axis=1).mean(), around.any(axis=1).mean()
    assert 0.1 < min(shares) < 0.95
    assert_allclose(precision_recall(*pair, neighbours), shares)
    assert_allclose(density_coverage(*pair, neighbours), (inside.sum() / neighbours / 60, inside.any(axis=0).mean()))


def test_copies_of_the_reference_are_precise_and_cover_it():
    reference = normal(80, 64).float()
    assert precision_recall(reference.flip(0), reference) == (1, 1)
    density, coverage = density_coverage(reference.flip(0), reference)
    assert (density, coverage) == (pytest.approx(6 / 5), 1)  # each point lies in its own ball as well
    assert precision_recall(reference + 100, reference) == density_coverage(reference + 100, reference) == (0, 0)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (40, 90)])
def test_density_and_coverage_of_equal_laws_are_as_expected(n, m):
    draws = [density_coverage(*normal(n + m, 3, seed=seed).split([n, m])) for seed in range(150)]
    density, coverage = (mean_and_error(values) for values in np.transpose(draws))
    assert density[0] == pytest.approx(1, abs=3 * density[1])
    expected = 1 - math.prod((m - j) / (m + n - j) for j in range(1, 6))
    assert coverage[0] == pytest.approx(expected, abs=3 * coverage[1])
    assert max(density[1], coverage[1]) < 0.03


@pytest.mark.parametrize("measure", OF_FEATURES)
def test_other_features_are_refused(measure):
    for samples, reference, message in (
        (normal(400, 8), normal(400, 7), r"shapes \[400, 8\] and \[400, 7\]; expected \[n, f\] and \[m, f\]"),
        (normal(400), normal(400, 1), r"shapes \[400\] and \[400, 1\]"),
        (normal(1, 8), normal(400, 8), r"with n and m >= \d+"),
        (normal(400, 8) / 0, normal(400, 8), "NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(samples, reference)


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="with n and m >= 36"):
        unbiased_frechet_distance(normal(35, 8), normal(400, 8))
    for measure in (precision_recall, density_coverage):
        with pytest.raises(ValueError, match="with n and m >= 10"):
            measure(normal(20, 2), normal(9, 2), neighbours=9)
        with pytest.raises(ValueError, match="neighbours is 0; expected an integer >= 1"):
            measure(normal(20, 2), normal(9, 2), neighbours=0)


def test_nearest_images_are_those_of_a_tree(monkeypatch):
    monkeypatch.setattr("wavescore_lite.quality.neighbours.NEAREST", 8)
    images, training = normal(30, 8, 9), normal(70, 8, 9, seed=1)
    distances, indices = cKDTree(training.flatten(1).numpy()).query(images.flatten(1).numpy())
    found = nearest_images(images, training.float())
    assert found[1].tolist() == indices.tolist()
    assert_allclose(found[0], distances, rtol=1e-6)
    assert nearest_images(training[5:6], training)[0].item() == 0
    with pytest.raises(ValueError, match=r"shape \[30, 8, 9\]; expected \[n, 8, 8\]"):
        nearest_images(images, training[:, :, :8])


def test_memorisation_counts_what_is_nearer_than_a_hundredth_of_held_out_images():
    """All images of one grey each: the training images black, so that distances are 8 times the greys."""

    def greys(values):
        return torch.as_tensor(values, dtype=torch.float64)[:, None, None].expand(-1, 8, 8)

    held_out, training = greys(np.arange(1, 102) / 100), greys(np.zeros(3))
    found = memorisation(greys([0.001, 0.015, 0.021, 0.255, 0.51]), held_out, training)
    assert found == {"nearest": pytest.approx(0.021 / 0.51), "copied": pytest.approx(2 / 5)}
    twice = greys([0.0] * 3 + [0.5] * 98)  # some held-out images may be training images as well
    assert memorisation(training, twice, training) == {"nearest": 0, "copied": 1}
    with pytest.raises(ValueError, match="most of 3 held-out images are training images"):
        memorisation(held_out, training, training)


@pytest.fixture(scope="module")
def strokes():
    return ws.load_images("strokes", size=16, limit=600)


def test_moments_are_those_of_scipy(strokes, monkeypatch):
    monkeypatch.setattr(pixels, "BATCH", 100)
    basis = ws.WaveletBasis(16)
    y = basis.analyze(strokes.double()).numpy()
    found = coefficient_moments(strokes, basis)
    assert_allclose(found[:2], [y.mean(axis=0), y.var(axis=0)], atol=1e-12)
    alive = y.var(axis=0) > 1e-4
    assert alive.sum() > 150
    assert_allclose(found[2:, alive], [skew(y)[alive], kurtosis(y)[alive]], rtol=1e-6, atol=1e-6)
    assert coefficient_moments(torch.full((5, 16, 16), 0.3), basis)[1:].abs().max() < 1e-12
    with pytest.raises(ValueError, match=r"shape \[600, 16, 16\]; expected \[n, 32, 32\]"):
        coefficient_moments(strokes, ws.WaveletBasis(32))


def test_discrepancies_are_averages_with_the_variance_as_weight(strokes):
    basis, samples = ws.WaveletBasis(16), 1.3 * strokes[:200] + 0.1
    given, expected = (coefficient_moments(images, basis).numpy() for images in (samples, strokes))
    found, weights = moment_discrepancies(samples, strokes, basis), expected[1] / expected[1].sum()
    assert list(found) == list(pixels.MOMENTS)
    assert found["mean"] ** 2 == pytest.approx(np.sum((given[0] - expected[0]) ** 2) / expected[1].sum())
    assert found["variance"] == pytest.approx(np.abs(given[1] - expected[1]).sum() / expected[1].sum())
    for row, name in ((2, "skewness"), (3, "kurtosis")):
        assert found[name] == pytest.approx(np.average(np.abs(given[row] - expected[row]), weights=weights))
    with pytest.raises(ValueError, match="2 reference images are all the same; expected images that vary"):
        moment_discrepancies(strokes, torch.zeros(2, 16, 16), basis)


def test_a_spectrum_is_a_sum_over_rings_of_waves(monkeypatch):
    monkeypatch.setattr(pixels, "BATCH", 2)
    images = normal(3, 8, 14)
    rows, columns = np.mgrid[:8, :14]
    rings = {ring: [] for ring in range(5)}
    for down, across in itertools.product(range(-4, 4), range(-7, 7)):
        wave = np.exp(-2j * np.pi * (down * rows / 8 + across * columns / 14))
        power = np.mean(np.abs((images.numpy() * wave).sum(axis=(1, 2))) ** 2) / 112
        rings.setdefault(math.floor(8 * math.hypot(down / 8, across / 14) + 0.5), []).append(power)
    assert_allclose(power_spectrum(images), [np.mean(rings[ring]) for ring in range(5)], rtol=1e-10)


def test_the_spectrum_of_white_noise_is_its_variance_and_distances_are_decibels():
    noise = 0.3 * normal(2000, 16, 16)
    assert_allclose(power_spectrum(noise), np.full(9, 0.09), rtol=0.1)
    assert spectrum_distance(noise, 2 * noise) == pytest.approx(20 * math.log10(2))
    assert spectrum_distance(noise, noise) == 0
    assert 50 < spectrum_distance(torch.ones(2, 16, 16), noise) < 150
    with pytest.raises(ValueError, match=r"expected \[n, 16, 16\]"):
        spectrum_distance(noise[:, :8, :8], noise)


@pytest.mark.parametrize("sizes", [(40, 40), (30, 70)])
def test_sliced_wasserstein_distance_is_that_of_scipy_along_the_same_directions(sizes):
    samples, reference = 0.8 * normal(sizes[0], 4, 4) + 0.1, normal(sizes[1], 4, 4, seed=1).round(decimals=1)
    directions = np.random.default_rng(5).standard_normal((16, 20))
    directions /= np.linalg.norm(directions, axis=0)
    projected = [(part.flatten(1).numpy() @ directions).T for part in (samples, reference)]
    expected = np.mean([wasserstein_distance(*pair) for pair in zip(*projected, strict=True)])
    assert_allclose(sliced_wasserstein(samples, reference, directions=20, seed=5), expected, rtol=1e-12)
    for other in (reference[:, :, :3], reference / 0):
        with pytest.raises(ValueError, match="expected one shape, and finite values"):
            sliced_wasserstein(samples, other)
    with pytest.raises(ValueError, match="directions is 0"):
        sliced_wasserstein(samples, reference, directions=0)


def test_groups_give_a_mean_and_its_standard_error():
    given = []

    def measure(part):
        given.append(part.tolist())
        return {"mean": part.mean().item(), "largest": part.max().item()}

    means, errors = ws.over_groups(measure, torch.tensor([1.0, 3.0, 4.0, 8.0, 0.0, 2.0, 9.0]), groups=3)
    assert given == [[1, 3], [4, 8], [0, 2]]
    assert means == {"mean": 3, "largest": pytest.approx(13 / 3)}
    assert errors["mean"] == pytest.approx(np.std([2, 6, 1], ddof=1) / 3**0.5)
    with pytest.raises(ValueError, match="there are 2 samples for 3 groups"):
        ws.over_groups(measure, torch.zeros(2), groups=3)
    with pytest.raises(ValueError, match="groups is 1; expected an integer >= 2"):
        ws.over_groups(measure, torch.zeros(2), groups=1)


@pytest.fixture(scope="module")
def classifier():
    return ws.load_classifier("strokes")


@pytest.fixture(scope="module")
def real():
    """Images to damage with their classes, as many references, and training images."""
    test, labels = (
        ws.load_images("strokes", split="test", limit=5 * COUNT),
        ws.load_labels("strokes", "test", 5 * COUNT),
    )
    return test[COUNT:], labels[COUNT:], test[:COUNT], ws.load_images("strokes", limit=2000)


def test_a_row_holds_what_the_functions_say(classifier, real):
    images, _, reference, training = real
    samples, basis = images[:300], ws.WaveletBasis(32, "haar")
    row = ws.sample_quality(samples, reference, classifier, basis, training, seed=3)
    seen, expected = classifier.features(samples), classifier.features(reference)
    chosen = np.random.default_rng(3).permutation(COUNT)[:300]
    assert row == {
        "frechet": frechet_distance(seen, expected),
        "frechet_unbiased": unbiased_frechet_distance(seen, expected, 3),
        "kernel": kernel_distance(seen, expected),
        **dict(zip(("precision", "recall"), precision_recall(seen, expected[chosen]), strict=True)),
        **dict(zip(("density", "coverage"), density_coverage(seen, expected[chosen]), strict=True)),
        **moment_discrepancies(samples, reference, basis),
        "spectrum": spectrum_distance(samples, reference),
        "sliced": sliced_wasserstein(samples, reference, seed=3),
        **memorisation(samples, reference[chosen], training),
    }
    assert list(ws.sample_quality(samples, reference, classifier)) == list(row)[:-2]
    with pytest.raises(ValueError, match="there are 500 samples and 300 references; expected at least as many"):
        ws.sample_quality(reference, samples, classifier)
    with pytest.raises(ValueError, match=r"expected \[n, 32, 32\]"):
        ws.sample_quality(samples[:, :16, :16], reference, classifier)


@pytest.mark.parametrize("value", [0.0, 0.7, -1e3])
def test_every_number_is_finite_for_samples_that_are_all_the_same(value, classifier, real):
    samples = torch.full((300, 32, 32), value)
    assert all(map(math.isfinite, ws.sample_quality(samples, real[2], classifier, training=real[3]).values()))


def blur(images, amount):
    return torch.from_numpy(gaussian_filter(images[0][:COUNT].numpy(), (0, amount, amount)))


def noise(images, amount):
    return images[0][:COUNT] + amount * normal(COUNT, 32, 32).float()


def dropped(images, classes):
    return images[0][images[1] < 10 - classes][:COUNT]


def duplicates(images, copies):
    return images[0][: COUNT // copies].repeat(copies, 1, 1)


def copies(images, share):
    copied = round(share * COUNT)
    return torch.cat([images[3][:copied], images[0][copied:COUNT]])


@pytest.mark.parametrize(
    ("damage", "amounts", "worse", "untouched"),
    [
        (blur, (0, 0.5, 0.7, 1, 2), "frechet frechet_unbiased kernel recall variance spectrum sliced", ""),
        (
            noise,
            (0, 0.05, 0.1, 0.2),
            "frechet frechet_unbiased kernel precision recall density coverage spectrum",
            "mean",
        ),
        (dropped, (0, 2, 4, 6, 8), "frechet frechet_unbiased kernel recall coverage mean", "precision density"),
        (duplicates, (1, 2, 5, 10), "frechet frechet_unbiased kernel coverage variance sliced", "precision"),
        (copies, (0, 0.1, 0.3, 0.6), "copied nearest", "precision recall density coverage spectrum"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_seen_by_what_should_see_it_the_more_the_worse(damage, amounts, worse, untouched, classifier, real):
    rows = [ws.sample_quality(damage(real, amount), real[2], classifier, training=real[3]) for amount in amounts]
    falling = {"precision", "recall", "density", "coverage", "nearest"}
    for name in worse.split():
        values = np.array([row[name] for row in rows]) * (-1 if name in falling else 1)
        assert (np.diff(values) > 0).all(), (name, values)
    for name in untouched.split():
        values = [row[name] for row in rows]
        assert np.ptp(values) < 0.1, (name, values)
