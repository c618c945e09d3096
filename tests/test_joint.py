"""The joint fit (eq. 23): its features by enumeration, its Gram by quadrature, its solution by plain regression."""

from itertools import pairwise, product
from math import factorial
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws
from wavescore_lite import joint
from wavescore_lite.joint import ImageFeatures, JointMoments, solve_in_place
from wavescore_lite.moments import BATCH
from wavescore_lite.noise import FITTING, standard_normal
from wavescore_lite.polynomials import PolynomialFamily

BASIS = ws.WaveletBasis(8, level=1)
FAMILIES = [
    ws.independent(1),
    ws.independent(3),
    ws.band_tied(2),
    ws.band_tied(3),
    ws.local_coupled(2, 1),
    ws.local_coupled(3, 1),
    ws.local_coupled(2, 1, pure_neighbours=True, parent=True),
]
families = pytest.mark.parametrize("coupling", FAMILIES, ids=repr)


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=8, limit=300).double()


def exponents_of(features):
    """Exponents [P, d] of the features."""
    return np.array([np.bincount(row, minlength=features.dim + 1)[: features.dim] for row in features.factors])


@families
def test_features_are_the_products_of_all_targets_each_once(coupling):
    groups = coupling.groups(BASIS)
    expected = set()
    for group in groups:
        for row in group.neighbours:
            for exponents in group.family.closed:
                expected.add(tuple(sorted(np.repeat(row, exponents).tolist())))
    features = ImageFeatures(groups, 64)
    ours = [tuple(int(k) for k in row if k < 64) for row in features.factors]
    assert len(ours) == len(set(ours))
    assert set(ours) == expected
    assert ours[:65] == [(), *((k,) for k in range(64))]
    assert [len(row) for row in ours] == sorted(len(row) for row in ours)


@pytest.mark.parametrize(
    ("coupling", "count"),
    [
        (ws.independent(3), 1 + 3 * 1024),
        (ws.band_tied(2), 1 + 2 * 16 + 9 * 336),
        (ws.band_tied(3), 1 + 3 * 16 + 19 * 336),
        (ws.local_coupled(3, 1), 1 + 3 * 1024 + 3 * 4 * 1024),
    ],
    ids=repr,
)
def test_feature_counts_at_32(coupling, count):
    """Each triple of orientations has (D + 3 choose 3) - 1 products; each of 4 d neighbouring pairs D (D - 1) / 2."""
    assert len(ws.JointScore(ws.WaveletBasis(32), coupling).features) == count


@families
def test_features_are_products_of_coefficients(coupling):
    features = ImageFeatures(coupling.groups(BASIS), 64)
    y = torch.randn(64, 5, generator=torch.Generator().manual_seed(1)).double()
    expected = np.prod(y.numpy() ** exponents_of(features)[:, :, None], axis=1)
    assert_allclose(features.evaluate(y), expected, rtol=1e-13)
    spread = np.linspace(0.5, 2, 64)
    assert_allclose(features.unit(spread), np.prod(spread ** exponents_of(features), axis=1), rtol=1e-13)
    order = np.random.default_rng(0).permutation(len(features))
    assert (features.positions(features.factors[order, ::-1]) == order).all()


def hermite_values(order, y, spread):
    """s^n He_n(y / s)."""
    return spread**order * np.polynomial.hermite_e.hermeval(y / spread, np.eye(order + 1)[order])


