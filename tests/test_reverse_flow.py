"""Where polynomial denoisers run away: against sympy, exact solutions, another integrator, and counting."""

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
import torch
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline
from scipy.stats import norm

import wavescore_lite as ws
from wavescore_lite import closed_form, reverse_flow, reverse_steps


@pytest.fixture(scope="module")
def images():
    """Every coefficient is 0 mostly and else about 1 or -1, rarely enough for heavy tails, and some of them skewed."""
    rng = np.random.default_rng(1)
    rate, upper = np.linspace(0.01, 0.3, 64), np.tile([0.5, 0.6, 0.7, 0.5], 16)
    sides = np.where(rng.random((3000, 64)) < upper, 1, -1) + 0.1 * rng.standard_normal((3000, 64))
    y = (rng.random((3000, 64)) < rate) * sides
    return ws.WaveletBasis(8).synthesize(torch.from_numpy(y))


@pytest.fixture(scope="module")
def cubic(images):
    return ws.WaveletScore(ws.WaveletBasis(8), ws.independent(3), ridge=0.0, value_range=None, bounded=False).fit(
        images
    )


class Fixed:
    """What the flow asks of a model, for coefficients with polynomials that are the same at every noise level."""

    polynomials, target = "monomial", "denoise"

    def __init__(self, parameters, variance=0.25):
        self.parameters = torch.tensor(parameters, dtype=torch.float64)
        self.basis = SimpleNamespace(dim=len(self.parameters))
        self.groups = [SimpleNamespace(neighbours=np.arange(len(self.parameters))[:, None])]
        self.groups[0].targets = self.groups[0].neighbours[:, 0]
        self.variance = torch.full((len(self.parameters),), variance, dtype=torch.float64)

    def coefficients(self, sigma):
        return [self.parameters]

    def _everything(self):
        return SimpleNamespace(gaussian=lambda sigma: (0 * self.variance, self.variance + sigma**2))


@pytest.mark.parametrize("degree", [2, 3])
def test_leading_parameter_follows_the_next_cumulant_at_large_noise(degree):
    kappa, u, sigma = sp.symbols("kappa_1:7"), sp.Symbol("u"), closed_form.derivation.SIGMA
    generating = sp.exp(sum(k * u**r / sp.factorial(r) for r, k in enumerate(kappa, start=1)))
    moments = [sp.expand(generating.diff(u, r).subs(u, 0)) for r in range(1, 2 * degree + 1)]
    names = sp.symbols(f"m_1:{2 * degree + 1}")
    mu = sp.symbols(f"mu_1:{2 * degree + 1}")
    noisy = dict(zip(mu, closed_form.noisy_moments(2 * degree)[1:], strict=True))
    leading = closed_form.solution(degree, "denoise")[degree].subs(noisy)
    top, bottom = (
        sp.Poly(sp.expand(part.subs(dict(zip(names, moments, strict=True)))), sigma)
        for part in leading.as_numer_denom()
    )
    assert bottom.degree() - top.degree() == 2 * degree
    assert sp.simplify(top.LC() / bottom.LC() - kappa[degree] / sp.factorial(degree)) == 0


def test_leading_parameter_of_higher_degrees_follows_it_too(images):
    basis = ws.WaveletBasis(8)
    y = basis.analyze(images).numpy()
    moments = [np.ones(64), *((y - y.mean(axis=0)) ** r for r in range(1, 7))]
    mean = [np.broadcast_to(m, y.shape).mean(axis=0) for m in moments]
    cumulants = {
        5: mean[5] - 10 * mean[3] * mean[2],
        6: mean[6] - 15 * mean[4] * mean[2] - 10 * mean[3] ** 2 + 30 * mean[2] ** 3,
    }
    for degree in (4, 5):
        model = ws.WaveletScore(basis, ws.independent(degree), ridge=0.0, value_range=None).fit(images)
        sigma = 60.0
        found = reverse_flow.denoiser_polynomials(model, [sigma])[0, :, -1] * sigma ** (2 * degree)
        expected = cumulants[degree + 1] / math.factorial(degree)
        assert_allclose(found, expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("target", ["denoise", "score"])
def test_polynomials_are_what_denoise_evaluates(images, target):
    model = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(4), target=target, value_range=None, bounded=False).fit(
        images
    )
    noisy = images[:20] + 0.7 * torch.randn(20, 8, 8, dtype=torch.float64)
    y = model.basis.analyze(noisy).numpy()
    parameters = reverse_flow.denoiser_polynomials(model, [0.7])[0].numpy()
    values = np.stack([np.polyval(parameters[i, ::-1], y[:, i]) for i in range(64)], axis=1)
    assert_allclose(values, model.basis.analyze(model.denoise(noisy, 0.7)), atol=1e-9)


