"""Families against their definitions, by brute force over atoms, and their Gram against one-dimensional quadrature."""

from itertools import pairwise, product
from math import comb

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws

LOCAL = [
    ws.local_coupled(degree, radius, pure) for degree in (1, 2, 3) for radius in (0, 1, 2) for pure in (False, True)
]
BAND = [ws.band_tied(degree) for degree in (1, 2, 3, 4)]
BASES = [ws.WaveletBasis(8), ws.WaveletBasis(16, "haar", level=4), ws.WaveletBasis(32)]


def by_target(coupling, basis):
    """Neighbours and exponents of each coefficient."""
    return {int(row[0]): (row, group.family.exponents) for group in coupling.groups(basis) for row in group.neighbours}


@pytest.mark.parametrize("basis", BASES, ids=repr)
@pytest.mark.parametrize("degree", [2, 3])
def test_band_ties_the_three_orientations_of_a_place(basis, degree):
    atoms, targets = basis.atoms, by_target(ws.band_tied(degree), basis)
    for i, (row, exponents) in targets.items():
        same = {
            j
            for j in range(basis.dim)
            if all(atoms[j][name] == atoms[i][name] for name in ("scale", "row", "column")) and atoms[j][1] != "a"
        }
        expected = {i} if atoms[i]["orientation"] == "a" else same
        assert set(row.tolist()) == expected
        assert len(row) == len(expected)
        assert exponents.shape[1] == len(row)


@pytest.mark.parametrize("basis", BASES[:2], ids=repr)
@pytest.mark.parametrize("radius", [0, 1, 2, 3])
def test_local_neighbours_lie_within_the_radius_and_count_once(basis, radius):
    sides = {(band.scale, band.orientation): band.side for band in basis.subbands}
    atoms = basis.atoms
    for i, (row, _) in by_target(ws.local_coupled(2, radius), basis).items():
        side = sides[atoms[i]["scale"], atoms[i]["orientation"]]

        def near(j, i=i, side=side):
            steps = [abs(int(atoms[j][name]) - int(atoms[i][name])) for name in ("row", "column")]
            return max(min(step, side - step) for step in steps) <= radius

        subband = [j for j in range(basis.dim) if atoms[j].tolist()[:2] == atoms[i].tolist()[:2]]
        assert sorted(row.tolist()) == [j for j in subband if near(j)]


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_feature_counts_of_the_paper(degree):
    basis = ws.WaveletBasis(32)
    for i, (_, exponents) in by_target(ws.band_tied(degree), basis).items():
        scaling = basis.atoms[i]["orientation"] == "a"
        terms = 1 + degree if scaling or degree == 1 else 1 + comb(degree + 2, 3)
        assert len(exponents) == terms
    for radius, pure in product((0, 1, 2, 3), (False, True)):
        for row, exponents in by_target(ws.local_coupled(degree, radius, pure), basis).values():
            pairs = sum(1 for d in range(1, degree) for e in range(1, degree) if d + e <= degree)
            assert len(exponents) == 1 + degree + (len(row) - 1) * (pairs + pure * degree)
    large = ws.local_coupled(3, 2).groups(basis)[-1]
    assert large.neighbours.shape == (1024 - 64, 25)


def test_band_features_are_equation_22():
    details = ws.band_tied(3).groups(ws.WaveletBasis(8))[1].family.exponents.tolist()
    paper = [[a, b, c] for a in range(1, 4) for b in range(4 - a) for c in range(4 - a - b)]
    assert sorted(details) == sorted([[0, 0, 0], *paper])


def test_local_features_are_those_of_section_223():
    table = ws.local_coupled(4, 1).groups(ws.WaveletBasis(32))[-1].family.exponents
    assert (table.sum(axis=1) <= 4).all()
    assert ((table > 0).sum(axis=1) <= 2).all()
    coupled = table[(table > 0).sum(axis=1) == 2]
    assert (coupled[:, 0] >= 1).all()
    assert [row[0] for row in table[(table[:, 1:] == 0).all(axis=1)]] == list(range(5))
    pure = ws.local_coupled(4, 1, pure_neighbours=True).groups(ws.WaveletBasis(32))[-1].family.exponents
    added = {tuple(row) for row in pure.tolist()} - {tuple(row) for row in table.tolist()}
    assert added == {tuple(e * (k == q) for k in range(9)) for q in range(1, 9) for e in range(1, 5)}


