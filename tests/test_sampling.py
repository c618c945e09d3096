"""Reverse diffusion against the closed forms that Gaussian data allow."""

import math
from itertools import pairwise

import pytest
import torch
from numpy.testing import assert_allclose

from wavescore_lite.noise import SAMPLING, standard_normal
from wavescore_lite.sampling import noise_levels, sample

MEAN, STD = 1.5, 0.7
FAST = noise_levels(steps=10, sigma_max=5.0, sigma_min=0.05)


class GaussianOracle:
    """Exact denoiser of independent N(mean, std^2) coordinates."""

    def __init__(self, mean=MEAN, std=STD):
        self.mean, self.std = mean, std

    def denoise(self, noisy, sigma):
        return (self.std**2 * noisy + sigma**2 * self.mean) / (self.std**2 + sigma**2)


class CorrelatedOracle:
    """Exact denoiser of N(mean, covariance)."""

    def __init__(self, mean, covariance):
        self.mean, self.covariance = mean, covariance

    def denoise(self, noisy, sigma):
        noisy_covariance = self.covariance + sigma**2 * torch.eye(len(self.mean), dtype=torch.float64)
        return self.mean + (noisy - self.mean) @ torch.linalg.solve(noisy_covariance, self.covariance)


def flow_map(start, sigma):
    """Where the probability-flow ODE carries a state of N(MEAN, STD^2) noised to sigma."""
    return MEAN + STD * (start - MEAN) / math.sqrt(STD**2 + sigma**2)


def terminal_variance(levels, stochasticity, solver):
    """Variance after the last step on Gaussian data, from the linear recursion that the step is."""
    variance = STD**2 + levels[0] ** 2
    for level, following in pairwise(levels):
        tau = stochasticity * following * math.sqrt(1 - following**2 / level**2)
        down = math.sqrt(following**2 - tau**2)
        slope, slope_down = (sigma / (STD**2 + sigma**2) for sigma in (level, down))
        gain = 1 + (down - level) * slope
        if solver == "heun" and down:
            gain = 1 + (down - level) * (slope + slope_down * gain) / 2
        variance = gain**2 * variance + tau**2
    return variance


@pytest.mark.parametrize("sigma", [0.5, 5.0, 80.0])
@pytest.mark.parametrize(("solver", "order", "accuracy"), [("euler", 1, 0.02), ("heun", 2, 2e-4)])
def test_ode_follows_the_flow_map_at_the_order_of_the_solver(solver, order, accuracy, sigma):
    start = torch.linspace(-2 * sigma, 2 * sigma, 9, dtype=torch.float64)[:, None]

    def error(steps):
        levels = noise_levels(steps, sigma_max=sigma, sigma_min=1e-4)
        ends = sample(GaussianOracle(), (9, 1), levels, stochasticity=0.0, start=start, solver=solver)
        return (ends - flow_map(start, sigma)).abs().max().item()

    errors = [error(steps) for steps in (200, 400, 800)]
    orders = [math.log2(errors[i] / errors[i + 1]) for i in range(2)]
    assert errors[-1] < accuracy * STD
    assert_allclose(orders, order, atol=0.05)


