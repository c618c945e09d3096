"""What a denoiser looks at, whatever it is made of: its Jacobian, its reach, and what a shift does to it."""

from __future__ import annotations

import torch

from .denoisers import Denoiser
from .denoisers.protocol import WithScore
from .support.checks import check_images, check_sigma

STEP = 1e-2  # of the central differences, in units of sigma
CHUNK = 64  # pixels whose rows are computed at a time


def jacobian(denoiser: Denoiser, noisy: torch.Tensor, sigma: float, step: float = STEP) -> torch.Tensor:
    """Derivative of every pixel of the estimate by every pixel of one noisy image.

    It is exact for the denoisers of this package, and taken by central differences for others.

    Parameters
    ----------
    denoiser : object with .denoise
    noisy : tensor [1, height, width]
        It is differentiated in float64; networks compute in their own precision all the same.
    sigma : float > 0
    step : float > 0
        Half the distance of the two images of a difference, in units of sigma. The error is of order step^2, and zero
        for polynomials of degree 2; what computes in float32 has another of some 1e-5 / (step sigma).

    Returns
    -------
    tensor [d, d], float64
        Entry p, q is d estimate_p / d noisy_q.

    Raises
    ------
    TypeError, ValueError
        For more than one image, or another sigma or step.

    Notes
    -----
    For the true posterior mean it is the posterior covariance divided by sigma^2, hence symmetric and positive: the
    derivative of Tweedie's formula (Efron, 2011).

    Examples
    --------
    >>> from wavescore_lite import Wiener
    >>> wiener = Wiener().fit(torch.rand(300, 8, 8))
    >>> J = jacobian(wiener, torch.rand(1, 8, 8), sigma=0.5)
    >>> torch.allclose(J, J.T, atol=1e-8)
    True
    """
    noisy, sigma = check_images(noisy).double(), check_sigma(sigma)
    if len(noisy) != 1:
        raise ValueError(f"noisy holds {len(noisy)} images; expected one")
    if not step > 0:
        raise ValueError(f"step is {step}; expected a number > 0")
    if isinstance(denoiser, WithScore):
        denoiser.denoise(noisy, sigma)  # so that bad input is refused before anything is differentiated
        with torch.enable_grad():
            rows = torch.func.jacrev(lambda x: denoiser.denoise(x[None], sigma).flatten(), chunk_size=CHUNK)(noisy[0])
        return rows.detach().flatten(1)
    return _by_differences(denoiser, noisy, sigma, step)


@torch.no_grad()
def _by_differences(denoiser: Denoiser, noisy: torch.Tensor, sigma: float, step: float) -> torch.Tensor:
    moved = step * sigma * torch.eye(noisy[0].numel(), dtype=torch.float64, device=noisy.device)
    moved = moved.unflatten(1, noisy.shape[1:])
    ahead, behind = (denoiser.denoise(noisy + way * moved, sigma).flatten(1) for way in (1, -1))
    return ((ahead - behind) / (2 * step * sigma)).T


def reach(fields: torch.Tensor, share: float = 0.5) -> torch.Tensor:
    """How far from its pixel a share of the power of each row of a Jacobian lies.

    Parameters
    ----------
    fields : tensor [k, height, width]
        Rows of Jacobians as images, the pixel of each in the middle, at [height // 2, width // 2].
    share : float in (0, 1)

    Returns
    -------
    tensor [k], float64
        The least Chebyshev radius in pixels inside which at least the share of the sum of squares lies.

    Raises
    ------
    TypeError, ValueError
        For fields that are no images, or a share that is not between 0 and 1.

    Examples
    --------
    >>> field = torch.zeros(1, 8, 8)
    >>> field[0, 4, 4], field[0, 4, 6] = 1.0, 0.5
    >>> reach(field, 0.5), reach(field, 0.9)
    (tensor([0.], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """
    fields = check_images(fields).double()
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; expected a number between 0 and 1")
    down, across = ((torch.arange(side) - side // 2).abs() for side in fields.shape[1:])
    radius = torch.maximum(down[:, None], across)
    radii = range(max(fields.shape[1:]) // 2 + 1)
    power = torch.stack([(fields.square() * (radius <= r)).sum(dim=(1, 2)) for r in radii], dim=1)
    inside = power >= share * power[:, -1:]
    return inside.double().argmax(dim=1).double()


@torch.no_grad()
def shift_error(denoiser: Denoiser, noisy: torch.Tensor, sigma: float, shift: tuple[int, int]) -> float:
    """How far a denoiser is from commuting with a cyclic shift: 0 if it does.

    Parameters
    ----------
    denoiser : object with .denoise
    noisy : tensor [n, height, width]
    sigma : float > 0
    shift : (int, int)
        Pixels down and to the right.

    Returns
    -------
    float
        Sum of squares of denoise(shifted) - shifted denoise, over that of the estimates about their mean over the
        images: over how much the answers differ from one another at all.

    Raises
    ------
    ValueError
        For a single image, or a denoiser that gives the same answer to all.

    Examples
    --------
    >>> class Keep:
    ...     def denoise(self, noisy, sigma):
    ...         return noisy
    >>> shift_error(Keep(), torch.rand(5, 8, 8), 1.0, (1, 0))
    0.0
    """
    estimate = denoiser.denoise(noisy, sigma).roll(shift, dims=(1, 2)).double()
    spread = (estimate - estimate.mean(dim=0)).square().sum()
    if spread == 0:
        raise ValueError(f"{denoiser!r} gives one answer to all {len(noisy)} images; expected several that differ")
    difference = denoiser.denoise(noisy.roll(shift, dims=(1, 2)), sigma).double() - estimate
    return (difference.square().sum() / spread).item()
