"""Analytic diffusion scores in an orthonormal wavelet basis, exact in the noise.

The companion package of the book *wavescore*. Data takes one way through it: `data` gives images, `bases` turn them
into coefficients, `couplings` says which coefficients each one listens to and through which `polynomials`, `moments`
sums what that needs, `scores` solves for the estimator, and `closed_form` writes the smallest solutions out;
`denoisers`, `sampling`, `metrics` and `probes` take anything that answers `denoise(noisy, sigma)`.

What is in the face, ``__init__.pyi`` lists; each name is imported when it is first asked for.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