def test_the_score_of_what_runs_away_has_no_density():
    y = sp.Symbol("y")
    for degree in (2, 3, 4, 5):
        for sign in (1, -1):
            parameters = torch.zeros(degree + 1, dtype=torch.float64)
            parameters[1], parameters[-1] = 0.5, 0.1 * sign
            log_density = sp.integrate(
                sum(sp.Rational(str(a)) * y**k for k, a in enumerate(parameters.tolist())) - y, y
            )
            grows = [sp.limit(log_density, y, end) == sp.oo for end in (-sp.oo, sp.oo)]
            assert reverse_flow.runs_away(parameters).tolist() == grows
    assert not reverse_flow.runs_away(torch.tensor([0.0, 2.0])).any()


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_safe_starts_of_pure_powers_are_exact(degree):
    parameters = np.zeros((3, degree + 1))
    parameters[:, 1], parameters[:, -1] = 1.0, (0.3, -0.3, 0.02)  # dy / du = a y^degree
    levels = torch.logspace(0, -1, 400, dtype=torch.float64)
    u = torch.log(levels / levels[-1])[:, None]
    model = Fixed(parameters)
    lower, upper = reverse_flow.safe_starts(model, levels).unbind(dim=-1)
    expected = (0.3 * (degree - 1) * u) ** (-1 / (degree - 1)), (0.02 * (degree - 1) * u) ** (-1 / (degree - 1))
    assert_allclose(upper[:-20, [0, 2]], torch.cat(expected, dim=1)[:-20], rtol=2e-3)  # the first steps are rough
    assert torch.isinf(upper[:, 1]).all()
    if degree % 2:
        assert_allclose(lower, -upper, rtol=1e-12)
    else:
        assert torch.isinf(lower[:, [0, 2]]).all()
        assert_allclose(lower[:, 1], -upper[:, 0], rtol=1e-12)
    escaped = reverse_flow.escape_probability(model, levels)
    end, sides = upper[0, 0].item() / math.sqrt(0.25 + 1), 2 if degree % 2 else 1
    assert_allclose(escaped[0], sides * norm.sf(end), rtol=1e-9)
    assert_allclose(escaped[1], 0 if degree % 2 else norm.sf(end), rtol=1e-9)


def test_safe_starts_separate_what_another_integrator_loses(cubic):
    levels = torch.logspace(1, -1.5, 300, dtype=torch.float64)
    u = -levels.log().numpy()
    spline = CubicSpline(u, reverse_flow.denoiser_polynomials(cubic, levels).numpy())
    ends, (mean, spread, _) = reverse_flow.safe_starts(cubic, levels)[0], reverse_flow.standard_flow(cubic, levels)

    def survives(i, start):
        def velocity(time, y):
            return np.polyval(spline(time)[i, ::-1], y) - y

        def lost(time, y):
            return abs(y[0]) - 1e4

        lost.terminal = True
        run = solve_ivp(velocity, (u[0], u[-1]), [start], method="DOP853", rtol=1e-9, events=lost)
        assert run.success
        return run.status == 0

    finite = ends.isfinite().all(dim=1).nonzero()[:, 0].tolist()
    assert len(finite) > 20
    for i in finite[::8]:
        for end in ends[i].tolist():
            distance = end - mean[i].item()
            assert survives(i, mean[i].item() + 0.999 * distance)
            assert not survives(i, mean[i].item() + 1.001 * distance)
    for i in (~ends.isfinite()).any(dim=1).nonzero()[:3, 0].tolist():
        ways = [way for way, end in zip((-1, 1), ends[i].tolist(), strict=True) if math.isinf(end)]
        assert all(survives(i, (mean[i] + way * 30 * spread[0, i]).item()) for way in ways)


