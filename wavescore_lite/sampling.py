"""Reverse diffusion from any denoiser, in the variance-exploding picture x_sigma = x_0 + sigma z."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch

from .denoisers.protocol import Denoiser, answers, sigma_range, starts
from .noise import SAMPLING, standard_normal
from .support.checks import check_choice, check_integer
from .support.progress import progress

SIGMA_MAX, SIGMA_MIN = 80.0, 0.02  # of Karras et al.
SOLVERS = ("heun", "euler")


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
    levels[-1], levels[0] = sigma_min, sigma_max  # to the last digit
    return torch.cat([levels, levels.new_zeros(1)])


def levels_for(
    denoiser: Denoiser, steps: int = 50, sigma_max: float = SIGMA_MAX, sigma_min: float = SIGMA_MIN
) -> torch.Tensor:
    """The usual `noise_levels`, as far as a denoiser answers for them: within its range, or its only ones.

    Examples
    --------
    >>> class Narrow:
    ...     sigma_range = (0.5, 8.0)
    >>> levels_for(Narrow(), steps=3)
    tensor([8.0000, 2.2922, 0.5000, 0.0000], dtype=torch.float64)
    """
    only = getattr(denoiser, "fitted_sigmas", None)
    if only is not None:
        return torch.tensor([*reversed(only), 0.0], dtype=torch.float64)
    low, high = sigma_range(denoiser)
    return noise_levels(steps, min(sigma_max, high), max(sigma_min, low))


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    shape: Sequence[int],
    sigmas: Sequence[float] | torch.Tensor | None = None,
    stochasticity: float = 1.0,
    seed: int = 0,
    start: torch.Tensor | None = None,
    path: bool = False,
    *,
    solver: str = "heun",
    batch: int = 2048,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Draw samples by lowering the noise level of pure noise step by step.

    A step from level s to level s' follows the probability flow dx / ds = (x - denoise(x, s)) / s down to
    sqrt(s'^2 - tau^2), and then adds noise tau z with ``tau = stochasticity s' sqrt(1 - s'^2 / s^2)`` and z standard
    normal (Song, Meng and Ermon, 2020, eq. 12 and 16, in variance-exploding coordinates).

    Parameters
    ----------
    denoiser : object with ``denoise(noisy, sigma)``
        Estimates E[x_0 | x_sigma = noisy], in the shape of `noisy`.
    shape : sequence of int
        Shape of the result, for images [n, height, width].
    sigmas : sequence of float, optional
        Noise levels, strictly decreasing to 0; by default those of `levels_for`.
    stochasticity : float
        From 0, the probability-flow ODE (DDIM), to 1, the reverse SDE (ancestral sampling).
    seed : int
        Of all random numbers. Those of an image depend on its index alone: neither on how many there are, nor on
        `batch`. They are drawn on the CPU, whatever the device.
    start : torch.Tensor, optional
        States at ``sigmas[0]``; their dtype and device are kept. By default float32, and Gaussian with the moments of
        noisy data where the denoiser knows them, see `WithScore.starts`; else ``sigmas[0] * z``.
    path : bool
        Return also the states at all levels.
    solver : {"heun", "euler"}
        Heun's method, of second order, calls the denoiser twice a step (Karras et al., 2022, algorithm 1); the second
        call is left out in the step to 0, and at levels that the denoiser does not answer for. Euler's calls it once.
    batch : int
        Images made at a time; it changes them by rounding alone.

    Returns
    -------
    torch.Tensor or (torch.Tensor, torch.Tensor)
        Samples of shape `shape`; with `path` also the states, ``[len(sigmas), *shape]``, the samples last.

    Raises
    ------
    ValueError
        For a bad shape, noise levels, stochasticity, solver or start, or a denoiser that changes the shape. A bare
        polynomial score (``bounded=False``) may run away, and then refuses its own states.

    Examples
    --------
    >>> class Point:
    ...     def denoise(self, noisy, sigma):
    ...         return torch.full_like(noisy, 3.0)
    >>> sample(Point(), shape=(2,)).tolist()
    [3.0, 3.0]
    """
    shape, levels = _checked_shape(shape), checked_levels(levels_for(denoiser) if sigmas is None else sigmas)
    seed, batch = check_integer("seed", seed, 0), check_integer("batch", batch, 1)
    step = _heun_step if check_choice("solver", solver, SOLVERS) == "heun" else _euler_step
    if not 0 <= stochasticity <= 1:
        raise ValueError(f"stochasticity must lie in [0, 1], got {stochasticity!r}")
    if start is not None and not (
        isinstance(start, torch.Tensor) and start.is_floating_point() and start.shape == shape
    ):
        given = f"{start.dtype} {tuple(start.shape)}" if isinstance(start, torch.Tensor) else type(start).__name__
        raise ValueError(f"start must be a floating-point tensor of shape {tuple(shape)}, got {given}")
    parts = range(0, shape[0], batch)
    paths = []
    with progress(total=len(parts) * (len(levels) - 1), desc="sampling", leave=False, delay=2) as bar:
        for first in parts:
            count = min(batch, shape[0] - first)
            draw = partial(standard_normal, first, count, tuple(shape[1:]), seed, SAMPLING)
            state = starts(denoiser, draw(draw=0), levels[0]) if start is None else start[first : first + count]
            states = [state]
            for number, (level, following) in enumerate(pairwise(levels), start=1):
                fresh = stochasticity * following * math.sqrt(1 - (following / level) ** 2)
                state = step(denoiser, state, level, math.sqrt(following**2 - fresh**2))
                if fresh > 0:
                    state = state + fresh * draw(draw=number).to(state)
                states = [*states, state] if path else [state]
                bar.update()
            paths.append(torch.stack(states))
    whole = torch.cat(paths, dim=1)
    return (whole[-1], whole) if path else whole[-1]


