"""What explicit steps do with a polynomial denoiser: beyond which size they leap outwards, and how many samples go so.

A step of `sample` without noise goes from y to D(y) + kept (y - D(y)). For a polynomial D of degree n >= 2 with leading
parameter a it multiplies a far y by about (1 - kept) a y^(n - 1), whatever the sign of a: beyond a radius it leads
further out than it came from, and the next step further still, like an exponential of an exponential. So steps are lost
where the exact flow is (see `reverse_flow`), and with a < 0, where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from .reverse_flow import Levels, denoiser_polynomials, standard_flow
from .sampling import SOLVERS
from .scores import WaveletScore
from .support.checks import check_choice

FAR, STARTS = 8.0, 801  # starts that are followed: how far out in standard deviations, and how many
WIDTH, POINTS, NODES = 1e3, 400, 12  # of the grid for noisy steps, in standard deviations; of the quadrature
CERTAIN = 40.0  # logit of a probability that is not told from 1


def step_radius(polynomials: torch.Tensor, kept: float) -> torch.Tensor:
    """Size beyond which an explicit step leads further out, of y' = D(y) + kept (y - D(y)) in place of y.

    Parameters
    ----------
    polynomials : tensor [..., degree + 1]
        Of a denoiser.
    kept : float in [0, 1)
        Share of the noise that the step keeps; for the flow from sigma to sigma' it is sigma' / sigma.

    Returns
    -------
    tensor [...], float64
        The largest size of y at which y' = y or y' = -y; infinite for a polynomial of degree 1.

    Examples
    --------
    For D = -y^3 a step that keeps a half goes from y to (y - y^3) / 2, which is -y at y^2 = 3:

    >>> step_radius(torch.tensor([0.0, 0.0, 0.0, -1.0]), kept=0.5) ** 2
    tensor(3.0000, dtype=torch.float64)
    """
    step = (1 - kept) * polynomials.double()
    step[..., 1] += kept
    degree = step.shape[-1] - 1
    radius = torch.zeros(step.shape[:-1], dtype=torch.float64)
    for way in (1.0, -1.0):
        roots = _roots(step - way * torch.eye(degree + 1, dtype=torch.float64)[1])
        real = roots.imag.abs() <= 1e-7 * roots.abs()
        radius = torch.maximum(radius, torch.where(real, roots.abs(), 0).amax(dim=-1))
    return torch.where((step[..., -1] != 0) & (degree > 1), radius, torch.inf)


def loss_probability(
    model: WaveletScore,
    sigmas: Levels,
    stochasticity: float = 1.0,
    solver: str = "heun",
    bound: float | None = None,
) -> torch.Tensor:
    """Probability that the steps of `sample` end at a coefficient beyond a bound, with the bare polynomial.

    Parameters
    ----------
    model : WaveletScore
        See `denoiser_polynomials`.
    sigmas : sequence of float
        Noise levels, decreasing to 0.
    stochasticity, solver
        As of `sample`. The start is as in `escape_probability`.
    bound : float, optional
        By default the square root of the number of pixels: an image in [0, 1] has no coefficient beyond that.

    Returns
    -------
    tensor [d], float64
        Of images whose coefficients are independent, the share 1 - prod (1 - p) is lost.

    Raises
    ------
    ValueError
        For a model that `denoiser_polynomials` refuses, another solver, or noise levels that do not end at 0.

    Notes
    -----
    Without noise, starts on a grid of quantiles are followed. With noise, the probability h(y) to be lost from y is
    carried back from the last level to the first: h(y) = E h'(g(y) + tau z), by Gauss-Hermite quadrature in z, with
    the logit of h linear between the points of a grid that is even in arsinh of y in units of the noisy law.

    Examples
    --------
    >>> import wavescore_lite as ws
    >>> images = ws.load_images("strokes", size=8, limit=200)
    >>> model = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(3), bounded=False).fit(images)
    >>> euler, heun = (loss_probability(model, ws.noise_levels(20), 0.0, name).sum() for name in ("euler", "heun"))
    >>> bool(euler < heun)  # the better solver follows the flow further out
    True
    """
    levels = torch.as_tensor(sigmas, dtype=torch.float64).tolist()
    check_choice("solver", solver, SOLVERS)
    if levels[-1] != 0:
        raise ValueError(f"sigmas end at {levels[-1]:g}; expected noise levels that decrease to 0")
    limit = math.sqrt(model.basis.dim) if bound is None else bound
    steps = [_step(model, high, low, stochasticity, solver) for high, low in pairwise(levels)]
    law = standard_flow(model, levels[:-1])
    mean, spread = law.mean[:, None], law.spread[..., None]
    starts = torch.linspace(-FAR, FAR, STARTS, dtype=torch.float64)
    if stochasticity:
        grid = torch.linspace(-math.asinh(WIDTH), math.asinh(WIDTH), POINTS, dtype=torch.float64)
        values = mean + spread * grid.sinh()
        end = steps[-1].move(values[-1]).abs()
        logit, single = torch.where(end <= limit, -CERTAIN, CERTAIN), grid.float()
        for k in reversed(range(len(steps) - 1)):
            arrived = (steps[k].move(values[k]) - mean) / spread[k + 1]
            logit = _expected(logit, single, arrived.float(), (steps[k].noise / spread[k + 1]).float())
        lost = _between(logit, single, starts.float().expand(len(mean), -1)).double()
    else:
        state = mean + spread[0] * starts
        for step in steps:
            state = step.move(state)
        lost = (~(state.abs() <= limit)).double()  # where infinity minus infinity gave no number, too
    weights = torch.exp(-(starts**2) / 2)
    return lost @ (weights / weights.sum())


class _Step(NamedTuple):
    """One step of the sampler, for all coefficients: where it leads without noise, and how much noise it adds."""

    move: Callable[[torch.Tensor], torch.Tensor]
    noise: float


def _step(model: WaveletScore, high: float, low: float, stochasticity: float, solver: str) -> _Step:
    """The step of `sample` from one noise level to the next."""
    noise = stochasticity * low * math.sqrt(1 - (low / high) ** 2)
    middle = math.sqrt(low**2 - noise**2)
    parameters = denoiser_polynomials(model, [high, middle] if middle and solver == "heun" else [high])[..., None]

    def move(y: torch.Tensor) -> torch.Tensor:
        slope = (y - _value(parameters[0], y)) / high
        there = y + (middle - high) * slope
        if len(parameters) == 1:
            return there
        return y + (middle - high) / 2 * (slope + (there - _value(parameters[1], there)) / middle)

    return _Step(move, noise)


def _value(parameters: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Polynomials [d, degree + 1, 1] at y [d, n]."""
    value = parameters[:, -1]
    for k in reversed(range(parameters.shape[1] - 1)):
        value = value * y + parameters[:, k]
    return value