def test_gaussian_flow_stands_still_and_loses_nothing(images):
    linear = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(1), ridge=0.0, value_range=None).fit(images)
    levels = ws.noise_levels(20, sigma_max=10.0)
    assert reverse_flow.standard_flow(linear, levels[:-1]).velocity.abs().max() < 1e-12
    assert reverse_flow.safe_starts(linear, levels[:-1]).isinf().all()
    assert reverse_flow.escape_probability(linear, levels[:-1]).max() == 0
    assert torch.isinf(reverse_steps.step_radius(reverse_flow.denoiser_polynomials(linear, [1.0]), 0.5)).all()


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_steps_lead_outwards_beyond_their_radius_and_only_there(degree, rng):
    parameters = torch.from_numpy(rng.normal(size=(40, degree + 1)))
    kept = 0.6
    radius = reverse_steps.step_radius(parameters, kept).numpy()

    def outwards(y):  # [40, n]
        estimate = sum(parameters[:, k, None].numpy() * y**k for k in range(degree + 1))
        return np.abs(estimate + kept * (y - estimate)) > np.abs(y)

    beyond = radius[:, None] * np.geomspace(1 + 1e-6, 1e4, 400)
    assert outwards(beyond).all()
    assert outwards(-beyond).all()
    inside = radius[:, None] * (1 - 1e-6)
    assert (~(outwards(inside) & outwards(-inside)))[radius > 0].all()


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("stochasticity", [0.0, 0.5, 1.0])
def test_predicted_losses_are_those_that_are_counted(cubic, solver, stochasticity, rng):
    levels = ws.noise_levels(15, sigma_max=20.0)
    limit, paths = 8.0, 100_000
    predicted = reverse_steps.loss_probability(cubic, levels, stochasticity, solver, bound=limit).numpy()
    chosen = predicted.argsort()[-6:]
    assert predicted[chosen].min() > 5e-4
    mean, spread, _ = reverse_flow.standard_flow(cubic, levels[:1])

    def denoised(y, sigma):
        parameters = cubic.coefficients(sigma)[0][chosen].numpy()
        return sum(parameters[:, k, None] * y**k for k in range(4))

    y = mean[chosen, None].numpy() + spread[0][chosen, None].numpy() * rng.standard_normal((len(chosen), paths))
    with np.errstate(over="ignore", invalid="ignore"):
        for high, low in pairwise(levels.tolist()):
            fresh = stochasticity * low * math.sqrt(1 - low**2 / high**2)
            below = math.sqrt(low**2 - fresh**2)
            direction = (y - denoised(y, high)) / high
            if solver == "heun" and below:
                guess = y + (below - high) * direction
                direction = (direction + (guess - denoised(guess, below)) / below) / 2
            y = y + (below - high) * direction + fresh * rng.standard_normal(y.shape)
        counted = (~(np.abs(y) <= limit)).mean(axis=1)
    error = np.sqrt(predicted[chosen] / paths)
    assert (np.abs(counted - predicted[chosen]) < 4 * error + 0.03 * predicted[chosen]).all()


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_steps_are_those_of_sample(cubic, solver, rng):
    levels = ws.noise_levels(10, sigma_max=20.0)
    start = 20 * torch.from_numpy(rng.uniform(-1.5, 1.5, (5, 8, 8)))  # none of them is lost
    _, states = ws.sample(cubic, start.shape, levels, 0.0, start=start, path=True, solver=solver)
    for (high, low), before, after in zip(pairwise(levels.tolist()), states, states[1:], strict=False):
        step = reverse_steps._step(cubic, high, low, 0.0, solver)
        assert step.noise == 0
        assert_allclose(step.move(cubic.basis.analyze(before).T), cubic.basis.analyze(after).T, atol=1e-10)


def test_whole_images_are_lost_as_often_as_predicted(cubic):
    levels, n = ws.noise_levels(12, sigma_max=20.0), 200
    predicted = 1 - (1 - reverse_steps.loss_probability(cubic, levels, bound=1e3)).prod().item()
    lost = 0
    for k in range(n):
        try:
            drawn = ws.sample(cubic, (1, 8, 8), levels, seed=k)
            lost += (cubic.basis.analyze(drawn).abs() > 1e3).any().item()
        except ValueError:
            lost += 1
    assert 0.2 < predicted < 0.8
    assert abs(lost / n - predicted) < 4 * math.sqrt(predicted * (1 - predicted) / n)


def test_refusals_name_what_was_given(images):
    tied = ws.WaveletScore(ws.WaveletBasis(8), ws.band_tied(2), value_range=None).fit(images)
    with pytest.raises(ValueError, match=r"band_tied.*expected each coefficient from its own monomials"):
        reverse_flow.denoiser_polynomials(tied, [1.0])
    own = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(2), polynomials="hermite", value_range=None).fit(images)
    with pytest.raises(ValueError, match="polynomials='hermite'"):
        reverse_flow.safe_starts(own, [1.0])
    good = ws.WaveletScore(ws.WaveletBasis(8), ws.independent(2), value_range=None).fit(images)
    with pytest.raises(ValueError, match=r"sigmas end at 0\.5"):
        reverse_steps.loss_probability(good, [1.0, 0.5])
    with pytest.raises(ValueError, match="solver is 'rk4'"):
        reverse_steps.loss_probability(good, [1.0, 0.0], solver="rk4")