def quadrature_gram(features, clean, sigma, pairs, polynomials):
    """E[phi_f phi_g] over images and noise for some pairs, as products of one-dimensional Gauss-Hermite integrals."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    weights = weights / weights.sum()
    spread = np.sqrt(clean.var(axis=0) + sigma**2)
    exponents = exponents_of(features)
    out = []
    for f, g in pairs:
        value = np.ones(len(clean))
        for q in np.flatnonzero(exponents[f] + exponents[g]):
            noisy = clean[:, q, None] + sigma * nodes
            if polynomials == "monomial":
                integrand = noisy ** (exponents[f, q] + exponents[g, q])
            else:
                integrand = np.prod([hermite_values(e[q], noisy, spread[q]) for e in exponents[[f, g]]], axis=0)
            value = value * (integrand @ weights)
        out.append(value.mean())
    return np.array(out)


@families
def test_noise_is_added_to_pairs_in_blocks_as_to_all_at_once(coupling, images, monkeypatch):
    model = ws.JointScore(BASIS, coupling).fit(images)
    blocks = list(model.features.pairs())
    monkeypatch.setattr(joint, "PAIRS", 2**60)
    ((left, right),) = model.features.pairs()
    divisions = model.features.divisions
    assert (divisions[1, left] == divisions[1, right]).all()
    assert len({*zip(left.tolist(), right.tolist(), strict=True)}) == len(left)
    assert len(left) == (np.unique(divisions[1], return_counts=True)[1] ** 2).sum()
    whole = model.gram(1.3)
    for most in (1, 7, 40):
        monkeypatch.setattr(joint, "PAIRS", most)
        assert len(list(model.features.pairs())) > len(blocks)
        assert torch.equal(model.gram(1.3), whole)


@families
@pytest.mark.parametrize("polynomials", ["monomial", "hermite"])
@pytest.mark.parametrize("sigma", [0.4, 2.0])
def test_gram_by_quadrature(coupling, polynomials, sigma, images):
    """300 pairs at random, 300 that share a coefficient, and the diagonal."""
    model = ws.JointScore(BASIS, coupling).fit(images)
    clean, rng, count = BASIS.analyze(images).numpy(), np.random.default_rng(2), len(model.features)
    touching = model.features.divisions[
        0, np.concatenate([np.stack(pair) for pair in model.features.pairs()], axis=1)
    ].T
    pairs = np.concatenate(
        [
            rng.integers(count, size=(300, 2)),
            touching[rng.integers(len(touching), size=300)],
            [[f, f] for f in range(count)],
        ]
    )
    ours = model.moments.equations(sigma, polynomials).gram.numpy()
    expected = quadrature_gram(model.features, clean, sigma, pairs, polynomials)
    scale = np.sqrt(ours[pairs[:, 0], pairs[:, 0]] * ours[pairs[:, 1], pairs[:, 1]])
    assert_allclose(ours[tuple(pairs.T)] / scale, expected / scale, atol=2e-13)
    assert_allclose(ours, ours.T, atol=1e-12 * np.abs(ours).max())


@families
@pytest.mark.parametrize("polynomials", ["monomial", "hermite"])
@pytest.mark.parametrize("noise", [None, ws.SampledNoise([1.5], draws=4, seed=3)], ids=["exact", "sampled"])
def test_each_target_sees_its_per_wavelet_system(coupling, polynomials, noise, images):
    """The joint equations hold those of every coefficient alone: same entries, summed and integrated another way."""
    together = ws.JointScore(BASIS, coupling).fit(images, noise=noise)
    alone = ws.WaveletScore(BASIS, coupling).fit(images, noise=noise)
    whole = together.moments.equations(1.5, polynomials)
    for group, part in zip(alone.groups, alone.moments.equations(1.5, polynomials), strict=True):
        for t in (0, len(group.targets) // 2, -1):
            i = group.targets[t]
            factors = [np.repeat(group.neighbours[t], row) for row in group.family.exponents]
            padded = [np.pad(f, (0, together.features.factors.shape[1] - len(f)), constant_values=64) for f in factors]
            rows = together.features.positions(np.array(padded, dtype=int))
            assert_allclose(whole.gram[rows][:, rows], part.gram[t], rtol=1e-10, atol=1e-11)
            assert_allclose(whole.denoise[rows, i], part.denoise[t], rtol=1e-10, atol=1e-11)
            assert_allclose(whole.score[rows, i], part.score[t], rtol=1e-10, atol=1e-11)
            assert_allclose(whole.spread[group.neighbours[t]], part.spread[t], rtol=1e-12)


@families
@pytest.mark.parametrize("target", ["denoise", "score"])
@pytest.mark.parametrize("polynomials", ["monomial", "hermite"])
def test_sampled_fit_is_plain_regression_on_noisy_copies(coupling, target, polynomials, images):
    draws, ridge, sigma = 6, 1e-2, 1.3
    options = {"ridge": ridge, "target": target, "polynomials": polynomials}
    noise = ws.SampledNoise([0.5, sigma], draws=draws, seed=5)
    model = ws.JointScore(BASIS, coupling, bounded=False, **options).fit(images, noise=noise)
    clean = np.tile(BASIS.analyze(images).numpy(), (draws, 1))
    pixels = torch.cat([standard_normal(0, len(images), (8, 8), 5, FITTING, k) for k in range(draws)]).double()
    noisy = clean + sigma * BASIS.analyze(pixels).numpy()
    spread, exponents = noisy.std(axis=0), exponents_of(model.features)
    single = {"monomial": np.power, "hermite": lambda u, e: hermite_values(e, u, 1.0)}[polynomials]
    columns = [[single(noisy[:, q] / spread[q], e) for e in range(4)] for q in range(64)]
    phi = np.stack(
        [np.prod([columns[q][e[q]] for q in np.flatnonzero(e)], axis=0) * np.ones(len(noisy)) for e in exponents]
    )
    gram = phi @ phi.T / len(noisy) + ridge * np.eye(len(phi))
    if target == "denoise":
        right = phi @ clean / len(noisy)
    else:
        right = np.zeros((len(phi), 64))
        for f, q in zip(*np.nonzero(exponents), strict=True):
            lowered = exponents[f].copy()
            lowered[q] -= 1  # d He_n = n He_(n-1), as d y^n = n y^(n-1)
            value = np.prod([columns[k][lowered[k]] for k in np.flatnonzero(lowered)], axis=0) * np.ones(len(noisy))
            right[f, q] = -exponents[f, q] * value.mean() / spread[q]
    expected = np.linalg.solve(gram, right)
    ours = model.coefficients(sigma).numpy()
    if polynomials == "monomial":
        ours = ours * np.prod(spread**exponents, axis=1)[:, None]
    assert_allclose(ours, expected, rtol=1e-6, atol=1e-8)
    estimate = model.denoise(torch.from_numpy(BASIS.synthesize(torch.from_numpy(noisy)).numpy()), sigma)
    predicted = phi.T @ expected
    predicted = predicted if target == "denoise" else noisy + sigma**2 * predicted
    assert_allclose(BASIS.analyze(estimate), predicted, atol=1e-7)


def test_many_draws_approach_the_exact_fit(images):
    exact = ws.JointScore(BASIS, ws.independent(2), ridge=1e-3).fit(images).coefficients(1.0)
    distance = [
        (
            ws.JointScore(BASIS, ws.independent(2), ridge=1e-3)
            .fit(images, noise=ws.SampledNoise([1.0], draws=draws))
            .coefficients(1.0)
            - exact
        ).norm()
        for draws in (16, 256)
    ]
    assert 2.5 < distance[0] / distance[1] < 6  # a sixteenth of the variance


def gaussian_moments(features, rank=3):
    """Moments of Gaussian coefficients of a given rank, by a product Gauss-Hermite rule; with mean and covariance."""
    rng = np.random.default_rng(4)
    mean, factor = rng.standard_normal(64), rng.standard_normal((64, rank))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    points = mean[:, None] + factor @ np.array(list(product(nodes, repeat=rank))).T
    mass = np.array([np.prod(w) for w in product(weights / weights.sum(), repeat=rank)])
    values = features.evaluate(torch.from_numpy(points))
    moments = JointMoments(features, BASIS)
    moments.totals["gram"][0] = (values * torch.from_numpy(mass)) @ values.T
    moments.count = 1
    return moments, mean, factor @ factor.T


@pytest.mark.parametrize("coupling", [FAMILIES[0], FAMILIES[1], FAMILIES[3], FAMILIES[4]], ids=repr)
@pytest.mark.parametrize("target", ["denoise", "score"])
@pytest.mark.parametrize("polynomials", ["monomial", "hermite"])
def test_gaussian_images_give_the_full_wiener_filter(coupling, target, polynomials):
    """The joint fit of degree 1 is the Wiener filter, and every coefficient of a higher degree vanishes."""
    model = ws.JointScore(BASIS, coupling, ridge=0, target=target, polynomials=polynomials, bounded=False)
    model.moments, mean, covariance = gaussian_moments(model.features)
    noisy = torch.from_numpy(2 * np.random.default_rng(5).standard_normal((20, 8, 8)))
    y = BASIS.analyze(noisy).numpy()
    for sigma in (0.7, 3.0):
        gain = covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(64))
        assert_allclose(BASIS.analyze(model.denoise(noisy, sigma)), mean + (y - mean) @ gain.T, atol=1e-7)
        if polynomials == "monomial":
            assert_allclose(model.coefficients(sigma)[65:], 0, atol=1e-8)


@pytest.mark.parametrize("polynomials", ["monomial", "hermite"])
def test_two_targets_one_optimum(polynomials, images):
    noisy = images[:20] + 2 * torch.randn(20, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    for coupling in (ws.band_tied(3), ws.local_coupled(2, 1)):
        options = {"ridge": 0, "polynomials": polynomials}
        by_score = ws.JointScore(BASIS, coupling, target="score", **options).fit(images)
        by_image = ws.JointScore(BASIS, coupling, target="denoise", **options).fit(images)
        for sigma in (1.0, 3.0):
            assert_allclose(by_score.denoise(noisy, sigma), by_image.denoise(noisy, sigma), atol=1e-6)


def test_wider_families_never_fit_worse(images):
    """Exact training risk at ridge 0: joint below per-wavelet, larger below smaller, and the joint line is Wiener's."""
    chains = [
        [ws.independent(1), ws.independent(2), ws.independent(3)],
        [ws.independent(2), ws.band_tied(2), ws.band_tied(3)],
        [ws.independent(2), ws.local_coupled(2, 1), ws.local_coupled(2, 1, pure_neighbours=True)],
    ]
    for chain in chains:
        for sigma in (1.0, 3.0):
            alone = [ws.WaveletScore(BASIS, c, ridge=0).fit(images).risk(sigma) for c in chain]
            together = [ws.JointScore(BASIS, c, ridge=0).fit(images).risk(sigma) for c in chain]
            for narrow, wide in (*pairwise(alone), *pairwise(together), *zip(alone, together, strict=True)):
                assert wide <= narrow + 1e-10
            assert together[-1] < alone[-1] - 1e-4
    wiener = ws.Wiener().fit(images)
    linear = ws.JointScore(BASIS, ws.independent(1), ridge=0, bounded=False).fit(images)
    noisy = images[:10] + 1
    assert_allclose(linear.denoise(noisy, 1.0), wiener.denoise(noisy, 1.0), atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 0.5])
