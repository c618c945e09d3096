"""Analytic diffusion scores in an orthonormal wavelet basis, exact in the noise.

The companion package of the book *wavescore*. Data takes one way through it: `datasets` gives images, `wavelets`
turns them into coefficients, `couplings` says which coefficients each one listens to and through which
`polynomials`, `moments` sums what that needs, `scores` solves for the estimator, and `closed_form` writes the
smallest solutions out; `denoisers`, `sampling` and `metrics` take anything that answers `denoise(noisy, sigma)`.
"""

from . import closed_form, plots
from .couplings import Coupling, Group, band_tied, independent, local_coupled
from .datasets import load_images, load_labels, resolve_dataset
from .denoisers import MeanImage, PosteriorMean, Wiener
from .frames import WaveletFrame
from .metrics import compare, denoising_errors, denoising_mse, error_saved, error_table, image_quality
from .moments import Moments
from .networks import Network, load_network
from .noise import SampledNoise
from .polynomials import PolynomialFamily
from .records import Record
from .results import Results
from .sampling import noise_levels, sample
from .scores import JointScore, WaveletScore
from .wavelets import WaveletBasis

__version__ = "0.1.0"

__all__ = [
    "Coupling",
    "Group",
    "JointScore",
    "MeanImage",
    "Moments",
    "Network",
    "PolynomialFamily",
    "PosteriorMean",
    "Record",
    "Results",
    "SampledNoise",
    "WaveletBasis",
    "WaveletFrame",
    "WaveletScore",
    "Wiener",
    "band_tied",
    "closed_form",
    "compare",
    "denoising_errors",
    "denoising_mse",
    "error_saved",
    "error_table",
    "image_quality",
    "independent",
    "load_images",
    "load_labels",
    "load_network",
    "local_coupled",
    "noise_levels",
    "plots",
    "resolve_dataset",
    "sample",
]
