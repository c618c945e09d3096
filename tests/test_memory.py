"""What a fit says that it takes is what it takes: resident memory at the peak, in processes of their own."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

import wavescore_lite as ws

MEASURE = """
import sys
import torch
import wavescore_lite as ws
from wavescore_lite.benchmarks.memory import peak_above

torch.set_num_threads(1)
make, size, before, run = sys.argv[1:]
small = ws.load_images("strokes", size=8, limit=300)
for fit in (ws.WaveletScore, ws.JointScore):  # what is loaded and set up once
    warm = fit(ws.WaveletBasis(8), ws.independent(2), ridge=1e-3).fit(small)
    warm.denoise(small, 1.0), warm.merge(warm), warm.conditioning(1.0)
images, model = ws.load_images("strokes", size=int(size), limit=600), eval(make)
eval(before)
print(peak_above(lambda: eval(run)), model.memory())
"""
FIT = "model.fit(images).denoise(images[:3], 1.0)"
SQUARE = 8 * 1537**2  # bytes of a Gram of all products of two neighbours at 16 x 16


def peak_and_claim(make, size, before="None", run=FIT):
    """Bytes at the peak above what was there before, and what `memory` says."""
    command = [sys.executable, "-c", MEASURE, make, str(size), before, run]
    return map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("make", "size"),
    [
        ("ws.JointScore(ws.WaveletBasis(8), ws.band_tied(6, parent=True))", 8),  # many pairs of products share a factor
        ("ws.JointScore(ws.WaveletBasis(16), ws.local_coupled(2), ridge='auto')", 16),
        ("ws.WaveletScore(ws.WaveletBasis(32), ws.local_coupled(3), 'hermite')", 32),
        ("ws.WaveletScore(ws.WaveletBasis(32), ws.local_coupled(3), ridge='auto')", 32),
    ],
)
def test_a_fit_takes_what_it_says(make, size):
    peak, claim = peak_and_claim(make, size)
    assert 0.5 * claim < peak < claim


def test_what_takes_more_asks_for_it():
    """Sums over the images of both models; two Grams for eigenvalues, whose panels are as large as one here."""
    make = "ws.JointScore(ws.WaveletBasis(16), ws.local_coupled(2))"
    merge, _ = peak_and_claim(make, 16, "model.fit(images)", "model.merge(model)")
    assert 0.5 * SQUARE < merge < 1.2 * SQUARE
    conditioning, claim = peak_and_claim(make, 16, "model.fit(images)", "model.conditioning(1.0)")
    assert 2 * SQUARE < conditioning < claim


def free(monkeypatch, available):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(available)))


@pytest.mark.parametrize("kind", [ws.WaveletScore, ws.JointScore])
@pytest.mark.parametrize("ridge", [1e-6, "auto"])
def test_no_fit_starts_without_room(kind, ridge, monkeypatch):
    model = kind(ws.WaveletBasis(8), ws.independent(2), ridge=ridge)
    images = torch.rand(300, 8, 8)
    free(monkeypatch, model.memory() - 1)
    with pytest.raises(MemoryError, match=r"takes 0.1 GiB, and 0.1 GiB are free: "):
        model.fit(images)
    assert model.moments is None
    free(monkeypatch, model.memory())
    model.fit(images)
    with pytest.raises(MemoryError, match=r"joint fit takes|a fit of .* takes"):
        model.fit(images, ws.SampledNoise(range(1, 100)))
    assert model.fitted_sigmas is None  # what was fitted is still there
    free(monkeypatch, 1000)
    with pytest.raises(MemoryError, match="what both sum to takes"):
        model.merge(model)
    if kind is ws.JointScore:
        with pytest.raises(MemoryError, match=r"conditioning of .* takes"):
            model.conditioning(1.0)


def test_room_that_torch_is_refused_is_a_lack_of_memory(monkeypatch):
    def refuse(*shape, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    model = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(2))
    monkeypatch.setattr(torch, "zeros", refuse)
    with pytest.raises(MemoryError, match=r"no room for the sums of WaveletScore.*can't allocate"):
        model.fit(torch.full((2, 8, 8), 0.5))