def test_pixels_or_coefficients(ridge, images):
    """Eq. 24 in an orthonormal basis: one regression onto pixels is one onto coefficients, then synthesis."""
    sigma = 1.0
    model = ws.JointScore(BASIS, ws.band_tied(2), ridge=ridge, bounded=False).fit(
        images, noise=ws.SampledNoise([sigma], draws=4)
    )
    pixels = torch.cat([standard_normal(0, len(images), (8, 8), 0, FITTING, k) for k in range(4)]).double()
    noisy = images.repeat(4, 1, 1) + sigma * pixels
    y = BASIS.analyze(noisy).T
    phi = model.features.evaluate(y / y.std(dim=1, correction=0)[:, None]).numpy()
    gram = phi @ phi.T / phi.shape[1] + ridge * np.eye(len(phi))
    onto_pixels = np.linalg.solve(gram, phi @ images.repeat(4, 1, 1).flatten(1).numpy() / phi.shape[1])
    assert_allclose(model.denoise(noisy, sigma).flatten(1), phi.T @ onto_pixels, atol=1e-8)


def test_batches_and_merges_do_not_matter(images):
    coupling = ws.local_coupled(3, 1)
    whole = ws.JointScore(BASIS, coupling).fit(images)
    assert len(whole.features) > joint.PANEL  # several panels
    streamed = ws.JointScore(BASIS, coupling).fit(images[:100])
    streamed.denoise(images[:3], 1.0)  # equations in between must not disturb the sums
    streamed.partial_fit(images[100:])
    merged = ws.JointScore(BASIS, coupling).fit(images[:150]).merge(ws.JointScore(BASIS, coupling).fit(images[150:]))
    for other in (streamed, merged):
        assert_allclose(other.gram(1.0), whole.gram(1.0), rtol=1e-11, atol=1e-11)
        assert other.fingerprint == whole.fingerprint


