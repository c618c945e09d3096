"""What PyTorch users do to a model works on every denoiser: gradients, one sigma for each image, a channel axis."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws
from tests.fitted import SIZE, baseline, network, score, strokes
from wavescore_lite.denoisers import BASELINES

SIGMA = 1.3
NORMAL = torch.randn(6, SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


MODELS = {
    **{name: baseline(kind) for name, kind in BASELINES.items()},
    "independent": score(ws.WaveletScore, ws.independent(3)),
    "bare hermite": score(ws.WaveletScore, ws.independent(3), polynomials="hermite", bounded=False),
    "band-tied": score(ws.WaveletScore, ws.band_tied(3), target="score"),
    "shared local": score(ws.WaveletScore, ws.local_coupled(3, shared=True), bounded=False),
    "joint": score(ws.JointScore, ws.local_coupled(2), bounded=False),
    "joint bounded": score(ws.JointScore, ws.independent(3)),
    "frame": score(ws.WaveletScore, ws.independent(2), ws.WaveletFrame(SIZE), ws.SampledNoise([SIGMA])),
    "network": lambda images: network("cnn")(images).double().requires_grad_(False),
}


@pytest.fixture(scope="module")
def images():
    return strokes()


@pytest.fixture(scope="module", params=MODELS)
def model(request, images):
    return MODELS[request.param](images)


@pytest.fixture
def noisy(images):
    return images[:6].double() + SIGMA * NORMAL


def difference(model, noisy, direction, step=1e-5):
    ahead, behind = (model.denoise(noisy + way * step * direction, SIGMA) for way in (1, -1))
    return (ahead - behind) / (2 * step)


def test_derivatives_are_those_of_finite_differences(model, noisy):
    """Forward, backward, and by autograd of a loss; the mean image's are zero and there all the same."""
    direction, weights = NORMAL.flip(0), NORMAL.flip(1)
    expected = difference(model, noisy, direction)
    value, forward = torch.func.jvp(lambda x: model.denoise(x, SIGMA), (noisy,), (direction,))
    assert_allclose(value, model.denoise(noisy, SIGMA), atol=1e-10)
    assert_allclose(forward, expected, atol=1e-6)
    _, pull = torch.func.vjp(lambda x: model.denoise(x, SIGMA), noisy)
    leaf = noisy.clone().requires_grad_()
    (model.denoise(leaf, SIGMA) * weights).sum().backward()
    assert_allclose(pull(weights)[0], leaf.grad, atol=1e-10)
    assert_allclose((leaf.grad * direction).sum(), (expected * weights).sum(), atol=1e-5)


def test_jacobians_by_vmap(model, noisy):
    jacobian = torch.func.jacrev(lambda x: model.denoise(x, SIGMA))(noisy[:1])[0, :, :, 0]
    assert_allclose((jacobian * NORMAL[0]).sum(dim=(2, 3)), difference(model, noisy[:1], NORMAL[:1])[0], atol=1e-6)


def test_nothing_is_recorded_where_no_derivative_is_asked_for(model, noisy):
    assert not model.denoise(noisy, SIGMA).requires_grad
    with torch.no_grad():
        assert not model.denoise(noisy.clone().requires_grad_(), SIGMA).requires_grad


def test_a_channel_axis_comes_back(model, noisy):
    plain = model.denoise(noisy, SIGMA)
    assert torch.equal(model.denoise(noisy[:, None], SIGMA), plain[:, None])
    assert torch.equal(model.score(noisy[:, None], SIGMA), model.score(noisy, SIGMA)[:, None])
    with pytest.raises(ValueError, match=r"images have shape \[6, 2, 8, 8\]"):
        model.denoise(noisy[:, None].expand(-1, 2, -1, -1), SIGMA)


def test_a_model_is_callable(model, noisy):
    with torch.no_grad():
        assert torch.equal(model(noisy, SIGMA), model.denoise(noisy, SIGMA))


@pytest.mark.parametrize("shape", [(6,), (6, 1, 1), (6, 1, 1, 1)])
@pytest.mark.parametrize("kind", [torch.DoubleTensor, np.array])
def test_each_image_may_have_its_own_sigma(model, noisy, shape, kind):
    if model.fitted_sigmas:
        return
    sigmas = [2.0, 0.5, 2.0, 1.0, 0.5, 0.7]
    each = kind(sigmas).reshape(shape)
    apart = torch.cat([model.denoise(image[None], sigma) for image, sigma in zip(noisy, sigmas, strict=True)])
    assert_allclose(model.denoise(noisy, each), apart, atol=1e-12)
    scores = torch.cat([model.score(image[None], sigma) for image, sigma in zip(noisy, sigmas, strict=True)])
    assert_allclose(model.score(noisy, each), scores, atol=1e-12)


def test_computation_keeps_its_precision_under_autocast(model, noisy):
    single = noisy.float()
    expected = model.denoise(single, SIGMA)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.denoise(single, SIGMA), expected)
