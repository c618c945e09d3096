"""The basis is PyWavelets' periodized transform, orthonormal, for every filter that fits."""

import re

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from wavescore_lite import WaveletBasis, independent
from wavescore_lite.bases import make_basis

FILTERS = [name for family in ("db", "sym", "coif") for name in pywt.wavelist(family)]


def flat_wavedec2(images, wavelet, level):
    coarse, *details = pywt.wavedec2(images, wavelet, mode="periodization", level=level, axes=(-2, -1))
    bands = [coarse] + [band for bands in details for band in bands]
    return np.concatenate([band.reshape(len(images), -1) for band in bands], axis=1)


def fitting(size):
    return [name for name in FILTERS if pywt.Wavelet(name).dec_len <= size]


@pytest.mark.filterwarnings("ignore:Level value")
@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
def test_equals_pywt_for_every_filter_that_fits(size, rng):
    images = rng.standard_normal((2, size, size))
    for wavelet in fitting(size):
        basis = WaveletBasis(size, wavelet)
        expected = flat_wavedec2(images, wavelet, basis.level)
        assert_allclose(basis.analyze(torch.from_numpy(images)), expected, atol=1e-12, err_msg=wavelet)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_orthonormal_for_every_filter_that_fits(size):
    for wavelet in fitting(size):
        matrix = WaveletBasis(size, wavelet).matrix().numpy()
        tolerance = 1e-12 if wavelet.startswith("db") else 1e-10
        assert_allclose(matrix @ matrix.T, np.eye(size**2), atol=tolerance, err_msg=wavelet)


SHAPES = [10, 12, 20, 24, 28, 40, 48, (48, 64), (8, 96), (56, 24), (64, 32)]


@pytest.mark.filterwarnings("ignore:Level value")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_height_and_width_equals_pywt_and_comes_back(shape, rng):
    height, width = (shape, shape) if isinstance(shape, int) else shape
    images = rng.standard_normal((3, height, width))
    for wavelet in ("haar", "db2", "sym4"):
        for level in range(1, WaveletBasis(shape, wavelet).level + 1):
            basis = WaveletBasis(shape, wavelet, level)
            coefficients = basis.analyze(torch.from_numpy(images))
            assert_allclose(coefficients, flat_wavedec2(images, wavelet, level), atol=1e-13, err_msg=repr(basis))
            assert_allclose(basis.synthesize(coefficients), images, atol=1e-10, err_msg=repr(basis))
    matrix = WaveletBasis(shape).matrix().numpy()
    assert_allclose(matrix @ matrix.T, np.eye(height * width), atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "level", "coarsest"),
    [(8, 1, (4, 4)), (28, 2, (7, 7)), (24, 2, (6, 6)), (30, 1, (15, 15)), ((48, 64), 3, (6, 8)), ((8, 64), 1, (4, 32))],
)
def test_default_level_leaves_four_places_on_the_shorter_side_or_few_more(shape, level, coarsest):
    basis = WaveletBasis(shape)
    assert (basis.level, basis.subbands[0].shape) == (level, coarsest)
    assert basis.shape == ((shape, shape) if isinstance(shape, int) else shape)
    assert basis.dim == basis.shape[0] * basis.shape[1]


def test_a_square_is_written_by_one_number_and_a_rectangle_by_two():
    assert repr(WaveletBasis((32, 32))) == "WaveletBasis(32, wavelet='db2', level=3)"
    assert WaveletBasis((32, 32)) == WaveletBasis(32)
    assert repr(WaveletBasis((48, 64))) == "WaveletBasis((48, 64), wavelet='db2', level=3)"
    with pytest.raises(ValueError, match="6 x 8 places; expected a square"):
        print(WaveletBasis((48, 64)).subbands[0].side)


def own_filter():
    """An orthogonal filter of four taps that PyWavelets does not have: a lattice of two rotations."""
    a, b = 0.3, np.pi / 4 - 0.3  # they sum to pi / 4, so that a constant passes
    low = np.array([np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), -np.sin(a) * np.sin(b), np.cos(a) * np.sin(b)])
    high = low[::-1] * [-1, 1, -1, 1]
    return pywt.Wavelet("mine", filter_bank=[low.tolist(), high.tolist(), low[::-1].tolist(), high[::-1].tolist()])


