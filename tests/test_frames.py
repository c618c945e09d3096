"""The frame is PyWavelets' padded transform; synthesis is its pseudo-inverse; the lemma of eq. 24 holds on it."""

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from wavescore_lite import WaveletBasis
from wavescore_lite.bases.frames import MODES, WaveletFrame

FILTERS = ("haar", "db2", "sym4", "coif1")
pytestmark = pytest.mark.filterwarnings("ignore:Level value")  # of pywt, where all coarsest coefficients see padding

modes = pytest.mark.parametrize("mode", MODES)
filters = pytest.mark.parametrize("wavelet", FILTERS)


def flat(coarse, *details):
    bands = [coarse] + [band for bands in details for band in bands]
    return np.concatenate([band.reshape(len(coarse), -1) for band in bands], axis=1)


def by_pywt(images, frame):
    return pywt.wavedec2(images, frame.wavelet, mode=frame.mode, level=frame.level, axes=(-2, -1))


def back_by_pywt(coefficients, frame):
    """`pywt.waverec2`, trimmed to the image."""
    bands = [coefficients[:, b.slice].reshape(len(coefficients), b.side, b.side) for b in frame.subbands]
    nested = [bands[0]] + [tuple(bands[k : k + 3]) for k in range(1, len(bands), 3)]
    return pywt.waverec2(nested, frame.wavelet, mode=frame.mode, axes=(-2, -1))[:, : frame.shape[0], : frame.shape[1]]


def by_svd(matrix):
    return np.linalg.pinv(matrix, rcond=1e-14)


@filters
@modes
@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_equals_pywt(size, mode, wavelet, rng):
    frame = WaveletFrame(size, wavelet, mode=mode)
    images = rng.standard_normal((2, size, size))
    coarse, *details = by_pywt(images, frame)
    assert [band.side for band in frame.subbands[::3]] == [coarse.shape[-1]] + [d[2].shape[-1] for d in details]
    expected = flat(coarse, *details)
    rounding = 1e-14 * np.abs(expected).max()  # of the thousands that extrapolated noise runs up to
    assert_allclose(frame.analyze(torch.from_numpy(images)), expected, atol=rounding if mode == "smooth" else 1e-12)


@modes
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_every_level_and_back(level, mode, rng):
    """More images than a worker takes at a time, not contiguous."""
    frame = WaveletFrame(32, "db2", level=level, mode=mode)
    images = torch.from_numpy(rng.standard_normal((32, 32, 300))).permute(2, 0, 1)
    coefficients = frame.analyze(images)
    assert_allclose(coefficients, flat(*by_pywt(images.numpy(), frame)), atol=1e-11, rtol=1e-11)
    assert_allclose(frame.synthesize(coefficients), images, atol=1e-10)


@filters
@modes
@pytest.mark.parametrize("size", [8, 16])
def test_synthesis_is_the_pseudo_inverse(size, mode, wavelet):
    frame = WaveletFrame(size, wavelet, mode=mode)
    matrix, inverse = frame.matrix().numpy(), frame.left_inverse().numpy()
    assert inverse.shape == (size**2, frame.dim)
    assert_allclose(inverse, by_svd(matrix), atol=1e-11)
    assert_allclose(inverse @ matrix, np.eye(size**2), atol=1e-9 if mode == "smooth" else 1e-10)


@pytest.mark.parametrize(("mode", "tolerance"), [("symmetric", 1e-14), ("smooth", 1e-10)])
def test_synthesis_at_64_is_least_squares(mode, tolerance, rng):
    """The residual is orthogonal to every column of B, hence to the coefficients of any image."""
    frame = WaveletFrame(64, "db2", mode=mode)
    coefficients = torch.from_numpy(rng.standard_normal((2, frame.dim)))
    residual = coefficients - frame.analyze(frame.synthesize(coefficients))
    others = frame.analyze(torch.from_numpy(rng.standard_normal((2, 64, 64))))
    cosines = (residual @ others.T) / (residual.norm() * others.norm())
    assert_allclose(cosines, np.zeros((2, 2)), atol=tolerance)
    assert residual.norm() > 1


@filters
@modes
def test_the_transpose_of_zero_padding_is_a_left_inverse_in_every_mode(mode, wavelet, rng):
    """It is what `pywt.waverec2` computes, whatever the mode."""
    frame, zero = WaveletFrame(16, wavelet, mode=mode), WaveletFrame(16, wavelet, mode="zero")
    coefficients = rng.standard_normal((3, frame.dim))
    back = coefficients @ zero.matrix().numpy()
    assert_allclose(back.reshape(3, 16, 16), back_by_pywt(coefficients, frame), atol=1e-12)
    assert_allclose(zero.matrix().T @ frame.matrix(), np.eye(256), atol=1e-11)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "zero"])
