"""What the page *The package* shows of other packages' samplers is run, and held against ours and a closed form."""

import importlib
import re
import sys
import warnings
from functools import partial
from itertools import count
from unittest.mock import MagicMock

import pytest
import torch
from numpy.testing import assert_allclose
from scipy.linalg import hadamard
from scipy.stats import norm

import wavescore_lite as ws
from tests.fitted import SIZE, baseline, score, strokes
from tools.imports import ROOT
from wavescore_lite.networks import Network
from wavescore_lite.noise import SAMPLING, standard_normal

PAGE = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
SETTING, K_DIFFUSION, SMALLDIFFUSION, EULER, DDIM = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LOW, HIGH = 0.05, 10.0
LEVELS = ws.noise_levels(12, sigma_max=HIGH, sigma_min=LOW).float()
IMAGES, SEED = 4, 3


def network(images):
    """A design with weights that nobody trained."""
    model = Network("cnn", SIZE, float(images.mean()), float(images.std()))
    for weights in model.parameters():
        weights.data += 0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    return model


DENOISERS = {
    "wavelets": score(ws.WaveletScore, ws.independent(3)),
    "joint": score(ws.JointScore, ws.independent(2)),
    "posterior mean": baseline(ws.PosteriorMean),
    "network": network,
}


@pytest.fixture
def torchvision(monkeypatch):
    """Makes tensors of pictures, in other functions of two of these packages: needed to import them, not to sample.

    Beside a build of torch that is not its own it does not import; there, something that does nothing stands in.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        for name in ("torchvision", "torchvision.transforms"):
            monkeypatch.setitem(sys.modules, name, MagicMock())


def imported(name):
    with warnings.catch_warnings(action="ignore"):  # of what they import in turn
        return importlib.import_module(name)


@pytest.fixture
def k_diffusion(torchvision):
    try:
        return imported("k_diffusion.sampling")
    except ImportError as error:
        pytest.skip(f"k-diffusion, which is not pinned, does not import: {error}")


draws = partial(standard_normal, 0, IMAGES, (1, SIZE, SIZE), SEED, SAMPLING)  # those of `ws.sample`


def setting(denoiser, images):
    """The names that the page begins with: small, and with noise that is known."""
    return {"torch": torch, "images": images, "denoiser": denoiser, "levels": LEVELS, "noise": draws(draw=0)}


@pytest.fixture(params=DENOISERS)
def names(request):
    return setting(DENOISERS[request.param](strokes()), strokes())


def fresh_noise():
    """The noise that `ws.sample` adds, step by step, whatever it is asked with."""
    numbers = count(1)
    return lambda *levels: draws(draw=next(numbers))


def check_ours(drawn, names, stochasticity=0.0, solver="euler", levels=LEVELS):
    """These are our samples, but for the rounding of states as large as the first level."""
    start = levels[0] * names["noise"]
    ours = ws.sample(names["denoiser"], start.shape, levels, stochasticity, SEED, start, solver=solver)
    assert ours.std() > 0.05
    torch.testing.assert_close(drawn, ours, rtol=0, atol=5e-6)


def test_the_page_begins_with_what_they_take(monkeypatch):
    load = ws.load_images
    monkeypatch.setattr(ws, "load_images", lambda name, **options: load("strokes", limit=100, **options))
    names = {}
    exec(SETTING, names)
    assert set(setting(None, None)) <= set(names)
    state = names["levels"][0] * names["noise"]
    assert names["denoiser"](state, names["levels"][0]).shape == state.shape


def test_k_diffusion(names, k_diffusion):
    exec(K_DIFFUSION, names)
    check_ours(names["drawn"], names, solver="heun")
    given = names["denoiser"], LEVELS[0] * names["noise"], LEVELS
    check_ours(k_diffusion.sample_euler(*given), names)
    check_ours(k_diffusion.sample_euler_ancestral(*given, noise_sampler=fresh_noise()), names, stochasticity=1.0)


@pytest.mark.usefixtures("k_diffusion")
def test_likelihood_of_k_diffusion():
    """Of Gaussian data with uncorrelated pixels: there the Jacobian is diagonal, and random signs err in no trace.

    Against the Gaussian that the flow makes of N(0, HIGH^2), which is what k-diffusion takes noise to be.
    """
    mean, std = 0.5, torch.linspace(0.05, 0.5, SIZE**2).double()
    signs = torch.tensor(hadamard(SIZE**2)).double()
    images = (mean + torch.cat([signs, -signs]) * std).unflatten(1, (SIZE, SIZE))
    names = setting(ws.Wiener().fit(images), images)
    exec(K_DIFFUSION, names)
    shrunk = ((std**2 + LOW**2) / (std**2 + HIGH**2)).sqrt()
    expected = norm(mean - shrunk * mean, shrunk * HIGH).logpdf(images[:4].flatten(1)).sum(axis=1)
    assert_allclose(names["nats"], expected, atol=0.01)


@pytest.mark.usefixtures("torchvision")
def test_smalldiffusion(names):
    samples = imported("smalldiffusion").samples
    exec(SMALLDIFFUSION, names)
    check_ours(names["drawn"], names)
    model = names["Model"]()
    model.rand_input = fresh_noise()
    *_, drawn = samples(model, LEVELS, mu=0.5, xt=LEVELS[0] * names["noise"])
    check_ours(drawn, names, stochasticity=1.0)


def test_euler_of_diffusers(names):
    imported("diffusers")
    exec(EULER, names)
    check_ours(names["drawn"], names)


@pytest.mark.parametrize("names", [name for name in DENOISERS if name != "network"], indirect=True)
def test_ddim_of_diffusers(names):
    """It begins at a noise level that is too high for networks."""
    imported("diffusers")
    step = "scheduler.step(clean, time, drawn"
    assert step in DDIM
    noisier = DDIM.replace(step, f"{step}, eta=1, variance_noise=fresh()")
    for lines, stochasticity in ((DDIM, 0.0), (noisier, 1.0)):
        given = names | {"fresh": fresh_noise()}
        exec(lines, given)
        kept = given["scheduler"].alphas_cumprod[given["scheduler"].timesteps].double()
        levels = torch.cat([((1 - kept) / kept).sqrt(), kept.new_zeros(1)])
        start = {"noise": names["noise"] / (1 - kept[0]).sqrt().float()}  # times the first level: noise / sqrt(kept)
        check_ours(given["drawn"], names | start, stochasticity, levels=levels)
