"""Three orientations at one place: what cross-orientation products buy, and what the condition numbers say (eq. 22)."""

import wavescore_lite as ws

SIGMAS = [1, 2, 4]

train, test = (ws.load_images("strokes", size=32, split=split, limit=2000) for split in ("train", "test"))
basis = ws.WaveletBasis(32)
denoisers = {"full linear (Wiener)": ws.Wiener().fit(train)}
for name, coupling in {
    "independent, D = 3": ws.independent(3),
    "band-tied, D = 3": ws.band_tied(3),
    "band-tied, D = 3, shared": ws.band_tied(3, shared=True),
    "band-tied, D = 3, with parents": ws.band_tied(3, parent=True),
}.items():
    denoisers[name] = ws.WaveletScore(basis, coupling).fit(train)
errors = ws.compare(denoisers, test, SIGMAS)
print(ws.error_table(errors, SIGMAS))

saved, standard_error = ws.error_saved(errors["independent, D = 3"], errors["band-tied, D = 3"])
for sigma, share, bar in zip(SIGMAS, saved, standard_error, strict=True):
    print(f"band-tying saves {share:.2%} +- {bar:.2%} of the independent error at sigma = {sigma}")

model = denoisers["band-tied, D = 3"]
print("\nmedian condition number of Sigma at sigma = 2")
for polynomials, condition in model.conditioning(2.0).items():
    print(f"  {polynomials:>8}: {condition.median():.3g}")
