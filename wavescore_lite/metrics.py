"""How far denoised images are from the clean ones, on fresh noise that every denoiser shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch

from .bases.protocol import Basis
from .denoisers import Denoiser
from .noise import SCORING, standard_normal
from .similarity import WINDOW, structural_similarity
from .support.checks import check_images, check_integer, check_sigma
from .support.progress import progress


@torch.no_grad()
def denoising_errors(
    denoiser: Denoiser, images: torch.Tensor, sigma: float, seed: int = 0, batch: int = 1024
) -> torch.Tensor:
    """Mean squared error of each image, after clipping the estimate to [0, 1].

    Parameters
    ----------
    denoiser : object with .denoise
    images : tensor [n, height, width] in [0, 1], clean
    sigma : float > 0
        Noise level in pixel units.
    seed : int
        The same seed gives every denoiser the same noise, so differences may be paired image by image. It is never
        the noise that `SampledNoise` of the same seed fits on.
    batch : int
        Images denoised at a time; the result depends on it by rounding alone.

    Returns
    -------
    tensor [n], float64
        Squared pixel units. The mean is `denoising_mse`; its standard error is `errors.std() / n**0.5`.

    Raises
    ------
    TypeError, ValueError
        For other images, a sigma that is not > 0, or a denoiser that returns another shape or NaN.

    Examples
    --------
    >>> class Keep:
    ...     def denoise(self, noisy, sigma):
    ...         return noisy
    >>> errors = denoising_errors(Keep(), torch.full((500, 8, 8), 0.5), sigma=0.1)
    >>> round(errors.mean().item(), 3)
    0.01
    """
    pairs = _estimates(denoiser, images, sigma, seed, batch, SCORING)
    return torch.cat([squared_errors(estimate, clean) for estimate, clean in pairs])


def _estimates(
    denoiser: Denoiser, images: torch.Tensor, sigma: float, seed: int, batch: int, stream: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of clipped estimates and of the clean images that they are of."""
    images = check_images(images, value_range=(0.0, 1.0))
    sigma, batch = check_sigma(sigma), check_integer("batch", batch, 1)
    for start in range(0, len(images), batch):
        clean = images[start : start + batch]
        noise = standard_normal(start, len(clean), tuple(clean.shape[1:]), seed, stream).to(clean)
        estimate = denoiser.denoise(clean + sigma * noise, sigma)
        if estimate.shape != clean.shape or not torch.isfinite(estimate).all():
            raise ValueError(f"{denoiser!r} returned shape {list(estimate.shape)}; expected finite {list(clean.shape)}")
        yield estimate.clamp(0, 1), clean