def test_agrees_with_waverec2_only_on_coefficients_of_an_image(mode, rng):
    frame = WaveletFrame(16, "db2", mode=mode)
    image = torch.from_numpy(rng.standard_normal((1, 16, 16)))
    consistent = frame.analyze(image)
    assert_allclose(frame.synthesize(consistent), back_by_pywt(consistent.numpy(), frame), atol=1e-12)
    coefficients = torch.from_numpy(rng.standard_normal((1, frame.dim)))
    ours, theirs = frame.synthesize(coefficients), torch.from_numpy(back_by_pywt(coefficients.numpy(), frame))
    assert (ours - theirs).abs().max() > 0.1
    missed, missed_by_pywt = ((coefficients - frame.analyze(x)).norm() for x in (ours, theirs))
    assert missed < 0.99 * missed_by_pywt


@filters
@modes
def test_frame_bounds_are_the_extreme_singular_values(mode, wavelet):
    frame = WaveletFrame(16, wavelet, mode=mode)
    singular = np.linalg.svd(frame.matrix().numpy(), compute_uv=False)
    assert_allclose(frame.frame_bounds(), (singular[-1] ** 2, singular[0] ** 2), rtol=1e-9)


def test_recorded_frame_bounds():
    """No image loses energy, and the upper bound grows with the level; extrapolation makes it very large."""
    upper = {mode: WaveletFrame(32, "db2", mode=mode).frame_bounds()[1] for mode in MODES}
    recorded = {"zero": 1.0, "antisymmetric": 4.815, "reflect": 17.80, "periodic": 33.66, "symmetric": 54.23}
    recorded |= {"constant": 291.1, "antireflect": 3.464e5, "smooth": 2.895e6}
    assert_allclose([upper[mode] for mode in recorded], list(recorded.values()), rtol=5e-4)
    deeper = [WaveletFrame(32, "db2", level=level).frame_bounds()[1] for level in (1, 2, 3, 4)]
    assert deeper == sorted(deeper)


@modes
def test_haar_needs_no_padding(mode, rng):
    frame, basis = WaveletFrame(32, "haar", mode=mode), WaveletBasis(32, "haar")
    images = torch.from_numpy(rng.standard_normal((3, 32, 32)))
    assert frame.dim == basis.dim
    assert frame.subbands == basis.subbands
    assert frame.frame_bounds() == (1, 1)
    assert_allclose(frame.analyze(images), basis.analyze(images), atol=1e-13)
    assert_allclose(frame.synthesize(frame.analyze(images)), images, atol=1e-13)


def test_matrix_covariance_and_projector(rng):
    frame = WaveletFrame(16, "db3", mode="reflect")
    image = torch.from_numpy(rng.standard_normal((1, 16, 16)))
    matrix, inverse = frame.matrix(), frame.left_inverse()
    assert_allclose(matrix @ image.flatten(), frame.analyze(image)[0], atol=1e-13)
    assert_allclose(inverse @ frame.analyze(image)[0], image.flatten(), atol=1e-13)
    assert_allclose(frame.noise_covariance(), matrix @ matrix.T, atol=1e-12)
    projector = matrix @ inverse
    assert_allclose(projector, projector.T, atol=1e-12)
    assert_allclose(projector @ projector, projector, atol=1e-12)
    assert_allclose(projector.trace(), 256)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_dtype(dtype):
    frame = WaveletFrame(16)
    images = torch.rand(3, 16, 16, dtype=dtype, generator=torch.Generator().manual_seed(0))
    given_images, coefficients = images.clone(), frame.analyze(images)
    given_coefficients = coefficients.clone()
    assert_allclose(frame.synthesize(coefficients), images, atol=3e-6 if dtype == torch.float32 else 1e-14)
    assert coefficients.dtype == frame.synthesize(coefficients).dtype == frame.matrix(dtype).dtype == dtype
    assert frame.left_inverse(dtype).dtype == frame.noise_covariance(dtype).dtype == dtype
    assert torch.equal(images, given_images)
    assert torch.equal(coefficients, given_coefficients)


