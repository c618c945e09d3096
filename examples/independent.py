"""Each coefficient alone: what its own higher moments buy, scale by scale (eq. 18-21)."""

import torch

import wavescore_lite as ws

SIGMA = 1.0

train, test = (ws.load_images("strokes", size=32, split=split, limit=2000) for split in ("train", "test"))
basis = ws.WaveletBasis(32)
denoisers = {"mean image": ws.MeanImage().fit(train), "full linear (Wiener)": ws.Wiener().fit(train)}
denoisers |= {f"independent, D = {d}": ws.WaveletScore(basis, ws.independent(d)).fit(train) for d in (1, 2, 3)}
errors = ws.compare(denoisers, test, sigmas=[1, 2, 4])
print(ws.error_table(errors, [1, 2, 4]))

noisy = test + SIGMA * torch.randn(test.shape, generator=torch.Generator().manual_seed(0))
print(f"\nerror saved by degree 3 over degree 1 at sigma = {SIGMA:g}, subband by subband")
clean, linear, cubic = (
    basis.analyze(images)
    for images in (test, *(denoisers[f"independent, D = {d}"].denoise(noisy, SIGMA) for d in (1, 3)))
)
for band in basis.subbands:
    before, after = ((estimate - clean)[:, band.slice].square().sum() for estimate in (linear, cubic))
    print(f"  scale {band.scale}, {band.orientation}: {1 - after / before:7.2%}")