def test_takes_an_orthogonal_filter_of_ones_own(rng):
    wavelet = own_filter()
    low = np.array(wavelet.dec_lo)
    assert_allclose([low @ low, low[2:] @ low[:2], low.sum()], [1, 0, np.sqrt(2)], atol=1e-15)
    basis = WaveletBasis((24, 32), wavelet)
    images = rng.standard_normal((2, 24, 32))
    expected = flat_wavedec2(images, wavelet, basis.level)
    assert_allclose(basis.analyze(torch.from_numpy(images)), expected, atol=1e-13)
    matrix = basis.matrix().numpy()
    assert_allclose(matrix @ matrix.T, np.eye(basis.dim), atol=1e-13)
    assert make_basis("WaveletBasis", **basis.options) == basis
    assert re.fullmatch(r"WaveletBasis\(\(24, 32\), wavelet='own-[0-9a-f]{8}', level=2\)", repr(basis))
    assert basis != WaveletBasis((24, 32))


def test_the_filter_is_tested_and_not_its_name(rng):
    bank = pywt.Wavelet("db2").filter_bank
    assert WaveletBasis(16, pywt.Wavelet("db2")) == WaveletBasis(16, "db2")
    assert WaveletBasis(16, "bior1.1").level == 2  # another name for haar
    assert WaveletBasis(16, "DB2") == WaveletBasis(16, "db2")
    assert repr(WaveletBasis(16, [[0.6, 0.8], [-0.8, 0.6]])) != repr(WaveletBasis(16, [[0.8, 0.6], [-0.6, 0.8]]))
    bent = np.array(bank) + 1e-6 * rng.standard_normal((4, 4))
    with pytest.raises(ValueError, match=r"wavelet is 'db2', which is off by .*; expected an orthogonal filter"):
        WaveletBasis(16, pywt.Wavelet("db2", filter_bank=bent.tolist()))


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_every_level_and_back(level, rng):
    basis = WaveletBasis(32, "haar", level=level)
    images = torch.from_numpy(rng.standard_normal((300, 32, 32)))
    coefficients = basis.analyze(images)
    assert_allclose(coefficients, flat_wavedec2(images.numpy(), "haar", level), atol=1e-12)
    assert_allclose(basis.synthesize(coefficients), images, atol=1e-12)


def test_matrix_rows_are_the_atoms(rng):
    basis = WaveletBasis(16, "db3")
    image = torch.from_numpy(rng.standard_normal((1, 16, 16)))
    assert_allclose(basis.matrix() @ image.flatten(), basis.analyze(image)[0], atol=1e-13)
    assert_allclose(basis.matrix()[37].reshape(16, 16), basis.synthesize(torch.eye(256).double()[37:38])[0])


def test_atom_table_follows_pywt_order():
    basis = WaveletBasis(32)
    assert [(b.scale, b.orientation, b.start) for b in basis.subbands[:5]] == [
        (2, "a", 0),
        (2, "h", 16),
        (2, "v", 32),
        (2, "d", 48),
        (3, "h", 64),
    ]
    assert basis.subbands[-1].slice == slice(768, 1024)
    row = basis.atoms[basis.subbands[5].start + 3 * 8 + 5]
    assert row.tolist() == (3, "v", 3, 5)


