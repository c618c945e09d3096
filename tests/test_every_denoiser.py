"""What is asked of scikit-learn's estimators, asked of every denoiser.

However an array lies in memory, the answer is the same; nothing is changed that was given; the same bits come twice;
and there is one family of errors for what is no image and no noise level.
"""

import inspect

import numpy as np
import pytest
import torch

import wavescore_lite as ws
from tests.fitted import BASIS, DENOISERS, SIGMA, SIZE, strokes

FITS = {name: make for name, make in DENOISERS.items() if name != "network"}
SHAPE = f"[{SIZE}, {SIZE}]"


@pytest.fixture(scope="module")
def images():
    return strokes()


@pytest.fixture(scope="module", params=DENOISERS)
def model(request, images):
    return DENOISERS[request.param](images)


@pytest.fixture(params=FITS)
def fit(request):
    return FITS[request.param]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "array": lambda array: array,
    "read-only": read_only,
    "every other": lambda array: np.repeat(array, 2, axis=0)[::2],
    "every other column": lambda array: np.repeat(array, 2, axis=2)[:, :, ::2],
    "columns first": np.asfortranarray,
    "transposed": lambda array: np.ascontiguousarray(array.transpose(2, 0, 1)).transpose(1, 2, 0),
    "reversed": lambda array: np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1],
    "other byte order": lambda array: array.astype(array.dtype.newbyteorder()),
    "list": lambda array: torch.from_numpy(array).tolist(),
    "tensor": torch.from_numpy,
    "strided tensor": lambda array: torch.from_numpy(array).repeat_interleave(2, dim=1)[:, ::2],
    "transposed tensor": lambda array: torch.from_numpy(array).mT.contiguous().mT,
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@layouts
def test_estimates_do_not_depend_on_how_images_lie_in_memory(layout, model, images):
    noisy = images[:6].numpy() + 0.5
    given = layout(noisy)
    assert torch.equal(model.denoise(given, SIGMA), model.denoise(torch.from_numpy(noisy), SIGMA))
    assert torch.equal(model.score(given, SIGMA), model.score(torch.from_numpy(noisy), SIGMA))


@layouts
def test_fits_do_not_depend_on_how_images_lie_in_memory(layout, fit, images):
    expected, found = fit(images), fit(layout(images.numpy()))
    assert torch.equal(found.denoise(images[:5], SIGMA), expected.denoise(images[:5], SIGMA))


def test_one_image_many_times_is_many_images(model, images):
    whole = model.denoise(images[:1].expand(4, -1, -1), SIGMA)
    assert torch.equal(whole, model.denoise(images[[0] * 4], SIGMA))


def test_nothing_that_was_given_is_changed(fit, images):
    """Images and noise levels, as tensors and as arrays, for fits and estimates; nor do answers share their memory."""
    for kind in (torch.clone, lambda tensor: tensor.numpy().copy()):
        clean, noisy, levels = kind(images), kind(images[:5] + 1), kind(torch.full((5,), SIGMA))
        model = fit(clean)
        first = model.denoise(noisy, levels)
        answers = [first, model.score(noisy, levels), model.denoise(noisy, SIGMA), model.starts(images[:5], SIGMA)]
        kept = first.clone()
        for answer in answers:
            answer.zero_()
        assert torch.equal(torch.as_tensor(clean), images)
        assert torch.equal(torch.as_tensor(noisy), images[:5] + 1)
        assert torch.equal(torch.as_tensor(levels), torch.full((5,), SIGMA))
        assert torch.equal(model.denoise(noisy, levels), kept)


def test_a_fit_is_the_same_to_the_bit_when_it_is_made_again(images):
    for make in DENOISERS.values():
        one, other = make(images), make(images)
        for way in ("denoise", "score"):
            first = getattr(one, way)(images[:50] + 1, SIGMA)
            assert torch.equal(first, getattr(one, way)(images[:50] + 1, SIGMA))
            assert torch.equal(first, getattr(other, way)(images[:50] + 1, SIGMA))
        again = make(images)
        if hasattr(again, "fit"):  # a second fit forgets the first
            noise = {"noise": again.moments.noise} if isinstance(again, ws.WaveletScore | ws.JointScore) else {}
            again.fit(images[:150], **noise).denoise(images[:5], SIGMA)
            assert torch.equal(
                again.fit(images, **noise).denoise(images[:50] + 1, SIGMA), one.denoise(images[:50] + 1, SIGMA)
            )


def bad(values):
    return torch.full((3, SIZE, SIZE), values)