def squared_errors(estimates: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each image, float64 [n], of images [n, height, width]."""
    return (estimates - clean).double().square().mean(dim=(1, 2))


def subband_errors(estimates: torch.Tensor, clean: torch.Tensor, basis: Basis) -> torch.Tensor:
    """Squared error of each image, split over the subbands in which it lies.

    Parameters
    ----------
    estimates, clean : tensor [n, height, width]
    basis : Basis
        With S subbands.

    Returns
    -------
    tensor [n, S], float64
        In the order of `basis.subbands`. Rows sum to `squared_errors`, as the basis is orthonormal (Parseval).

    Raises
    ------
    ValueError
        For a basis that is not orthonormal.

    Examples
    --------
    >>> clean, estimates = torch.rand(2, 3, 16, 16).double()
    >>> from wavescore_lite import WaveletBasis
    >>> parts = subband_errors(estimates, clean, WaveletBasis(16))
    >>> parts.shape, torch.allclose(parts.sum(dim=1), squared_errors(estimates, clean))
    (torch.Size([3, 7]), True)
    """
    if not basis.orthonormal:
        raise ValueError(f"errors do not split over {basis!r}; expected an orthonormal basis")
    squares = basis.analyze((estimates - clean).double()).square() / basis.dim
    return torch.stack([squares[:, band.slice].sum(dim=1) for band in basis.subbands], dim=1)


@torch.no_grad()
def image_quality(
    denoiser: Denoiser,
    images: torch.Tensor,
    sigma: float,
    seed: int = 0,
    batch: int = 1024,
    stream: int = SCORING,
    basis: Basis | None = None,
) -> dict[str, torch.Tensor]:
    """Squared error, peak signal-to-noise ratio and structural similarity of each image, clipped to [0, 1].

    Parameters
    ----------
    denoiser, images, sigma, seed, batch
        As for `denoising_errors`.
    stream : int
        `noise.SCORING`, or `noise.FITTING` for the very noise that `SampledNoise` of this seed fitted these images on.
    basis : Basis, optional
        In whose subbands the error is split.

    Returns
    -------
    dict of tensor [n], float64
        "mse" in squared pixel units; "psnr" = -10 log10(mse) in decibel; "ssim", see `structural_similarity`, unless
        the images are smaller than its window; with a basis, "subbands" [n, S], see `subband_errors`.

    Raises
    ------
    TypeError, ValueError
        As `denoising_errors`.

    Examples
    --------
    >>> class Black:
    ...     def denoise(self, noisy, sigma):
    ...         return 0 * noisy
    >>> quality = image_quality(Black(), torch.full((2, 16, 16), 0.1), sigma=1.0)
    >>> {name: round(values[0].item(), 3) for name, values in quality.items()}
    {'mse': 0.01, 'ssim': 0.01, 'psnr': 20.0}
    """
    images = check_images(images, value_range=(0.0, 1.0))
    pairs = _estimates(denoiser, images, sigma, seed, batch, stream)
    measures: dict[str, Callable[..., torch.Tensor]] = {"mse": squared_errors}
    if min(images.shape[1:]) >= WINDOW:
        measures["ssim"] = structural_similarity
    if basis is not None:
        measures["subbands"] = partial(subband_errors, basis=basis)
    parts = [{name: measure(*pair) for name, measure in measures.items()} for pair in pairs]
    quality = {name: torch.cat([part[name] for part in parts]) for name in measures}
    return quality | {"psnr": -10 * quality["mse"].log10()}


def denoising_mse(denoiser: Denoiser, images: torch.Tensor, sigma: float, seed: int = 0, batch: int = 1024) -> float:
    """Mean of `denoising_errors`: mean squared error over images and pixels, clipped to [0, 1].

    Examples
    --------
    >>> class Black:
    ...     def denoise(self, noisy, sigma):
    ...         return 0 * noisy
    >>> denoising_mse(Black(), torch.full((10, 8, 8), 0.5), sigma=1.0)
    0.25
    """
    return denoising_errors(denoiser, images, sigma, seed, batch).mean().item()


def compare(
    denoisers: Mapping[str, Denoiser], images: torch.Tensor, sigmas: Sequence[float], seed: int = 0
) -> dict[str, torch.Tensor]:
    """Score several denoisers on the same images and the same noise, so that their errors may be paired.

    Parameters
    ----------
    denoisers : mapping of name to object with .denoise
    images : tensor [n, height, width] in [0, 1], clean
    sigmas : sequence of S floats > 0
    seed : int

    Returns
    -------
    dict of name to tensor [S, n], float64
        `denoising_errors` of each denoiser at each noise level.

    Examples
    --------
    >>> class Black:
    ...     def denoise(self, noisy, sigma):
    ...         return 0 * noisy
    >>> errors = compare({"black": Black()}, torch.full((10, 8, 8), 0.5), sigmas=[1, 2])
    >>> errors["black"].mean(dim=1)
    tensor([0.2500, 0.2500], dtype=torch.float64)
    """
    return {
        name: torch.stack([denoising_errors(denoiser, images, sigma, seed) for sigma in sigmas])
        for name, denoiser in progress(denoisers.items(), desc="denoising", leave=False)
    }


def error_saved(worse: torch.Tensor, better: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of the error that one denoiser saves over another, paired image by image, with its standard error.

    Parameters
    ----------
    worse, better : tensor [S, n]
        Errors of two denoisers on the same images and noise, as `compare` gives them.

    Returns
    -------
    saved, standard_error : tensor [S]
        1 - mean(better) / mean(worse), and its standard error over images: that of the mean of (1 - saved) worse -
        better, divided by the mean of worse, which is the delta method for a ratio. A saving within two standard errors
        is no gain.

    Raises
    ------
    ValueError
        If the two differ in shape: then they are not paired.

    Examples
    --------
    >>> error_saved(torch.tensor([[0.2, 0.4]]), torch.tensor([[0.1, 0.2]]))
    (tensor([0.5000]), tensor([0.]))
    """
    if worse.shape != better.shape:
        raise ValueError(f"errors have shapes {list(worse.shape)} and {list(better.shape)}; expected them paired")
    scale = worse.mean(dim=-1)
    saved = 1 - better.mean(dim=-1) / scale
    residuals = (1 - saved)[..., None] * worse - better
    return saved, residuals.std(dim=-1) / worse.shape[-1] ** 0.5 / scale


def error_table(errors: Mapping[str, torch.Tensor], sigmas: Sequence[float], tablefmt: str = "simple") -> str:
    """Table of mean squared errors with their standard errors, one row a denoiser, one column a noise level.

    Parameters
    ----------
    errors : mapping of name to tensor [S, n]
        What `compare` returned.
    sigmas : sequence of S floats
    tablefmt : str
        A format of the tabulate package; "html" shows as a table in a notebook.

    Examples
    --------
    >>> print(error_table({"black": torch.tensor([[0.25, 0.25], [0.2, 0.4]])}, sigmas=[1, 2]))
    denoiser    sigma = 1        sigma = 2
    ----------  ---------------  ---------------
    black       0.2500 ± 0.0000  0.3000 ± 0.1000
    """
    from tabulate import tabulate

    rows = [
        [name, *(f"{e.mean():.4f} ± {e.std() / len(e) ** 0.5:.4f}" for e in of_denoiser)]
        for name, of_denoiser in errors.items()
    ]
    return tabulate(rows, headers=["denoiser", *(f"sigma = {s:g}" for s in sigmas)], tablefmt=tablefmt)
