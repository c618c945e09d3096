"""Ways to fit a denoiser to small strokes, for tests that go through many."""

import wavescore_lite as ws

SIZE = 8
BASIS = ws.WaveletBasis(SIZE)


def strokes():
    """A few images that are quickly fitted."""
    return ws.load_images("strokes", size=SIZE, limit=300)


def score(kind, coupling, basis=BASIS, noise=None, **options):
    """How to fit one kind of wavelet score to images."""
    return lambda images: kind(basis, coupling, **options).fit(images, noise)


def baseline(kind):
    """How to fit one."""
    return lambda images: kind().fit(images)