@pytest.mark.parametrize("stochasticity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_variance_recursion_converges_to_the_data(solver, stochasticity):
    """At the order of the solver, with noise too: what an exact flow brings down has the law of its level."""
    levels = [noise_levels(steps, sigma_min=1e-4).tolist() for steps in (400, 800, 1600)]
    errors = [abs(terminal_variance(each, stochasticity, solver) - STD**2) for each in levels]
    order = {"euler": 1, "heun": 2}[solver]
    assert errors[-1] < 0.03 * STD**2
    assert_allclose(errors[0] / errors[1], 2.0**order, rtol=0.05)
    assert_allclose(errors[1] / errors[2], 2.0**order, rtol=0.05)


@pytest.mark.parametrize("stochasticity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_samples_have_the_moments_of_the_recursion(solver, stochasticity):
    n, levels = 200_000, noise_levels(40, sigma_max=20.0)
    generator = torch.Generator().manual_seed(7)
    start = MEAN + math.sqrt(STD**2 + 20.0**2) * torch.randn((n, 1), generator=generator, dtype=torch.float64)
    ends = sample(GaussianOracle(), (n, 1), levels, stochasticity, 1, start, solver=solver)
    variance = terminal_variance(levels.tolist(), stochasticity, solver)
    assert_allclose(ends.mean().item(), MEAN, atol=4 * math.sqrt(variance / n))
    assert_allclose(ends.var().item(), variance, rtol=4 * math.sqrt(2 / n))


@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_samples_reach_mean_and_covariance_of_correlated_data(stochasticity):
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    levels = noise_levels(300, sigma_max=60.0, sigma_min=0.005)
    ends = sample(CorrelatedOracle(mean, covariance), (40_000, 2), levels, stochasticity)
    assert_allclose(ends.double().mean(0), mean, atol=0.04)
    assert_allclose(torch.cov(ends.double().T), covariance, atol=0.04)


def test_last_step_is_the_denoiser():
    start = torch.tensor([3.0, -1.0])
    ends = sample(GaussianOracle(), (2,), [2.0, 0.0], start=start)
    torch.testing.assert_close(ends, GaussianOracle().denoise(start, 2.0), rtol=0, atol=0)


def test_one_step_is_the_formula():
    start = torch.tensor([3.0, -1.0], dtype=torch.float64)
    tau = 0.5 * 1.2 * math.sqrt(1 - 1.2**2 / 2.0**2)
    down, noise = math.sqrt(1.2**2 - tau**2), tau * standard_normal(0, 2, (), 3, SAMPLING, draw=1).double()
    clean = GaussianOracle().denoise(start, 2.0)
    guess = clean + down * (start - clean) / 2.0
    _, states = sample(GaussianOracle(), (2,), [2.0, 1.2, 0.0], 0.5, 3, start, path=True, solver="euler")
    torch.testing.assert_close(states[1], guess + noise, rtol=1e-14, atol=1e-14)
    slopes = (start - clean) / 2.0 + (guess - GaussianOracle().denoise(guess, down)) / down
    _, states = sample(GaussianOracle(), (2,), [2.0, 1.2, 0.0], 0.5, 3, start, path=True)
    torch.testing.assert_close(states[1], start + (down - 2.0) * slopes / 2 + noise, rtol=1e-14, atol=1e-14)


def test_seed_determines_the_samples():
    first, again = (sample(GaussianOracle(), (4, 3), FAST, seed=5) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, sample(GaussianOracle(), (4, 3), FAST, seed=6))


def test_ode_from_a_given_start_needs_no_seed():
    start = torch.randn((4, 3), generator=torch.Generator().manual_seed(0))
    ends = [sample(GaussianOracle(), (4, 3), FAST, 0.0, seed=seed, start=start) for seed in (1, 2)]
    torch.testing.assert_close(*ends, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_start_keeps_its_dtype_and_values(dtype):
    start = torch.full((2, 3), 4.0, dtype=dtype)
    assert sample(GaussianOracle(), (2, 3), FAST, start=start).dtype == dtype
    torch.testing.assert_close(start, torch.full((2, 3), 4.0, dtype=dtype), rtol=0, atol=0)


def test_default_is_float32_and_a_float64_denoiser_does_not_change_it():
    oracle = GaussianOracle(mean=torch.tensor([MEAN] * 2, dtype=torch.float64))
    assert sample(oracle, (3, 2), FAST).dtype == torch.float32


def test_path_holds_every_state():
    ends, states = sample(GaussianOracle(), [4, 3], FAST, path=True)
    assert states.shape == (len(FAST), 4, 3)
    torch.testing.assert_close(states[-1], ends, rtol=0, atol=0)
    torch.testing.assert_close(states[0], 5.0 * standard_normal(0, 4, (3,), 0, SAMPLING))


@pytest.mark.parametrize("solver", ["heun", "euler"])
@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_a_sample_depends_on_its_index_alone(solver, stochasticity):
    """Not on how many are asked for, nor how many are made at a time, nor the threads."""
    options = {"sigmas": FAST, "stochasticity": stochasticity, "seed": 2, "solver": solver}
    whole, path = sample(GaussianOracle(), (70, 3), path=True, **options)
    assert torch.equal(sample(GaussianOracle(), (1, 3), **options), whole[:1])
    parts, parts_path = sample(GaussianOracle(), (70, 3), path=True, batch=9, **options)
    assert torch.equal(parts, whole)
    assert torch.equal(parts_path, path)
    start = path[0]
    assert torch.equal(sample(GaussianOracle(), (70, 3), start=start, batch=11, **options), whole)


def test_heun_calls_twice_a_step_where_the_denoiser_answers():
    class Recorder(GaussianOracle):
        sigma_range = (0.5, 10.0)

        def __init__(self):
            super().__init__()
            self.asked = []

        def denoise(self, noisy, sigma):
            self.asked.append(round(sigma, 9))
            return super().denoise(noisy, sigma)

    levels = [4.0, 2.0, 1.0, 0.6, 0.0]
    ode, euler, sde = Recorder(), Recorder(), Recorder()
    sample(ode, (2,), levels, 0.0)
    sample(euler, (2,), levels, 0.0, solver="euler")
    sample(sde, (2,), levels)
    assert ode.asked == [4, 2, 2, 1, 1, 0.6, 0.6]
    assert euler.asked == levels[:-1]
    assert sde.asked == [4, 1, 2, 0.5, 1, 0.6]  # s'^2 / s; 0.36 is out of its range


class Fitted(GaussianOracle):
    fitted_sigmas = (0.5, 1.0, 2.0)

    def denoise(self, noisy, sigma):
        assert sigma in self.fitted_sigmas
        return super().denoise(noisy, sigma)


@pytest.mark.parametrize("stochasticity", [0.0, 0.3, 1.0])
def test_levels_are_those_that_the_denoiser_was_fitted_at(stochasticity):
    ends, path = sample(Fitted(), (5,), stochasticity=stochasticity, path=True)
    assert path.shape == (4, 5)
    assert ends.isfinite().all()


def test_noise_levels_are_strictly_decreasing_to_zero():
    levels = noise_levels()
    assert levels.shape == (51,)
    assert levels.dtype == torch.float64
    assert_allclose(levels[[0, -2, -1]], [80.0, 0.02, 0.0], rtol=1e-12)
    assert (levels.diff() < 0).all()
    assert noise_levels(1, sigma_max=3.0).tolist() == pytest.approx([3.0, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0; expected an integer >= 1"),
        ({"steps": 2.5}, "steps is 2.5; expected an integer"),
        ({"steps": True}, "steps is True; expected an integer"),
        ({"sigma_min": 0.0}, "expected 0 < sigma_min < sigma_max"),
        ({"sigma_max": 0.01}, "expected 0 < sigma_min < sigma_max"),
        ({"sigma_max": math.inf}, "expected 0 < sigma_min < sigma_max"),
        ({"rho": 0.0}, "rho must be positive"),
    ],
)
def test_noise_levels_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        noise_levels(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": ()}, r"shape is \(\); expected a sequence of integers >= 1"),
        ({"shape": 5}, "shape is 5; expected a sequence of integers"),
        ({"shape": (2, -1)}, r"shape is \(2, -1\); expected"),
        ({"shape": (2, 1.5)}, r"shape is \(2, 1.5\); expected"),
        ({"shape": (2, True)}, r"shape is \(2, True\); expected"),
        ({"sigmas": [1.0]}, "sigmas must be a sequence of at least 2 levels"),
        ({"sigmas": [[1.0, 0.0]]}, r"at least 2 levels, got shape \(1, 2\)"),
        ({"sigmas": [2.0, 1.0]}, "strictly decreasing to 0"),
        ({"sigmas": [2.0, 2.0, 0.0]}, "strictly decreasing to 0"),
        ({"sigmas": [1.0, 2.0, 0.0]}, "strictly decreasing to 0"),
        ({"sigmas": [1.0, 0.0, -1.0]}, "strictly decreasing to 0"),
        ({"sigmas": [math.inf, 0.0]}, "sigmas must be finite"),
        ({"sigmas": [math.nan, 0.0]}, "sigmas must be finite"),
        ({"stochasticity": -0.1}, r"stochasticity must lie in \[0, 1\], got -0.1"),
        ({"stochasticity": 1.1}, r"stochasticity must lie in \[0, 1\], got 1.1"),
        ({"stochasticity": math.nan}, "stochasticity must lie in"),
        ({"solver": "rk45"}, "solver is 'rk45'; expected one of 'heun', 'euler'"),
        ({"batch": 0}, "batch is 0; expected an integer >= 1"),
        ({"seed": -1}, "seed is -1; expected an integer >= 0"),
        ({"start": torch.zeros(3)}, r"start must be .* of shape \(2,\), got torch.float32 \(3,\)"),
        (
            {"start": torch.zeros(2, dtype=torch.int64)},
            "start must be a floating-point tensor .* torch.int64",
        ),
        ({"start": [0.0, 0.0]}, "start must be a floating-point tensor .* got list"),
    ],
)
def test_sample_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample(GaussianOracle(), **{"shape": (2,), "sigmas": FAST, **arguments})


def test_sample_refuses_a_denoiser_that_changes_the_shape():
    class Flattening:
        def denoise(self, noisy, sigma):
            return noisy.flatten()

    with pytest.raises(ValueError, match=r"denoise returned shape \(6,\), expected \(2, 3\)"):
        sample(Flattening(), (2, 3), FAST)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_variance_preserving_steps_give_the_same_samples(eta):
    """Song, Meng and Ermon (2020), eq. 12 and 16, as printed: x / sqrt(abar) is the state, with the same noise."""
    sigmas = FAST[FAST > 0]
    kept = torch.cat([1 / (1 + sigmas**2), torch.ones(1, dtype=torch.float64)])  # abar
    expected, path = sample(GaussianOracle(), (5, 3), FAST, eta, 4, solver="euler", path=True)
    state = path[0].double() * kept[0].sqrt()
    for step, (now, following) in enumerate(pairwise(kept), start=1):
        clean = GaussianOracle().denoise(state / now.sqrt(), ((1 - now) / now).sqrt())
        direction = (state - now.sqrt() * clean) / (1 - now).sqrt()
        spread = eta * ((1 - following) / (1 - now)).sqrt() * (1 - now / following).sqrt()
        fresh = standard_normal(0, 5, (3,), 4, SAMPLING, draw=step)
        state = following.sqrt() * clean + (1 - following - spread**2).clamp_min(0).sqrt() * direction + spread * fresh
    torch.testing.assert_close(state.float(), expected, rtol=1e-5, atol=1e-5)