def _euler_step(denoiser: Denoiser, state: torch.Tensor, level: float, following: float) -> torch.Tensor:
    """x + (s' - s) (x - D) / s, from one call at s."""
    clean = _estimate(denoiser, state, level)
    return clean + following / level * (state - clean)


def _heun_step(denoiser: Denoiser, state: torch.Tensor, level: float, following: float) -> torch.Tensor:
    """The trapezoidal rule with Euler's step in place of the unknown end."""
    clean = _estimate(denoiser, state, level)
    guess = clean + following / level * (state - clean)
    if following == 0 or not answers(denoiser, following):
        return guess
    slope = (state - clean) / level + (guess - _estimate(denoiser, guess, following)) / following
    return state + (following - level) / 2 * slope


def _estimate(denoiser: Denoiser, state: torch.Tensor, level: float) -> torch.Tensor:
    clean = denoiser.denoise(state, level)
    if clean.shape != state.shape:
        raise ValueError(f"denoise returned shape {tuple(clean.shape)}, expected {tuple(state.shape)}")
    return clean.to(state)


def _checked_shape(shape: Sequence[int]) -> torch.Size:
    try:
        sizes = [check_integer("shape", size, 1) for size in shape]
    except (TypeError, ValueError):
        sizes = []
    if not sizes:
        raise ValueError(f"shape is {shape!r}; expected a sequence of integers >= 1")
    return torch.Size(sizes)


def checked_levels(sigmas: Sequence[float] | torch.Tensor) -> list[float]:
    """Noise levels as floats; refuse what is not finite and strictly decreasing to 0."""
    levels = torch.as_tensor(sigmas, dtype=torch.float64)
    if levels.ndim != 1 or len(levels) < 2:
        raise ValueError(f"sigmas must be a sequence of at least 2 levels, got shape {tuple(levels.shape)}")
    if not levels.isfinite().all() or not (levels.diff() < 0).all() or levels[-1] != 0:
        raise ValueError(f"sigmas must be finite and strictly decreasing to 0, got {levels.tolist()}")
    return levels.tolist()
