"""Who is next to whom: indices compared with where the atoms are, measured as centres of their energy."""

from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws
from wavescore_lite.bases.frames import MODES
from wavescore_lite.bases.tree import places_around

TREES = [("haar", 16, 2), ("db2", 32, 2), ("sym3", 32, 2), ("sym4", 32, 2), ("coif1", 32, 2), ("db2", 64, 3)]


def centres(basis):
    """Centre of energy of each atom [d, 2] in pixels, and whether all of the atom lies in the image."""
    energy = basis.matrix().unflatten(1, basis.shape).square()
    total = energy.sum(dim=(1, 2)).clamp(min=1e-300)
    place = torch.arange(basis.shape[0], dtype=torch.float64)
    down, across = (energy.sum(dim=2) @ place / total, energy.sum(dim=1) @ place / total)
    return torch.stack([down, across], dim=1).numpy(), energy


def inside(basis, energy):
    """Atoms that touch no edge: for these the image beyond it is of no account."""
    edge = energy[:, [0, 1, -2, -1]].sum(dim=(1, 2)) + energy[:, :, [0, 1, -2, -1]].sum(dim=(1, 2))
    if basis.wraps:
        return (edge < 1e-12).numpy()
    return ((edge < 1e-12) & ((energy.sum(dim=(1, 2)) - 1).abs() < 1e-9)).numpy()


def parent_steps(basis):
    """How far a parent's centre lies from the child's, by scale, orientation and which of four children it is."""
    where, energy = centres(basis)
    whole, steps = inside(basis, energy), {}
    for index, band in enumerate(basis.subbands[4:], start=4):
        child, parent = basis.neighbours(index, parent=True).T
        rows, columns = np.divmod(np.arange(len(child)), band.shape[1])
        corner = (rows + basis.lag) % 2, (columns + basis.lag) % 2
        for which in product((0, 1), repeat=2):
            kept = whole[child] & whole[parent] & (corner[0] == which[0]) & (corner[1] == which[1])
            steps[band.scale, band.orientation, which] = where[parent[kept]] - where[child[kept]]
    return steps


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_parents_in_a_frame_lie_where_they_lie_in_the_basis(tree):
    """In every padding mode: inside the image the atoms are the same, so parents must be as far from their children."""
    wavelet, side, level = tree
    basis = ws.WaveletBasis(side, wavelet, level)
    expected = {key: steps.mean(axis=0) for key, steps in parent_steps(basis).items() if len(steps)}
    assert len(expected) == (level - 1) * 3 * 4  # finer scales, orientations, four children
    for mode in MODES if side < 64 else MODES[:3]:
        found = parent_steps(ws.WaveletFrame(side, wavelet, level, mode))
        for key, step in expected.items():
            assert len(found[key]), (mode, key)
            assert_allclose(found[key], np.broadcast_to(step, found[key].shape), atol=1e-8, err_msg=f"{mode} {key}")


@pytest.mark.parametrize("kind", [ws.WaveletBasis, ws.WaveletFrame])
@pytest.mark.parametrize("tree", TREES[1:], ids=str)
def test_a_parent_stands_over_its_four_children(kind, tree):
    """The mean of the four steps is the same at all scales, in pixels of the scale: no drift towards an edge."""
    wavelet, side, level = tree
    steps = parent_steps(kind(side, wavelet, level))
    for scale, orientation in {key[:2] for key in steps}:
        four = [steps[scale, orientation, which].mean(axis=0) for which in product((0, 1), repeat=2)]
        finest = side / 2**scale
        assert_allclose(np.ptp(four, axis=0), [finest, finest], atol=1e-8)  # children sit side by side
        assert np.abs(np.mean(four, axis=0)).max() < 1.5 * finest