def test_atoms_sit_where_the_table_says():
    """Shifting an image by 2^(J-j) pixels moves a coefficient by one place of scale j."""
    basis = WaveletBasis(16, "db2")
    image = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = basis.analyze(image.roll((8, 4), dims=(1, 2)))
    coefficients = basis.analyze(image)
    for band in basis.subbands:
        step = 16 // band.side
        expected = coefficients[:, band.slice].reshape(band.side, band.side).roll((8 // step, 4 // step), (0, 1))
        assert_allclose(moved[:, band.slice].reshape(band.side, band.side), expected, atol=1e-12)


def test_inputs_stay_as_they_are():
    basis, images = WaveletBasis(16), torch.rand(3, 16, 16)
    given_images, coefficients = images.clone(), basis.analyze(images)
    given_coefficients = coefficients.clone()
    basis.synthesize(coefficients)
    assert torch.equal(images, given_images)
    assert torch.equal(coefficients, given_coefficients)


def test_takes_numpy_integers():
    assert repr(WaveletBasis(np.int64(16), level=np.int64(2))) == "WaveletBasis(16, wavelet='db2', level=2)"
    assert repr(independent(np.int64(2))) == "independent(degree=2)"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_dtype(dtype):
    basis = WaveletBasis(16)
    images = torch.rand(3, 16, 16, dtype=dtype)
    coefficients = basis.analyze(images)
    assert coefficients.dtype == basis.synthesize(coefficients).dtype == dtype


@settings(max_examples=25, deadline=None)
@given(
    wavelet=st.sampled_from(["haar", "db2", "db4", "sym4", "coif1"]),
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(-10, 10),
)
def test_linear_and_isometric(wavelet, seed, scale):
    basis = WaveletBasis(16, wavelet)
    x, z = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert_allclose(basis.analyze(x + scale * z), basis.analyze(x) + scale * basis.analyze(z), atol=1e-11, rtol=1e-11)
    inner = (basis.analyze(x) * basis.analyze(z)).sum(1)
    assert_allclose(inner, (x * z).sum((1, 2)), atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((27,), r"shape is \(27, 27\); expected a height and a width that 2\^level divides, at least 2"),
        (((32, 9),), r"shape is \(32, 9\); expected a height and a width that 2\^level divides, at least 2"),
        ((4,), "shape is 4; expected a height and a width, or one number for both, each >= 8"),
        (((32, 4),), r"shape is \(32, 4\); expected a height and a width"),
        (((32, 32, 32),), r"shape is \(32, 32, 32\); expected a height and a width"),
        ((32.0,), "shape is 32.0"),
        ((True,), "shape is True"),
        ((32, "db99"), "wavelet is 'db99'; expected an orthogonal filter"),
        ((32, "bior2.2"), "wavelet is 'bior2.2'"),
        ((32, "dmey"), r"wavelet is 'dmey', which is off by .*e-.. \(at most 1e-09 passes\); expected an orthogonal"),
        ((32, "morl"), "wavelet is 'morl'; expected an orthogonal filter"),
        ((32, pywt.Wavelet("bior2.2")), "wavelet is 'bior2.2', which is off by .*; expected an orthogonal filter"),
        ((32, [[1.0, 1.0], [1.0, -1.0]]), r"wavelet is \[\[1.0, 1.0\].*a pywt.Wavelet, or the taps of two filters"),
        ((8, "db5"), "'db5' has 10 taps; expected at most 8, the shorter side"),
        (((8, 64), "db5"), "'db5' has 10 taps; expected at most 8, the shorter side"),
        ((32, "db2", 5), "level is 5; expected 1 to 4"),
        ((32, "db2", 0), "level is 0; expected 1 to 4"),
        ((32, "db2", True), "level is True; expected 1 to 4"),
        (((48, 64), "db2", 5), "level is 5; expected 1 to 4"),
        ((28, "haar", 3), "level is 3; expected 1 to 2"),
    ],
)
def test_refuses_a_basis_that_is_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        WaveletBasis(*arguments)


def test_refuses_other_images_and_coefficients():
    basis = WaveletBasis(16)
    with pytest.raises(TypeError, match="dtype uint8; expected float32 or float64"):
        basis.analyze(torch.zeros(1, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"shape \[2, 1, 16, 16\]; expected \[n, 16, 16\]"):
        basis.analyze(torch.zeros(2, 1, 16, 16))
    with pytest.raises(ValueError, match=r"add the first axis, images\[None\]"):
        basis.analyze(torch.zeros(16, 16))
    with pytest.raises(ValueError, match=r"shape \[2, 32, 32\]; expected \[n, 16, 16\]"):
        basis.analyze(torch.zeros(2, 32, 32))
    with pytest.raises(ValueError, match="NaN or infinity"):
        basis.analyze(torch.full((2, 16, 16), float("nan")))
    with pytest.raises(ValueError, match="NaN or infinity"):
        basis.analyze(torch.full((2, 16, 16), float("-inf")))
    with pytest.raises(ValueError, match=r"shape \[3, 100\]; expected \[n, 256\]"):
        basis.synthesize(torch.zeros(3, 100))
    with pytest.raises(TypeError, match=r"dtype torch.int64; expected float32 or float64"):
        basis.synthesize(torch.zeros(3, 256, dtype=torch.int64))
