"""Neighbours in the subband: how much radius is worth, and how much of it is linear (section 2.2.3)."""

import wavescore_lite as ws

SIGMAS = [1, 2, 4]

train, test = (ws.load_images("strokes", size=32, split=split, limit=1000) for split in ("train", "test"))
basis = ws.WaveletBasis(32)
denoisers = {"full linear (Wiener)": ws.Wiener().fit(train)}
for name, coupling in {
    "radius 0, D = 2": ws.local_coupled(2, radius=0),
    "radius 1, D = 2": ws.local_coupled(2, radius=1),
    "radius 2, D = 2": ws.local_coupled(2, radius=2),
    "radius 1, linear neighbours alone": ws.local_coupled(1, radius=1, pure_neighbours=True),
    "radius 1, D = 2, all of it": ws.local_coupled(2, radius=1, pure_neighbours=True),
    "radius 1, D = 2, all of it, shared": ws.local_coupled(2, radius=1, pure_neighbours=True, shared=True),
}.items():
    denoisers[name] = ws.WaveletScore(basis, coupling, ridge="auto").fit(train)
    parameters = denoisers[name].num_parameters
    print(f"{name:>36}: {parameters:6,} parameters, ridge at sigma = 1: {denoisers[name].chosen_ridge(1.0):.0e}")
print(ws.error_table(ws.compare(denoisers, test, SIGMAS), SIGMAS))