@settings(max_examples=25, deadline=None)
@given(
    wavelet=st.sampled_from(FILTERS),
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(-9, 9),
)
def test_linear(wavelet, mode, seed, scale):
    frame = WaveletFrame(8, wavelet, mode=mode)
    x, z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y, w = torch.randn(2, 4, frame.dim, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    both = frame.analyze(x) + scale * frame.analyze(z)
    assert_allclose(frame.analyze(x + scale * z), both, atol=1e-9, rtol=1e-10)
    back = frame.synthesize(y) + scale * frame.synthesize(w)
    assert_allclose(frame.synthesize(y + scale * w), back, atol=1e-11, rtol=1e-11)


def test_subbands_and_atoms():
    frame = WaveletFrame(32, "db2")
    assert [(b.scale, b.orientation, b.side) for b in frame.subbands] == [
        (2, "a", 6),
        *((scale, orientation, side) for scale, side in ((2, 6), (3, 10), (4, 17)) for orientation in "hvd"),
    ]
    places = np.concatenate([np.arange(frame.dim)[band.slice] for band in frame.subbands])
    assert np.array_equal(places, np.arange(frame.dim))
    assert frame.atoms[frame.subbands[5].start + 3 * 10 + 7].tolist() == (3, "v", 3, 7)


def test_is_not_orthonormal_and_has_a_name():
    frame = WaveletFrame(np.int64(16), "sym4", mode="periodic")
    assert not frame.orthonormal
    assert repr(frame) == "WaveletFrame(16, wavelet='sym4', level=2, mode='periodic')"
    assert len({frame, WaveletFrame(16, "sym4", level=2, mode="periodic"), WaveletFrame(**frame.options)}) == 1
    assert frame != WaveletFrame(16, "sym4", mode="symmetric")
    assert frame != WaveletBasis(16, "sym4")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "wrap"}, r"mode is 'wrap'; expected one of \('zero', .*'antireflect'\)"),
        ({"mode": "periodization"}, r"mode is 'periodization'; expected .* \('periodization' is WaveletBasis\)"),
        ({"shape": 27}, r"shape is \(27, 27\); expected a height and a width that 2\^level divides"),
        ({"wavelet": "bior2.2"}, "wavelet is 'bior2.2', which is off by .*; expected an orthogonal filter"),
        ({"level": 5}, "level is 5; expected 1 to 4"),
    ],
)
def test_refuses_a_frame_that_is_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        WaveletFrame(**({"shape": 32} | arguments))


