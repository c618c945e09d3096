"""A family of one's own: each detail with its mirror image in the vertical axis of the picture."""

import numpy as np

import wavescore_lite as ws
from wavescore_lite.bases import Basis


def mirrored(degree: int) -> ws.Coupling:
    """Powers of a coefficient, and its products with the coefficient at the mirrored place of its subband."""
    pairs = [[d, e] for d in range(degree + 1) for e in range(degree + 1 - d) if d or not e]
    family = ws.PolynomialFamily(np.array(pairs))

    def build(basis: Basis) -> list[ws.Group]:
        places = [np.arange(basis.dim)[band.slice].reshape(band.shape) for band in basis.subbands]
        own = np.concatenate([place.ravel() for place in places])
        other = np.concatenate([place[:, ::-1].ravel() for place in places])
        return [ws.Group(np.stack([own, other], axis=1), family)]

    return ws.Coupling(f"mirrored(degree={degree})", build)


train, test = (ws.load_images("strokes", size=32, split=split, limit=2000) for split in ("train", "test"))
basis = ws.WaveletBasis(32)
denoisers = {str(c): ws.WaveletScore(basis, c).fit(train) for c in (ws.independent(3), mirrored(3))}
print(ws.error_table(ws.compare(denoisers, test, [1, 2, 4]), [1, 2, 4]))