NO_IMAGES = {
    "NaN": (bad(torch.nan), ValueError, "NaN or infinity"),
    "infinity": (bad(torch.inf), ValueError, "NaN or infinity"),
    "none at all": (torch.zeros(0, SIZE, SIZE), ValueError, "too few images: got 0"),
    "one without an axis": (torch.zeros(SIZE, SIZE), ValueError, r"shape \[8, 8\]; expected \[n, "),
    "another size": (torch.zeros(3, SIZE, SIZE + 4), ValueError, r"shape \[3, 8, 12\]; expected \[n, "),
    "flat": (torch.zeros(3, SIZE**2), ValueError, r"shape \[3, 64\]"),
    "of three channels": (torch.zeros(3, 3, SIZE, SIZE), ValueError, "one grayscale channel"),
    "a number": (1.0, ValueError, r"shape \[\]"),
    "bytes": (torch.zeros(3, SIZE, SIZE, dtype=torch.uint8), TypeError, "dtype uint8"),
    "integers": (np.zeros((3, SIZE, SIZE), int), TypeError, "dtype int64"),
    "switches": (torch.zeros(3, SIZE, SIZE, dtype=torch.bool), TypeError, "dtype bool"),
    "half precision": (torch.zeros(3, SIZE, SIZE, dtype=torch.float16), TypeError, "dtype float16"),
    "complex": (bad(1j), TypeError, "dtype complex64"),
    "text": (np.full((3, SIZE, SIZE), "1"), TypeError, "array of <U1"),
    "objects": (np.full((3, SIZE, SIZE), None), TypeError, "array of object"),
    "None": (None, TypeError, "type NoneType"),
    "a word": ("images", TypeError, "type str"),
    "a list of lists of other lengths": ([[1.0, 2.0], [1.0]], TypeError, "type list"),
    "a mapping": ({"images": bad(0.5)}, TypeError, "type dict"),
    "sparse": (bad(0.5).to_sparse(), TypeError, "dense tensor"),
}
no_images = pytest.mark.parametrize(("given", "error", "words"), NO_IMAGES.values(), ids=NO_IMAGES)


@no_images
def test_what_is_no_image_is_refused(given, error, words, model):
    for way in ("denoise", "score", "__call__"):
        with pytest.raises(error, match=words):
            getattr(model, way)(given, SIGMA)


@no_images
def test_what_is_no_image_is_not_fitted(given, error, words, fit, images):
    """Nor does a model forget what it was fitted on. Baselines, which have no basis, take images of any size."""
    model = fit(images)
    before = model.denoise(images[:5], SIGMA)
    for method in (model.fit, getattr(model, "partial_fit", model.fit)):
        if "12" in words and not hasattr(model, "basis"):
            continue
        with pytest.raises(error, match=words):
            method(given)
    assert torch.equal(model.denoise(images[:5], SIGMA), before)


NO_LEVELS = {
    "zero": 0.0,
    "negative": -1.0,
    "NaN": float("nan"),
    "infinity": np.inf,
    "text": "1",
    "None": None,
    "a switch": True,
    "complex": 1j,
    "of another number of images": torch.ones(3),
    "one of them negative": torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0]),
    "one of them NaN": np.array([1.0, 1.0, np.nan, 1.0, 1.0]),
    "switches": torch.ones(5, dtype=torch.bool),
    "complex ones": torch.ones(5, dtype=torch.complex64),
    "words": ["1"] * 5,
    "nothing": [None] * 5,
    "empty": [],
    "for each pixel": torch.ones(5, SIZE, SIZE),
}


@pytest.mark.parametrize("sigma", NO_LEVELS.values(), ids=NO_LEVELS)
def test_what_is_no_noise_level_is_refused(sigma, model, images):
    for way in ("denoise", "score"):
        with pytest.raises((TypeError, ValueError), match=r"(sigma is|noise levels (have|are)) .*; expected"):
            getattr(model, way)(images[:5], sigma)


MADE = {
    "a number for a basis": (lambda kind: kind(32, ws.independent(1)), "basis is 32; expected a Basis"),
    "a word for a coupling": (
        lambda kind: kind(BASIS, "independent"),
        "coupling is 'independent'; expected",
    ),
    "a number for noise": (lambda kind: kind(BASIS, ws.independent(1)).fit(strokes(), 1.0), "noise is 1.0; expected"),
    "an end for a range": (
        lambda kind: kind(BASIS, ws.independent(1), value_range=1),
        "value_range is 1; expected",
    ),
    "no end of a range": (
        lambda kind: kind(BASIS, ws.independent(1), value_range=(0, np.nan)),
        r"value_range is \(0, nan\); expected two numbers",
    ),
    "a word for a ridge": (lambda kind: kind(BASIS, ws.independent(1), ridge="none"), "ridge is 'none'; expected"),
}


@pytest.mark.parametrize(("make", "words"), MADE.values(), ids=MADE)
@pytest.mark.parametrize("kind", [ws.WaveletScore, ws.JointScore])
def test_what_makes_no_estimator_is_refused(make, words, kind):
    with pytest.raises((TypeError, ValueError), match=words):
        make(kind)


def test_a_denoiser_that_is_not_fitted_says_so(images):
    made = [ws.MeanImage(), ws.Wiener(), ws.PosteriorMean()]
    made += [kind(BASIS, ws.independent(2)) for kind in (ws.WaveletScore, ws.JointScore)]
    for model in made:
        for way in ("denoise", "score", "__call__"):
            with pytest.raises(RuntimeError, match=r"is not fitted; expected fit\(images\)"):
                getattr(model, way)(images[:5], SIGMA)


def test_all_that_the_package_offers_is_gone_through(images):
    kinds = {type(make(images)) for make in DENOISERS.values()}
    offered = {kind for kind in vars(ws.networks).values() if inspect.isclass(kind) and hasattr(kind, "denoise")}
    offered |= {getattr(ws, name) for name in ws.__all__ if hasattr(getattr(ws, name), "denoise")}
    assert kinds == {kind for kind in offered if not inspect.isabstract(kind) and kind.__name__ != "Denoiser"}
