"""Where the reverse flow of a polynomial denoiser runs to infinity: one coefficient at a time, all of them at once.

With u = log(1 / sigma) the probability flow of one coefficient is dy / du = D(y) - y, and D is a polynomial of degree n
in y whose parameters depend on sigma. Let a be its leading one, n >= 2.

- If n is odd and a > 0, starts far enough out on either side reach infinity while sigma is still positive; if n is
  even, those on the side of a's sign: beyond some size the velocity exceeds ``(|a| / 2) |y|^n``, and at that speed all
  that is left of the way takes the time ``2 / (|a| (n - 1) |y|^(n - 1))``. The "score" (D - y) / sigma^2 then
  integrates to a log-density that grows without bound: it is the score of no density.
- If n is odd and a < 0, far starts are drawn inwards and the flow exists to the end; see `reverse_steps` for what
  explicit steps do all the same.
- With much noise a sigma^(2 n) tends to kappa / n!, with kappa the cumulant of order n + 1 of the clean coefficient:
  for a cubic, a is about kappa_4 / (6 sigma^6). Heavy tails give the sign that runs away.

Trajectories in one dimension do not cross, so the starts that survive form an interval. Its ends are trajectories that
come from infinity when time is reversed, and that is how they are computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from .scores import WaveletScore
from .support.checks import check_sigma

Levels = Sequence[float] | torch.Tensor


def denoiser_polynomials(model: WaveletScore, sigmas: Levels) -> torch.Tensor:
    """What an independent fit does to each coefficient at each noise level: sum_k a_k y^k, before any bound.

    Parameters
    ----------
    model : WaveletScore
        Fitted, each coefficient from its own monomials.
    sigmas : sequence of S floats > 0

    Returns
    -------
    tensor [S, d, degree + 1], float64
        a_0 to a_degree for each coefficient, for a coefficient in pixel units.

    Raises
    ------
    ValueError
        If coefficients listen to others, or through Hermite polynomials.

    Examples
    --------
    >>> import wavescore_lite as ws
    >>> images = ws.load_images("strokes", size=8, limit=200)
    >>> model = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(3)).fit(images)
    >>> denoiser_polynomials(model, [2.0, 1.0]).shape
    torch.Size([2, 64, 4])
    """
    _check_independent(model)
    out = torch.stack([_ordered(model, model.coefficients(level)) for level in _positive(sigmas)])
    if model.target == "score":
        out *= torch.tensor(_positive(sigmas), dtype=torch.float64)[:, None, None] ** 2
        out[..., 1] += 1
    return out


def runs_away(polynomials: torch.Tensor) -> torch.Tensor:
    """Whether starts far out run to minus and to plus infinity: the sign of the leading parameter.

    Parameters
    ----------
    polynomials : tensor [..., degree + 1]
        Of a denoiser, of degree at least 2.

    Returns
    -------
    tensor [..., 2], bool

    Examples
    --------
    >>> runs_away(torch.tensor([[0.0, 0.5, 0.0, 0.1], [0.0, 0.5, 0.0, -0.1]])).tolist()
    [[True, True], [False, False]]
    >>> runs_away(torch.tensor([0.0, 0.5, 0.1])).tolist()
    [False, True]
    """
    degree = polynomials.shape[-1] - 1
    leading = polynomials[..., -1]
    below = leading if degree % 2 else -leading
    return torch.stack([below > 0, leading > 0], dim=-1) & (degree > 1)


def safe_starts(model: WaveletScore, sigmas: Levels) -> torch.Tensor:
    """Interval of the values, at each noise level, from which the probability flow reaches the last one.

    Parameters
    ----------
    model : WaveletScore
        See `denoiser_polynomials`.
    sigmas : sequence of S floats > 0
        Noise levels, decreasing; from each to the next it takes one step of the classical Runge-Kutta method, so let
        them lie closely.

    Returns
    -------
    tensor [S, d, 2], float64
        Lower and upper end for each coefficient; infinite where no start is lost on that side.

    Notes
    -----
    The ends solve the flow backwards from infinity. In units of the noisy law, t = (y - m) / s with s^2 = v + sigma^2,
    the flow is dt / du = P(t) = (D - m) / s - v t / s^2, which vanishes on Gaussian data. In the coordinate
    ``psi = sign(t) (1 - (1 + |t|)^(1 - n))``, which takes the line to (-1, 1), its velocity
    ``(n - 1) P(t) / (1 + |t|)^n`` is bounded and continuous up to psi = 1, where it is n - 1 times P's leading one.
    Infinity is no special place then: a trajectory comes in from it when that parameter is positive, and else rests.

    Examples
    --------
    >>> import wavescore_lite as ws
    >>> images = ws.load_images("strokes", size=8, limit=200)
    >>> model = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(3)).fit(images)
    >>> levels = ws.noise_levels(100, sigma_max=10.0)[:-1]
    >>> lower, upper = safe_starts(model, levels).unbind(dim=-1)
    >>> lower.shape, bool((lower < upper).all())
    (torch.Size([100, 64]), True)
    """
    levels = _positive(sigmas)
    mean, spread, here = standard_flow(model, levels)
    middles = [math.sqrt(high * low) for high, low in pairwise(levels)]
    between = standard_flow(model, middles).velocity if middles else here
    ends = torch.tensor([-1.0, 1.0], dtype=torch.float64).expand(model.basis.dim, 2)
    found = [ends]
    for k in reversed(range(len(middles))):
        step = math.log(levels[k] / levels[k + 1])
        first = _backward(here[k + 1], ends)
        second = _backward(between[k], ends + step / 2 * first)
        third = _backward(between[k], ends + step / 2 * second)
        fourth = _backward(here[k], ends + step * third)
        ends = (ends + step / 6 * (first + 2 * second + 2 * third + fourth)).clamp(-1, 1)
        found.append(ends)
    compact = torch.stack(found[::-1])
    power = max(here.shape[-1] - 2, 1)
    standard = compact.sign() * ((1 - compact.abs()) ** (-1 / power) - 1)
    return mean[:, None] + spread[..., None] * standard


def escape_probability(model: WaveletScore, sigmas: Levels) -> torch.Tensor:
    """Probability that the exact flow of a coefficient runs to infinity before the last noise level.

    It starts from the Gaussian with the mean and variance of the noisy coefficient at the first level.

    Parameters
    ----------
    model, sigmas
        See `safe_starts`.

    Returns
    -------
    tensor [d], float64
        An image of coefficients that are independent survives with probability prod (1 - p).
    """
    mean, spread, _ = standard_flow(model, sigmas)
    ends = (safe_starts(model, sigmas)[0] - mean[:, None]) / spread[0, :, None]
    return torch.special.ndtr(ends[:, 0]) + torch.special.ndtr(-ends[:, 1])


class StandardFlow(NamedTuple):
    """The reverse flow in units t = (y - mean) / spread of the noisy law, dt / du = sum_k velocity_k t^k.

    Attributes
    ----------
    mean : tensor [d]
    spread : tensor [S, d]
        Standard deviation of each noisy coefficient at each noise level.
    velocity : tensor [S, d, degree + 1]
        Zero where the denoiser is linear: Gaussian data stand still in these units.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    velocity: torch.Tensor


