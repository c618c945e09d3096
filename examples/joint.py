"""One regression for each coefficient, or one for all of them: not the same model (eq. 15 against eq. 23)."""

import wavescore_lite as ws

SIGMAS = [1, 2, 4]

train, test = (ws.load_images("strokes", size=16, split=split, limit=3000) for split in ("train", "test"))
basis = ws.WaveletBasis(16)
denoisers = {"full linear (Wiener)": ws.Wiener().fit(train)}
for coupling in (ws.independent(1), ws.independent(3), ws.band_tied(2)):
    denoisers[f"per wavelet, {coupling}"] = ws.WaveletScore(basis, coupling).fit(train)
    denoisers[f"joint, {coupling}"] = ws.JointScore(basis, coupling).fit(train)
print(ws.error_table(ws.compare(denoisers, test, SIGMAS), SIGMAS))

model = denoisers["joint, band_tied(degree=2)"]
print(f"\n{len(model.features):,} features; fitted on {model.fingerprint}")
exact, sampled = model, ws.JointScore(basis, ws.band_tied(2)).fit(train, noise=ws.SampledNoise([1.0]))
for name, fit in (("noise integrated out", exact), ("one draw of noise", sampled)):
    print(f"{name}: error on the fitted images {fit.risk(1.0, train):.4f}, held out {fit.risk(1.0, test):.4f}")