def test_features_that_are_not_closed_are_closed():
    family = PolynomialFamily(np.array([[0], [2]]))
    coupling = ws.Coupling("squares", lambda basis: [ws.Group(np.arange(basis.dim)[:, None], family)])
    assert len(ws.JointScore(BASIS, coupling).features) == 1 + 2 * 64


def test_sandwich_in_place_panel_by_panel(images, monkeypatch):
    features = ImageFeatures(ws.local_coupled(3, 1).groups(BASIS), 64)
    rng = np.random.default_rng(0)
    heat = features.heat(rng.uniform(0.5, 2, 64))
    gram = rng.standard_normal((len(features), len(features)))
    expected = heat.toarray() @ (gram + gram.T) @ heat.toarray().T
    for panel in (100, 512, 5000):
        monkeypatch.setattr(joint, "PANEL", panel)
        found = gram + gram.T
        joint.sandwich_in_place(heat, found)
        assert_allclose(found, expected, atol=1e-9)


class TestSolve:
    @pytest.mark.parametrize("size", [1, 7, 300])
    def test_solves(self, size):
        rng = np.random.default_rng(size)
        factor = rng.standard_normal((size, size + 5))
        gram, right = factor @ factor.T, rng.standard_normal((size, 3))
        x = solve_in_place(gram.copy(), right)
        assert_allclose(gram @ x, right, atol=1e-9)

    def test_refinement_mends_an_inexact_factor(self, monkeypatch):
        """A first solution wrong by a thousandth is brought to rounding by residuals taken from the kept triangle."""
        rng = np.random.default_rng(0)
        factor = rng.standard_normal((200, 300))
        gram, right, exact = factor @ factor.T, rng.standard_normal((200, 2)), joint.lapack.dpotrs
        calls = []

        def inexact(*arguments, **options):
            calls.append(1)
            x, failed = exact(*arguments, **options)
            return x * 1.001, failed

        monkeypatch.setattr(joint.lapack, "dpotrs", inexact)
        assert_allclose(gram @ solve_in_place(gram.copy(), right), right, atol=1e-8)
        assert 2 < len(calls) <= 4

    def test_works_in_place(self):
        gram = 3 * np.eye(50) + np.ones((50, 50))
        before = gram.copy()
        solve_in_place(gram, np.ones((50, 1)))
        assert_allclose(np.tril(gram, -1), np.tril(before, -1))  # one triangle is kept
        assert not np.allclose(np.triu(gram), np.triu(before))  # the other is factored

    def test_refuses_what_is_not_positive(self):
        with pytest.raises(np.linalg.LinAlgError, match="leading minor 2"):
            solve_in_place(np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones((2, 1)))


