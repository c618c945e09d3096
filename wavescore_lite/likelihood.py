"""How likely images are to any denoiser: the density of what the probability flow carries to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from .denoisers.protocol import Denoiser, starts
from .noise import standard_normal
from .sampling import checked_levels, levels_for
from .support.checks import check_images, check_integer, is_finite
from .support.progress import progress

STEPS = 100  # by default
PROBING = 5  # stream of random numbers, beside those of `noise`
BATCH = 64  # images followed at a time
PRODUCTS = 1024  # of images with directions, computed at a time


def log_likelihood(
    denoiser: Denoiser,
    images: torch.Tensor,
    sigmas: Sequence[float] | torch.Tensor | None = None,
    probes: int | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """Logarithm of the density of images under a denoiser, by the probability flow (Song et al., 2021, eq. 39).

    The flow dx / ds = (x - D(x, s)) / s carries images up to the first noise level, where the density is the Gaussian
    that `sample` starts from. On the way its logarithm falls by the divergence, (d - trace of D's Jacobian) / s.

    Parameters
    ----------
    denoiser : object with ``denoise(noisy, sigma)``
        Made of operations of torch, which `torch.func` differentiates; all of the package are.
    images : tensor [n, height, width], float32 or float64
        Taken as they are for images with noise of the last positive level.
    sigmas : sequence of float, optional
        Noise levels as for `sample`, strictly decreasing to 0; by default those that it takes, 100 of them.
    probes : int, optional
        Estimate traces from so many random signs for each image (Hutchinson), at its cost for each level; they are the
        same at all levels, and unbiased. By default traces are exact, by d products with the Jacobian.
    seed : int
        Of the signs, which depend on an image's index alone.

    Returns
    -------
    tensor [n], float64
        In nats for an image of d pixels; divided by -d log 2 it is in bits for a pixel.

    Raises
    ------
    TypeError, ValueError
        For other images or noise levels, or if the flow leaves what numbers can hold.

    Notes
    -----
    It is the density of what ``sample(denoiser, ..., stochasticity=0)`` draws with many steps, at the last positive
    level. Heun's method has an error of second order in the steps: compare with ``noise_levels(200)``.

    Examples
    --------
    >>> from wavescore_lite import Wiener
    >>> images = torch.rand(300, 8, 8, dtype=torch.float64)
    >>> wiener = Wiener().fit(images)
    >>> log_likelihood(wiener, torch.stack([wiener.mean, images[0], 2 + images[0]])).diff() < 0
    tensor([True, True])
    """
    images = check_images(images).double()
    levels = checked_levels(levels_for(denoiser, STEPS) if sigmas is None else sigmas)[-2::-1]
    count, seed = probes if probes is None else check_integer("probes", probes, 1), check_integer("seed", seed, 0)
    shape, firsts = images.shape[1:], range(0, len(images), BATCH)
    out = []
    with progress(total=len(firsts) * (len(levels) - 1), desc="likelihood", leave=False, delay=2) as bar:
        for first in firsts:
            states = images[first : first + BATCH]
            if count is None:
                directions = torch.eye(states[0].numel()).to(states).unflatten(1, shape)[:, None]
            else:
                drawn = (standard_normal(first, len(states), shape, seed, PROBING, draw=k) for k in range(count))
                directions = torch.stack(list(drawn)).sign().to(states)
            gained = torch.zeros_like(states[:, 0, 0])
            for level, following in pairwise(levels):
                slope, free = _flow(denoiser, states, level, directions, exact=count is None)
                guess = states + (following - level) * slope
                last_slope, last_free = _flow(denoiser, guess, following, directions, exact=count is None)
                states = states + (following - level) / 2 * (slope + last_slope)
                gained = gained + math.log(following / level) / 2 * (free + last_free)  # where data do not vary: exact
                bar.update()
            out.append(gained + _start_density(denoiser, states, levels[-1]))
    found = torch.cat(out)
    if not is_finite(found):
        raise ValueError(
            f"the flow leaves float64 for images up to {images.abs().max():g}; expected some nearer to data"
        )
    return found


def _flow(
    denoiser: Denoiser, states: torch.Tensor, sigma: float, directions: torch.Tensor, exact: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """dx / ds at states [n, ...], and s times its divergence [n]: along all directions [k, n or 1, ...], or probes."""

    def estimate(x: torch.Tensor) -> torch.Tensor:
        return denoiser.denoise(x, sigma)

    def product(direction: torch.Tensor) -> torch.Tensor:
        way = direction.expand_as(states)
        return (way * pull(way)[0]).flatten(1).sum(dim=1)

    with torch.enable_grad():
        clean, pull = torch.func.vjp(estimate, states)[:2]
        products = torch.func.vmap(product, chunk_size=max(1, PRODUCTS // len(states)))(directions).detach()
    trace = products.sum(dim=0) if exact else products.mean(dim=0)
    return (states - clean.detach()) / sigma, states[0].numel() - trace


def _start_density(denoiser: Denoiser, states: torch.Tensor, sigma: float) -> torch.Tensor:
    """Logarithm of the density [n] of what `sample` starts from: an affine image of normal numbers."""
    dim, shape = states[0].numel(), states.shape[1:]
    axes = torch.cat([states.new_zeros(1, dim), torch.eye(dim).to(states)]).unflatten(1, shape)
    ends = starts(denoiser, axes, sigma)
    mean, matrix = ends[0], (ends[1:] - ends[0]).flatten(1).T
    normal = torch.linalg.solve(matrix, (states - mean).flatten(1).T)
    return -normal.square().sum(dim=0) / 2 - matrix.slogdet().logabsdet - dim / 2 * math.log(2 * math.pi)