WITH_PARENT = [
    ws.independent(3, parent=True),
    ws.band_tied(3, parent=True),
    ws.local_coupled(3, 1, parent=True),
    ws.local_coupled(2, 1, pure_neighbours=True, parent=True),
]


@pytest.mark.parametrize("basis", [ws.WaveletBasis(16, level=2), ws.WaveletBasis(32)], ids=repr)
@pytest.mark.parametrize("coupling", WITH_PARENT, ids=repr)
def test_parents_are_one_scale_up_at_half_the_place(coupling, basis):
    """The parent is the last neighbour, the only one of another scale but for the coarsest details."""
    index = {tuple(atom): i for i, atom in enumerate(basis.atoms.tolist())}
    coarsest = basis.subbands[0].scale
    for i, (row, exponents) in by_target(coupling, basis).items():
        scale, orientation, k, m = basis.atoms[i].tolist()
        if orientation == "a":
            assert {basis.atoms[j]["orientation"] for j in row} == {"a"}
        elif scale == coarsest:
            assert row[-1] == index[scale, "a", k, m]
        else:
            assert row[-1] == index[scale - 1, orientation, k // 2, m // 2]
        assert exponents[:, -1].any()


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_feature_counts_with_parents_and_ties(degree):
    basis = ws.WaveletBasis(32)
    details = [i for i in range(basis.dim) if basis.atoms[i]["orientation"] != "a"]
    pairs = degree * (degree - 1) // 2
    for coupling, count in (
        (ws.independent(degree, parent=True), 1 + degree + pairs),
        (ws.band_tied(degree, parent=True), 1 + comb(degree + 3, 4)),
        (ws.local_coupled(degree, 1, parent=True), 1 + degree + 9 * pairs),
        (ws.local_coupled(degree, 3, pure_neighbours=True, parent=True), None),
    ):
        targets = by_target(coupling, basis)
        for i in details:
            row, exponents = targets[i]
            expected = 1 + degree + (len(row) - 1) * (pairs + degree) if count is None else count
            assert len(exponents) == expected


@pytest.mark.parametrize(
    ("plain", "tied"),
    [
        (ws.independent(2), ws.independent(2, shared=True)),
        (ws.band_tied(3, parent=True), ws.band_tied(3, parent=True, shared=True)),
        (ws.local_coupled(3, 2), ws.local_coupled(3, 2, shared=True)),
    ],
    ids=repr,
)
def test_ties_are_the_subbands_and_nothing_else_changes(plain, tied):
    basis = ws.WaveletBasis(32)
    band_of = np.concatenate([np.full(band.side**2, k) for k, band in enumerate(basis.subbands)])
    for free, group in zip(plain.groups(basis), tied.groups(basis), strict=True):
        assert (free.neighbours == group.neighbours).all()
        assert (free.family.exponents == group.family.exponents).all()
        pairs = {(int(tie), int(band_of[target])) for tie, target in zip(group.ties, group.targets, strict=True)}
        assert len(pairs) == len({tie for tie, _ in pairs}) == len({band for _, band in pairs})


@pytest.mark.parametrize("coupling", [ws.local_coupled(3, 2, shared=True), ws.band_tied(2, shared=True)], ids=repr)
def test_tied_targets_see_the_same_offsets(coupling):
    """What a convolution needs: neighbour q stands at the same wrapped offset, or in the same orientation, for all."""
    basis = ws.WaveletBasis(32)
    sides = {(band.scale, band.orientation): band.side for band in basis.subbands}
    for group in coupling.groups(basis):
        for tie in np.unique(group.ties):
            atoms = basis.atoms[group.neighbours[group.ties == tie]]
            side = sides[atoms["scale"][0, 0], atoms["orientation"][0, 0]]
            for name in ("row", "column"):
                offsets = (atoms[name] - atoms[name][:, :1]) % side
                assert (offsets == offsets[0]).all()
            assert (atoms["orientation"] == atoms["orientation"][0]).all()


@pytest.fixture(scope="module")
def images():
    strokes = ws.load_images("strokes", size=8, limit=60)
    return strokes.double()


@pytest.mark.parametrize("coupling", [*BAND[1:], *LOCAL[6:], *WITH_PARENT, ws.local_coupled(4, 1)], ids=repr)
@pytest.mark.parametrize("sigma", [0.4, 2.0])
def test_gram_by_quadrature_over_each_coordinate(coupling, sigma, images):
    """Noise is independent over coefficients, so E_z of a monomial is a product of one-dimensional integrals."""
    basis = ws.WaveletBasis(8, level=1)
    model = ws.WaveletScore(basis, coupling).fit(images)
    clean = basis.analyze(images).numpy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()
    for group, ours in zip(model.groups, model.gram(sigma), strict=True):
        table = group.family.exponents
        for t in (0, len(group.targets) // 2, -1):
            y = clean[:, group.neighbours[t]]  # [n, Q]
            powers = np.array([((y[..., None] + sigma * nodes) ** e) @ weights for e in range(2 * table.max() + 1)])
            total = table[:, None] + table  # [F, F, Q]
            expected = np.ones((len(y), *total.shape[:2]))
            for q in range(total.shape[2]):
                expected *= np.moveaxis(powers[total[:, :, q], :, q], -1, 0)
            assert_allclose(ours[t], expected.mean(axis=0), rtol=1e-10, atol=1e-10)


def training_risk(coupling, images, sigma=1.0):
    """Noise-integrated E|y_0 - xhat|^2 of each coefficient, [64]."""
    basis = ws.WaveletBasis(8, level=1)
    model = ws.WaveletScore(basis, coupling, ridge=0).fit(images)
    clean, explained = basis.analyze(images), torch.empty(64, dtype=torch.float64)
    equations = model.moments.equations(sigma)
    for group, a, system in zip(model.groups, model.coefficients(sigma), equations, strict=True):
        explained[torch.from_numpy(group.targets)] = (a * system.denoise).sum(dim=1)
    return clean.square().mean(dim=0) - explained


def test_nested_families_never_fit_worse(images):
    """A theorem: more features cannot raise the exact training risk, of any coefficient."""
    chains = [
        [ws.independent(3), ws.band_tied(3), ws.band_tied(4)],
        [ws.independent(3), ws.local_coupled(3, 1), ws.local_coupled(3, 1, pure_neighbours=True)],
        [ws.local_coupled(2, 1), ws.local_coupled(3, 1), ws.local_coupled(3, 1, parent=True)],
        [ws.band_tied(3), ws.band_tied(3, parent=True)],
    ]
    for chain in chains:
        risks = [training_risk(coupling, images) for coupling in chain]
        for smaller, larger in pairwise(risks):
            assert (larger <= smaller + 1e-9).all()
            assert (larger < smaller - 1e-6).any()


def test_small_families_coincide(images):
    """Radius 0, or degree 1 without pure neighbours, is the independent family."""
    basis, noisy = ws.WaveletBasis(8, level=1), images + 1
    expected = ws.WaveletScore(basis, ws.independent(1)).fit(images).denoise(noisy, 1.0)
    for coupling in (ws.band_tied(1), ws.local_coupled(1, 2), ws.local_coupled(1, 0, pure_neighbours=True)):
        assert_allclose(ws.WaveletScore(basis, coupling).fit(images).denoise(noisy, 1.0), expected, atol=1e-12)


def test_whole_subband_of_linear_neighbours_is_its_wiener_filter(images):
    """Degree 1 with all neighbours of a 4 x 4 subband is the full linear denoiser within each subband."""
    basis, sigma = ws.WaveletBasis(8, level=1), 1.3
    model = ws.WaveletScore(basis, ws.local_coupled(1, 2, pure_neighbours=True), ridge=0).fit(images)
    noisy = images + 0.7
    ours, y, clean = basis.analyze(model.denoise(noisy, sigma)), basis.analyze(noisy), basis.analyze(images)
    for band in basis.subbands:
        inside, mean = clean[:, band.slice], clean[:, band.slice].mean(0)
        covariance = torch.cov(inside.T, correction=0)
        gain = torch.linalg.solve(covariance + sigma**2 * torch.eye(16), covariance)
        assert_allclose(ours[:, band.slice], mean + (y[:, band.slice] - mean) @ gain, atol=1e-8)


@pytest.mark.parametrize("degree", [0, 7, 1.5])
def test_refuses_degrees(degree):
    for family in (ws.band_tied, ws.local_coupled):
        with pytest.raises(ValueError, match="expected an integer from 1 to 6"):
            family(degree)


@pytest.mark.parametrize("radius", [-1, 4, 1.0])
def test_refuses_radii(radius):
    with pytest.raises(ValueError, match="expected an integer from 0 to 3"):
        ws.local_coupled(3, radius)


FAMILY = ws.PolynomialFamily(np.array([[0, 0], [1, 0], [1, 1]]))


@pytest.mark.parametrize(
    ("neighbours", "ties", "message"),
    [
        ([[0, 1], [1, 1]], None, r"row 1 of neighbours is \[1, 1\]; expected each coefficient once"),
        ([[0, -1], [1, 0]], None, "neighbours have shape .*expected integers >= 0"),
        ([[0.0, 1.0], [1.0, 0.0]], None, "dtype float64; expected integers >= 0"),
        ([0, 1], None, r"neighbours have shape \[2\]"),
        ([[0, 1], [1, 0]], [0], r"ties have shape \[1\]; expected one label of 0 to K - 1 for each target"),
        ([[0, 1], [1, 0]], [0, 2], "expected one label of 0 to K - 1"),
        ([[0, 1], [1, 0]], [-1, 0], "ties have .*expected integers >= 0"),
    ],
)
def test_tables_that_are_none(neighbours, ties, message):
    with pytest.raises(ValueError, match=message):
        ws.Group(np.array(neighbours), FAMILY, None if ties is None else np.array(ties))


def test_tables_of_few_bits_are_widened():
    group = ws.Group(np.array([[0, 100], [100, 0]], dtype=np.int8), FAMILY, np.array([0, 0], dtype=np.int8))
    assert (group.neighbours.dtype, group.ties.dtype) == (np.int64, np.int64)


def test_a_coupling_without_groups_covers_nothing():
    with pytest.raises(ValueError, match="coupling none does not cover WaveletBasis"):
        ws.Coupling("none", lambda basis: []).groups(ws.WaveletBasis(8))


def test_pooling_is_the_mean_over_the_targets_of_a_label():
    """Labels of two, one and three targets: a mean of means would weigh them otherwise."""
    group = ws.Group(np.arange(6)[:, None], ws.PolynomialFamily(np.array([[0], [1]])), np.array([0, 0, 1, 2, 2, 2]))
    values = torch.tensor([[1.0, 10.0], [3.0, 30.0], [5.0, 50.0], [1.0, 0.0], [2.0, 0.0], [6.0, 3.0]])
    pooled = group.pool(values)
    assert pooled.tolist() == [[2.0, 20.0], [5.0, 50.0], [3.0, 1.0]]
    assert group.spread_out(pooled)[:, 0].tolist() == [2.0, 2.0, 5.0, 3.0, 3.0, 3.0]


def test_a_target_of_two_groups_is_refused():
    basis = ws.WaveletBasis(8)
    family = ws.PolynomialFamily(np.array([[0], [1]]))
    own = np.arange(basis.dim)[:, None]
    twice = ws.Coupling("twice", lambda basis: [ws.Group(own, family), ws.Group(own[:1], family)])
    with pytest.raises(ValueError, match="expected each of 64 once as a target"):
        twice.groups(basis)
