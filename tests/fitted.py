"""Denoisers of every kind, fitted to small strokes, for tests that go through all of them."""

import torch

import wavescore_lite as ws
from wavescore_lite.denoisers import BASELINES
from wavescore_lite.networks import Network

SIZE = 8
BASIS = ws.WaveletBasis(SIZE)
SIGMA = 1.0


def strokes():
    """A few images that are quickly fitted."""
    return ws.load_images("strokes", size=SIZE, limit=300)


def score(kind, coupling, basis=BASIS, noise=None, **options):
    """How to fit one kind of wavelet score to images."""
    return lambda images: kind(basis, coupling, **options).fit(images, noise)


def baseline(kind):
    """How to fit one."""
    return lambda images: kind().fit(images)


def network(design):
    """How to make one whose weights are random numbers and not zero, as if it were trained."""

    def make(images):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            made = Network(design, SIZE, mean=0.2, sigma_data=0.3)
            for weights in made.parameters():
                weights.data += 0.05 * torch.randn(weights.shape)
        return made

    return make


DENOISERS = {
    **{name: baseline(kind) for name, kind in BASELINES.items()},
    "independent": score(ws.WaveletScore, ws.independent(3)),
    "automatic": score(ws.WaveletScore, ws.independent(3), ridge="auto"),
    "shared": score(ws.WaveletScore, ws.local_coupled(2, shared=True), polynomials="hermite", bounded=False),
    "sampled": score(ws.WaveletScore, ws.band_tied(2), noise=ws.SampledNoise([SIGMA], draws=3)),
    "joint": score(ws.JointScore, ws.local_coupled(2)),
    "joint sampled": score(ws.JointScore, ws.independent(2), noise=ws.SampledNoise([SIGMA]), target="score"),
    "frame": score(ws.WaveletScore, ws.independent(2), ws.WaveletFrame(SIZE), ws.SampledNoise([SIGMA])),
    "network": network("unet-small"),
}
