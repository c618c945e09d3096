"""The basis is PyWavelets' periodized transform, orthonormal, for every filter that fits."""

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from wavescore_lite import WaveletBasis, independent

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
        ((24,), "size is 24; expected a power of two"),
        ((4,), "size is 4; expected a power of two >= 8"),
        ((32.0,), "size is 32.0"),
        ((32, "db99"), "wavelet is 'db99'; expected an orthogonal filter"),
        ((32, "bior2.2"), "wavelet is 'bior2.2'"),
        ((8, "db5"), "'db5' has 10 taps; expected at most size = 8"),
        ((32, "db2", 5), "level is 5; expected 1 to 4"),
        ((32, "db2", 0), "level is 0; expected 1 to 4"),
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