def test_refuses_what_does_not_fit_into_memory(monkeypatch, images):
    model = ws.JointScore(ws.WaveletBasis(32), ws.local_coupled(3, 1))
    assert 3.7e9 < model.memory() < 6e9
    for free, hint in (
        (4e9, r"band_tied\(degree=3\) \(P = 6,433\) would fit"),
        (1e6, "expected a smaller image, or WaveletScore"),
    ):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=int(free)))
        with pytest.raises(MemoryError, match=rf"P = 15,361 features.* GiB, and .* GiB are free: {hint}"):
            model.fit(torch.zeros(1, 32, 32))
        assert model.moments is None
    square = 8 * len(model.features) ** 2
    assert model.memory() > 2 * square + 8 * len(model.features) * (13 * 1024 + 2 * BATCH)  # right sides, solutions
    assert model.memory(ws.SampledNoise([1, 2, 3, 4])) - model.memory() > 3 * square
    assert ws.JointScore(model.basis, model.coupling, ridge="auto").memory() - model.memory() == 3 * square


def test_refusals(images):
    with pytest.raises(ValueError, match=r"independent\(degree=1, shared=True\) shares parameters"):
        ws.JointScore(BASIS, ws.independent(1, shared=True))
    model = ws.JointScore(BASIS, ws.independent(3))
    for question in (model.denoise, lambda _, sigma: model.gram(sigma), lambda _, sigma: model.conditioning(sigma)):
        with pytest.raises(RuntimeError, match="is not fitted"):
            question(images, 1.0)
    with pytest.raises(ValueError, match="too few images: 10 noisy copies for 193 features"):
        model.fit(images[:10], noise=ws.SampledNoise([1.0])).denoise(images, 1.0)
    with pytest.raises(ValueError, match="singular at ridge 0; expected a larger one"):
        ws.JointScore(BASIS, ws.independent(2), ridge=0).fit(images[:1]).denoise(images, 1e-7)