def standard_flow(model: WaveletScore, sigmas: Levels) -> StandardFlow:
    """The reverse flow of each coefficient in units of its noisy law; arguments as of `denoiser_polynomials`."""
    parameters, levels = denoiser_polynomials(model, sigmas), _positive(sigmas)
    mean, noisy = model._everything().gaussian(min(levels))
    variance = (noisy - min(levels) ** 2).clamp_min(0)
    spread = (variance + torch.tensor(levels, dtype=torch.float64)[:, None] ** 2).sqrt()
    velocity = torch.zeros_like(parameters)
    for k in range(parameters.shape[-1]):  # D(m + s t) / s, by the binomial theorem
        for j in range(k + 1):
            velocity[..., j] += math.comb(k, j) * parameters[..., k] * mean ** (k - j) * spread ** (j - 1)
    velocity[..., 0] -= mean / spread
    velocity[..., 1] -= variance / spread**2
    return StandardFlow(mean, spread, velocity)


def _backward(velocity: torch.Tensor, compact: torch.Tensor) -> torch.Tensor:
    """Velocity of psi [d, 2] when time is reversed, for P's parameters [d, degree + 1]."""
    degree = velocity.shape[-1] - 1
    near = (1 - compact.abs()).clamp_min(0) ** (1 / max(degree - 1, 1))  # 1 / (1 + |t|)
    far = compact.sign() * (1 - near)
    terms = [velocity[:, k, None] * far**k * near ** (degree - k) for k in range(degree + 1)]
    return (1 - degree) * torch.stack(terms).sum(dim=0)


def _ordered(model: WaveletScore, parts: list[torch.Tensor]) -> torch.Tensor:
    """Parts [m, k] for the targets of each group as one table [d, k] in the order of the coefficients."""
    out = torch.empty(model.basis.dim, parts[0].shape[-1], dtype=torch.float64)
    for group, part in zip(model.groups, parts, strict=True):
        out[torch.from_numpy(group.targets)] = part
    return out


def _positive(sigmas: Levels) -> list[float]:
    return [check_sigma(level) for level in torch.as_tensor(sigmas, dtype=torch.float64).tolist()]


def _check_independent(model: WaveletScore) -> None:
    alone = all(group.neighbours.shape[1] == 1 for group in model.groups)
    if not alone or model.polynomials != "monomial":
        given = f"{model.coupling!r} with polynomials={model.polynomials!r}"
        raise ValueError(f"model has {given}; expected each coefficient from its own monomials, as in independent(3)")