def test_refuses_other_images_and_coefficients():
    frame = WaveletFrame(16)  # 387 coefficients
    with pytest.raises(TypeError, match="dtype uint8; expected float32 or float64"):
        frame.analyze(torch.zeros(1, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"shape \[2, 32, 32\]; expected \[n, 16, 16\]"):
        frame.analyze(torch.zeros(2, 32, 32))
    for value in (np.nan, np.inf, -np.inf):
        images = torch.zeros(200, 16, 16)
        images[150, 15, 15] = value
        with pytest.raises(ValueError, match="NaN or infinity"):
            frame.analyze(images)
    with pytest.raises(ValueError, match=r"shape \[3, 256\]; expected \[n, 387\]"):
        frame.synthesize(torch.zeros(3, 256))
    with pytest.raises(TypeError, match=r"dtype torch.int64; expected float32 or float64"):
        frame.synthesize(torch.zeros(3, 387, dtype=torch.int64))


@modes
def test_coefficient_noise_is_correlated(mode, rng):
    """White noise in the pixels, white in a basis: in the frame it has covariance B B^T, exactly and by Monte Carlo."""
    frame, draws = WaveletFrame(8, "db2", mode=mode), 20_000
    exact = frame.noise_covariance().numpy()
    spread = np.sqrt(exact.diagonal())
    correlation = exact / np.outer(spread, spread)
    assert np.abs(correlation - np.eye(frame.dim)).max() > 0.2
    assert np.linalg.matrix_rank(exact) == 64 < frame.dim
    basis = WaveletBasis(8, "db2").matrix()
    assert_allclose(basis @ basis.T, np.eye(64), atol=1e-12)

    coefficients = frame.analyze(torch.from_numpy(rng.standard_normal((draws, 8, 8)))).numpy()
    sampled = coefficients.T @ coefficients / draws
    error = np.sqrt((np.outer(spread, spread) ** 2 + exact**2) / draws)  # of a Gaussian's sample covariance
    assert (np.abs(sampled - exact) < 5.5 * error).all()
    assert 0.9 < np.sqrt(np.mean(((sampled - exact) / error) ** 2)) < 1.1


def test_periodic_padding_repeats_coefficients():
    """With periods in the padding, the first and the last coefficient of a row are the same one, noise and all."""
    frame = WaveletFrame(8, "db2", mode="periodic")
    covariance = frame.noise_covariance()
    first, last = frame.subbands[0].start, frame.subbands[0].side - 1
    assert_allclose([covariance[first, last], covariance[last, last]], covariance[first, first], rtol=1e-12)


@pytest.fixture(scope="module", params=["symmetric", "constant"])
def lemma(request):
    """Images of smooth noise, their noisy copies, and nonlinear features F of the copies' frame coefficients."""
    rng = np.random.default_rng(5)
    frame = WaveletFrame(8, "db2", mode=request.param)
    clean = np.tanh(rng.standard_normal((500, 64)) @ rng.standard_normal((64, 64)) / 8)
    noisy = clean + 0.7 * rng.standard_normal(clean.shape)
    seen = frame.analyze(torch.from_numpy(noisy).unflatten(1, (8, 8))).numpy()
    mixed = np.tanh(seen @ rng.standard_normal((frame.dim, 20)) / 10)
    features = np.concatenate([np.ones((500, 1)), seen, seen[:, :30] ** 3, seen[:, :50] * seen[:, 50:], mixed], axis=1)
    return frame, clean, seen, features


def left_inverses(frame):
    """Pseudo-inverse, `pywt.waverec2`, and the pseudo-inverse with anything added that vanishes on the range of B."""
    matrix, pseudo = frame.matrix().numpy(), frame.left_inverse().numpy()
    anything = np.random.default_rng(6).standard_normal(pseudo.shape)
    return {
        "pseudo-inverse": pseudo,
        "waverec2": back_by_pywt(np.eye(frame.dim), frame).reshape(frame.dim, -1).T,
        "another": pseudo + anything @ (np.eye(frame.dim) - matrix @ pseudo),
    }


def ridge_fit(features, targets, gamma):
    """argmin E||F U - Y||^2 + gamma ||U||^2, the one of least norm if gamma = 0."""
    count, width = features.shape
    stacked = np.concatenate([features / np.sqrt(count), np.sqrt(gamma) * np.eye(width)])
    return np.linalg.lstsq(stacked, np.concatenate([targets / np.sqrt(count), np.zeros((width, targets.shape[1]))]))[0]


@pytest.mark.parametrize("gamma", [1e-6, 1e-2, 1.0, 100.0])
def test_lemma_of_eq_24(lemma, gamma):
    """W [P, d] = U [P, M] R^T [M, d] for R [d, M] with R B = 1: as rows, (x B^T) R^T = x.

    The paper prints R^T B = 1, whose shapes [M, d] and [M, d] do not meet, and R^T B^T is no identity.
    """
    frame, clean, _, features = lemma
    matrix = frame.matrix().numpy()
    pixels = ridge_fit(features, clean, gamma)
    coefficients = np.linalg.solve(
        features.T @ features / 500 + gamma * np.eye(features.shape[1]), features.T @ clean @ matrix.T / 500
    )
    for name, inverse in left_inverses(frame).items():
        assert_allclose(inverse @ matrix, np.eye(64), atol=1e-11, err_msg=name)
        with pytest.raises(ValueError, match="matmul"):
            inverse.T @ matrix
        assert np.linalg.matrix_rank(inverse.T @ matrix.T) == 64 < frame.dim
        assert_allclose(coefficients @ inverse.T, pixels, atol=1e-8 * np.abs(pixels).max(), err_msg=name)
        assert_allclose(features @ coefficients @ inverse.T, features @ pixels, atol=1e-9, err_msg=name)
    assert np.abs(coefficients @ matrix - pixels).max() > 0.1 * np.abs(pixels).max()  # B^T is none of them


def test_lemma_at_no_ridge_with_fewer_images_than_features(lemma):
    """Of the many optima, those of least norm correspond."""
    frame, clean, _, features = lemma
    few = slice(100)
    pixels = ridge_fit(features[few], clean[few], 0)
    coefficients = ridge_fit(features[few], clean[few] @ frame.matrix().numpy().T, 0)
    for name, inverse in left_inverses(frame).items():
        assert_allclose(coefficients @ inverse.T, pixels, atol=1e-9, err_msg=name)


def test_lemma_is_not_about_fits_of_one_coefficient_each(lemma):
    """Predicted apart, the coefficients are no image's any more, and the left inverse decides what image comes out."""
    frame, clean, seen, _ = lemma
    targets = clean @ frame.matrix().numpy().T
    own = np.stack([np.ones_like(seen), seen, seen**2, seen**3], axis=-1)
    predicted = np.stack(
        [own[:, i] @ ridge_fit(own[:, i], targets[:, i : i + 1], 1e-6)[:, 0] for i in range(frame.dim)], axis=1
    )
    images = {name: predicted @ inverse.T for name, inverse in left_inverses(frame).items()}
    gap = np.sqrt(np.mean((images["pseudo-inverse"] - images["waverec2"]) ** 2))
    assert gap > 0.005 * np.sqrt(np.mean(clean**2))