@pytest.mark.parametrize("mode", MODES)
def test_next_places_of_a_frame_are_a_step_apart_and_end_at_the_edge(mode):
    frame = ws.WaveletFrame(32, "db2", 2, mode)
    where, energy = centres(frame)
    whole = inside(frame, energy)
    for index, band in enumerate(frame.subbands):
        table = frame.neighbours(index, radius=1)
        step = 32 / 2**band.scale
        assert (table[:, 0] == np.arange(len(table)) + band.start).all()
        own, other = np.repeat(table[:, :1], 8, axis=1), table[:, 1:]
        near = (other >= 0) & whole[own] & whole[other]
        distance = np.abs(where[other] - where[own])[near]
        assert_allclose(distance.max(axis=1), np.full(len(distance), step), atol=1e-8)
        rows, columns = band.shape
        assert (table >= 0).sum() == (3 * rows - 2) * (3 * columns - 2)


@pytest.mark.parametrize("shape", [(4, 4), (2, 2), (1, 3), (6, 8), (7, 7)])
@pytest.mark.parametrize("radius", [0, 1, 2, 3])
def test_places_around_by_looking_at_all_pairs(shape, radius):
    places = list(product(range(shape[0]), range(shape[1])))
    for wraps in (True, False):
        table = places_around(shape, radius, wraps)
        for own, place in enumerate(places):
            gaps = [np.abs(np.subtract(place, other)) for other in places]
            if wraps:
                gaps = [np.minimum(gap, np.subtract(shape, gap)) for gap in gaps]
            near = {k for k, gap in enumerate(gaps) if gap.max() <= radius}
            assert table[own, 0] == own
            row = [k for k in table[own] if k >= 0]
            assert sorted(row) == sorted(near)


@pytest.mark.parametrize("shape", [32, (48, 64), 28])
def test_orientations_are_at_the_same_place(shape):
    for basis in (ws.WaveletBasis(shape), ws.WaveletFrame(shape)):
        for index, band in enumerate(basis.subbands):
            table = basis.neighbours(index, orientations=True)
            assert table.shape[1] == (1 if band.orientation == "a" else 3)
            fields = basis.atoms[table]
            for name in ("scale", "row", "column"):
                assert (fields[name] == fields[name][:, :1]).all()
            assert all(len(set(row)) == len(row) for row in fields["orientation"].tolist())


def test_the_coarsest_details_have_the_scaling_coefficient_at_their_place_for_a_parent():
    for basis in (ws.WaveletBasis((16, 24)), ws.WaveletFrame((16, 24), "sym4", mode="reflect")):
        for index in (1, 2, 3):
            parents = basis.neighbours(index, parent=True)[:, -1]
            assert parents.tolist() == list(range(len(parents)))
        assert basis.neighbours(0, parent=True).shape[1] == 1


COUPLINGS = [
    ws.local_coupled(2, 1),
    ws.local_coupled(2, 2, parent=True),
    ws.local_coupled(2, 1, pure_neighbours=True, shared=True),
    ws.band_tied(2, parent=True),
    ws.independent(3, shared=True),
]


@pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
@pytest.mark.parametrize("basis", [ws.WaveletFrame(16), ws.WaveletBasis((16, 24))], ids=repr)
def test_every_family_lays_over_frames_and_rectangles(basis, coupling):
    """At the edges of a frame coefficients have fewer neighbours, and groups of their own."""
    groups = coupling.groups(basis)
    assert sorted(np.concatenate([group.targets for group in groups])) == list(range(basis.dim))
    images = torch.rand(600, *basis.shape, generator=torch.Generator().manual_seed(0))
    model = ws.WaveletScore(basis, coupling, ridge=1e-3).fit(images, noise=ws.SampledNoise([1.0], draws=2))
    noisy = images[:7] + 1.0
    estimate = model.denoise(noisy, 1.0)
    assert estimate.shape == noisy.shape
    for group, solution in zip(groups, model.coefficients(1.0), strict=True):
        assert solution.shape == (len(group.targets), len(group.family.exponents))
    if not basis.orthonormal and "local" in repr(coupling):
        widths = {group.neighbours.shape[1] for group in groups}
        assert len(widths) > 2


def test_shared_parameters_in_a_frame_are_shared_by_places_with_the_same_neighbours():
    frame = ws.WaveletFrame(16)
    for group in ws.local_coupled(2, 1, shared=True).groups(frame):
        for label in np.unique(group.ties):
            rows = group.neighbours[group.ties == label]
            steps = rows - rows[:, :1]
            assert (steps == steps[0]).all()
