"""Reverse diffusion from any denoiser, in the variance-exploding picture x_sigma = x_0 + sigma z."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from .denoisers.protocol import Denoiser, sigma_range
from .support.checks import check_integer

SIGMA_MAX, SIGMA_MIN = 80.0, 0.02  # of Karras et al.


def noise_levels(
    steps: int = 50, sigma_max: float = SIGMA_MAX, sigma_min: float = SIGMA_MIN, rho: float = 7.0
) -> torch.Tensor:
    """Noise levels evenly spaced in sigma^(1/rho), then 0 (Karras et al., 2022, eq. 5).

    Parameters
    ----------
    steps : int
        Number of positive levels, and so of denoiser calls; a single level is `sigma_max`.
    sigma_max, sigma_min : float
        First and last positive level.
    rho : float
        1 spaces the levels evenly, a larger value spends more of them near the data.

    Returns
    -------
    torch.Tensor
        float64 [steps + 1], strictly decreasing to 0.

    Raises
    ------
    ValueError
        Unless ``steps >= 1``, ``0 < sigma_min < sigma_max < inf`` and ``0 < rho < inf``.

    Examples
    --------
    >>> noise_levels(3, sigma_max=4.0, sigma_min=1.0, rho=2.0).tolist()
    [4.0, 2.25, 1.0, 0.0]
    """
    steps = check_integer("steps", steps, 1)
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"expected 0 < sigma_min < sigma_max < inf, got {sigma_min!r} and {sigma_max!r}")
    if not 0 < rho < math.inf:
        raise ValueError(f"rho must be positive and finite, got {rho!r}")
    levels = torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), steps, dtype=torch.float64) ** rho
    return torch.cat([levels, levels.new_zeros(1)])


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    shape: Sequence[int],
    sigmas: Sequence[float] | torch.Tensor | None = None,
    stochasticity: float = 1.0,
    seed: int = 0,
    start: torch.Tensor | None = None,
    path: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Draw samples by lowering the noise level of pure noise step by step.

    A step from level s to level s' < s is ``x' = D + sqrt(s'^2 - tau^2) (x - D) / s + tau z`` with
    ``D = denoise(x, s)``, ``tau = stochasticity s' sqrt(1 - s'^2 / s^2)`` and z standard normal
    (Song, Meng and Ermon, 2020, eq. 12 and 16, in variance-exploding coordinates).

    Parameters
    ----------
    denoiser : object with ``denoise(noisy, sigma)``
        Estimates E[x_0 | x_sigma = noisy], in the shape of `noisy`.
    shape : sequence of int
        Shape of the result, for images [n, height, width].
    sigmas : sequence of float, optional
        Noise levels, strictly decreasing to 0; by default ``noise_levels()``, within the denoiser's `sigma_range`.
    stochasticity : float
        From 0, the probability-flow ODE (DDIM), to 1, the reverse SDE (ancestral sampling).
    seed : int
        Of all random numbers; they are drawn on the CPU, whatever the device.
    start : torch.Tensor, optional
        States at ``sigmas[0]``; their dtype and device are kept. By default float32 ``sigmas[0] * z``.
    path : bool
        Return also the states at all levels.

    Returns
    -------
    torch.Tensor or (torch.Tensor, torch.Tensor)
        Samples of shape `shape`; with `path` also the states, ``[len(sigmas), *shape]``, the samples last.

    Raises
    ------
    ValueError
        For a bad shape, noise levels, stochasticity or start, or a denoiser that changes the shape.

    Examples
    --------
    >>> class Point:
    ...     def denoise(self, noisy, sigma):
    ...         return torch.full_like(noisy, 3.0)
    >>> sample(Point(), shape=(2,)).tolist()
    [3.0, 3.0]
    """
    shape, levels = _checked_shape(shape), _checked_levels(_usual(denoiser) if sigmas is None else sigmas)
    if not 0 <= stochasticity <= 1:
        raise ValueError(f"stochasticity must lie in [0, 1], got {stochasticity!r}")
    generator = torch.Generator().manual_seed(seed)
    state = levels[0] * torch.randn(shape, generator=generator) if start is None else start
    if not isinstance(state, torch.Tensor) or not state.is_floating_point() or state.shape != shape:
        given = f"{state.dtype} {tuple(state.shape)}" if isinstance(state, torch.Tensor) else type(state).__name__
        raise ValueError(f"start must be a floating-point tensor of shape {tuple(shape)}, got {given}")
    states = [state]
    for level, following in pairwise(levels):
        clean = denoiser.denoise(state, level).to(state)
        if clean.shape != shape:
            raise ValueError(f"denoise returned shape {tuple(clean.shape)}, expected {tuple(shape)}")
        renewed = stochasticity**2 * (1 - (following / level) ** 2)
        state = clean + following * math.sqrt(1 - renewed) / level * (state - clean)
        if renewed * following > 0:
            noise = torch.randn(shape, generator=generator, dtype=state.dtype).to(state.device)
            state = state + following * math.sqrt(renewed) * noise
        if path:
            states.append(state)
    return (state, torch.stack(states)) if path else state


def _usual(denoiser: Denoiser) -> torch.Tensor:
    """The usual noise levels, as far as the denoiser answers for them."""
    low, high = sigma_range(denoiser)
    return noise_levels(sigma_max=min(SIGMA_MAX, high), sigma_min=max(SIGMA_MIN, low))


def _checked_shape(shape: Sequence[int]) -> torch.Size:
    try:
        sizes = [check_integer("shape", size, 1) for size in shape]
    except (TypeError, ValueError):
        sizes = []
    if not sizes:
        raise ValueError(f"shape is {shape!r}; expected a sequence of integers >= 1")
    return torch.Size(sizes)


def _checked_levels(sigmas: Sequence[float] | torch.Tensor) -> list[float]:
    levels = torch.as_tensor(sigmas, dtype=torch.float64)
    if levels.ndim != 1 or len(levels) < 2:
        raise ValueError(f"sigmas must be a sequence of at least 2 levels, got shape {tuple(levels.shape)}")
    if not levels.isfinite().all() or not (levels.diff() < 0).all() or levels[-1] != 0:
        raise ValueError(f"sigmas must be finite and strictly decreasing to 0, got {levels.tolist()}")
    return levels.tolist()