def test_hermite_gram_of_pure_noise_is_diagonal():
    """Black images: every noisy coefficient is Gaussian, and the Hermite features are orthogonal with norms e!."""
    model = ws.JointScore(BASIS, ws.local_coupled(3, 1), polynomials="hermite").fit(torch.zeros(5, 8, 8))
    norms = [np.prod([factorial(e) for e in row]) for row in exponents_of(model.features)]
    assert_allclose(model.gram(2.0), np.diag(norms), atol=1e-12)


def test_conditioning_is_the_ratio_of_eigenvalues(images):
    model = ws.JointScore(BASIS, ws.independent(3)).fit(images)
    condition = model.conditioning(2.0)
    assert_allclose(condition["raw"], np.linalg.cond(model.gram(2.0)), rtol=1e-6)
    hermite = ws.JointScore(BASIS, ws.independent(3), polynomials="hermite").fit(images)
    assert_allclose(condition["hermite"], np.linalg.cond(hermite.gram(2.0)), rtol=1e-6)
    assert condition["hermite"] < condition["scaled"] < condition["raw"]


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_moments_of_pure_noise_to_the_sixth_order(sigma):
    """Black images: every entry of the Gram of y, y^2, y^3 and their products is a Gaussian moment."""
    model = ws.JointScore(BASIS, ws.local_coupled(3, 1)).fit(torch.zeros(5, 8, 8))
    table = exponents_of(model.features)
    gaussian = {0: 1, 1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15}
    gram = model.gram(sigma).numpy()
    rng = np.random.default_rng(0)
    cubes = [f for f, row in enumerate(table) if max(row) == 3]
    chosen = [*rng.choice(len(table), 150), *cubes[:10]]
    for f, g in product(chosen, chosen):
        both = table[f] + table[g]
        expected = sigma ** both.sum() * np.prod([gaussian[e] for e in both.tolist()])
        assert_allclose(gram[f, g], expected, rtol=1e-11, atol=1e-11)


def test_a_coefficient_that_never_varies_has_the_spread_of_the_noise():
    """Rounding makes E[y^2] - E[y]^2 less than nothing there."""
    images = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).expand(1000, 8, 8)
    for kind in (ws.WaveletScore, ws.JointScore):
        sums = kind(BASIS, ws.independent(2)).fit(images).moments
        assert (sums.gaussian(1e-9)[1] >= 1e-18).all()  # what samplers start from
        equations = sums.equations(1e-9)
        spread = equations[0].spread if isinstance(equations, list) else equations.spread
        assert spread.isfinite().all()
        assert (spread >= 1e-9).all()