def _expected(logit: torch.Tensor, grid: torch.Tensor, arrived: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Logit of E h(arrived + noise z), for arrived [d, n] and noise [d, 1] in units of the noisy law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    total = torch.zeros_like(arrived)
    for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
        total += weight * _between(logit, grid, arrived + node * noise)
    return total.clamp(0, 1).logit().clamp(-CERTAIN, CERTAIN)


def _between(logit: torch.Tensor, grid: torch.Tensor, standard: torch.Tensor) -> torch.Tensor:
    """h [d, n] at values in units of the noisy law, from its logit on a grid that is even in arsinh."""
    size = standard.abs()
    curved = (size + (size**2 + 1).sqrt()).log().copysign(standard)
    place = ((curved - grid[0]) / (grid[1] - grid[0])).nan_to_num(0.0).clamp(0, len(grid) - 1)
    left = place.long().clamp_max(len(grid) - 2)
    return torch.lerp(logit.gather(1, left), logit.gather(1, left + 1), place - left).sigmoid()


def _roots(polynomials: torch.Tensor) -> torch.Tensor:
    """Complex roots [..., degree] of polynomials [..., degree + 1] whose leading parameter is not 0."""
    degree = polynomials.shape[-1] - 1
    companion = torch.diag(torch.ones(degree - 1, dtype=torch.float64), -1).repeat(*polynomials.shape[:-1], 1, 1)
    companion[..., -1] = torch.nan_to_num(-polynomials[..., :-1] / polynomials[..., -1:], 0, 0, 0)
    return torch.linalg.eigvals(companion)
