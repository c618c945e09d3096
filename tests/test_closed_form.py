"""Closed forms against sympy's and numpy's solvers, quadrature, regression, mpmath, and the batched solver."""

from itertools import combinations, product
from math import factorial

import mpmath
import numpy as np
import pytest
import scipy.linalg
import sympy
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws
from wavescore_lite import closed_form as cf

DEGREES = (1, 2, 3)
TARGETS = ("denoise", "score")
SIGMA, GAMMA = sympy.symbols("sigma gamma")
ALL_DIGITS = -np.log10(np.finfo(np.float64).eps)
NORMAL = [1, 0, 1, 0, 3, 0, 15]  # moments of a standard normal
degrees = pytest.mark.parametrize("degree", DEGREES)
targets = pytest.mark.parametrize("target", TARGETS)
ridges = pytest.mark.parametrize("ridge", [False, True])


def moments_of(values, degree):
    return np.mean(np.asarray(values)[..., None] ** np.arange(2 * degree + 1), axis=-2)


def in_clean_moments(expression, degree):
    """Put eq. 20 in for every mu_r."""
    noisy = cf.noisy_moments(2 * degree)
    return expression.subs({f"mu_{r}": noisy[r] for r in range(1, 2 * degree + 1)})


def given(clean):
    return {f"m_{k}": moment for k, moment in enumerate(clean) if k}


def nodes_and_weights(count=12):
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def numeric_system(values, sigma, degree, target):
    """H and b by quadrature over the noise, from clean values."""
    nodes, weights = nodes_and_weights()
    noisy = values[:, None] + sigma * nodes
    mu = [np.mean(noisy**r @ weights) for r in range(2 * degree + 1)]
    gram = scipy.linalg.hankel(mu[: degree + 1], mu[degree:])
    if target == "denoise":
        return gram, np.array([np.mean(values * (noisy**r @ weights)) for r in range(degree + 1)])
    return gram, np.array([-r * mu[max(r - 1, 0)] for r in range(degree + 1)])


def test_means_over_normal_variables_are_those_of_quadrature():
    x, y, a = sympy.symbols("x y a")
    polynomial = (1 + a * x - 2 * x * y**2) ** 4 + x**3 * y - y**6
    nodes, weights = nodes_and_weights()
    value = sympy.lambdify((x, y, a), polynomial)(nodes[:, None], nodes, 0.7)
    found = cf.normal_mean(polynomial, x, y).subs(a, 0.7)
    assert_allclose(float(found), weights @ value @ weights, rtol=1e-12)
    over_y = cf.normal_mean(cf.normal_mean(polynomial, x), y)
    assert sympy.expand(over_y - cf.normal_mean(polynomial, x, y)) == 0


@pytest.mark.parametrize(("expression", "variables"), [("exp(x)", ["x"]), ("1/x", ["x"]), ("x**2", [])])
def test_means_of_what_is_no_polynomial_are_refused(expression, variables):
    with pytest.raises(ValueError, match="expected a polynomial in one or more variables"):
        cf.normal_mean(sympy.sympify(expression), *sympy.symbols(variables))


@pytest.fixture(scope="module")
def values():
    """A skewed coefficient of 40 images."""
    return np.random.default_rng(1).exponential(size=40) - 0.3


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=16, limit=400)


@pytest.fixture(scope="module")
def basis():
    return ws.WaveletBasis(16)


# eq. 20


def test_noisy_moments_by_quadrature(values):
    nodes, weights = nodes_and_weights()
    for sigma in (0.2, 3.0):
        numbers = given(moments_of(values, 3)) | {SIGMA: sigma}
        ours = [float(moment.subs(numbers)) for moment in map(sympy.sympify, cf.noisy_moments(6))]
        assert_allclose(ours, [np.mean((values[:, None] + sigma * nodes) ** r @ weights) for r in range(7)], rtol=1e-12)


def test_noisy_moments_are_the_variance_preserving_ones_rescaled():
    """Eq. 20 as printed, with alpha_bar, is ours at sigma^2 = (1 - alpha_bar) / alpha_bar times alpha_bar^(r/2)."""
    alpha = sympy.Symbol("alpha", positive=True)
    clean = [1, *sympy.symbols("m_1:7")]
    for r, ours in enumerate(cf.noisy_moments(6)):
        printed = sum(
            sympy.binomial(r, k)
            * alpha ** sympy.Rational(k, 2)
            * (1 - alpha) ** sympy.Rational(r - k, 2)
            * clean[k]
            * z
            for k, z in zip(range(r + 1), reversed(NORMAL[: r + 1]), strict=True)
        )
        rescaled = alpha ** sympy.Rational(r, 2) * sympy.sympify(ours).subs(SIGMA, sympy.sqrt((1 - alpha) / alpha))
        assert sympy.simplify(printed - rescaled) == 0


# The system and Cramer's rule


@degrees
def test_hankel_is_scipys(degree):
    mu = np.array([1, *np.random.default_rng(0).integers(2, 50, 2 * degree)])
    ours = cf.hankel(degree, ridge=True).subs({f"mu_{r}": mu[r] for r in range(1, len(mu))} | {GAMMA: 7})
    expected = scipy.linalg.hankel(mu[: degree + 1], mu[degree:]) + 7 * np.eye(degree + 1, dtype=int)
    assert np.array_equal(np.array(ours.tolist(), dtype=int), expected)


@degrees
@ridges
def test_adjugate_times_matrix_is_the_determinant(degree, ridge):
    system, determinant = cf.hankel(degree, ridge), cf.determinant(degree, ridge)
    product_ = cf.cofactors(degree, ridge).T * system
    assert (product_ - determinant * sympy.eye(degree + 1)).expand().is_zero_matrix
    assert sympy.expand(determinant - system.det(method="berkowitz")) == 0


def test_terms_of_the_determinant_explode():
    assert [len(cf.determinant(degree).args) for degree in DEGREES] == [2, 5, 16]
    mu = [1, *sympy.symbols("mu_1:11")]
    beyond = [sympy.Matrix(n, n, lambda r, m: mu[r + m]).det(method="berkowitz").expand() for n in (5, 6)]
    assert [len(determinant.args) for determinant in beyond] == [58, 231]


@degrees
def test_determinant_is_the_mean_spread_of_independent_copies(degree):
    """Heine: det H = E prod_(i<j) (y_i - y_j)^2 / (D + 1)! over D + 1 independent copies, so it never is negative."""
    points = [sympy.Rational(n, 3) for n in (-4, 1, 2, 7, 11)]
    mu = {f"mu_{r}": sum(y**r for y in points) / 5 for r in range(1, 2 * degree + 1)}
    copies = list(product(points, repeat=degree + 1))
    mean = sum(sympy.prod((a - b) ** 2 for a, b in combinations(ys, 2)) for ys in copies) / sympy.Integer(len(copies))
    assert cf.determinant(degree).subs(mu) == mean / factorial(degree + 1)


@degrees
def test_determinant_of_a_constant_is_that_of_the_noise(degree):
    """1! 2! ... D! sigma^(D (D + 1)), wherever the constant lies: it vanishes with sigma."""
    constant = sympy.Symbol("c")
    determinant = in_clean_moments(cf.determinant(degree), degree).subs(given(constant**k for k in range(7)))
    barnes = sympy.prod(sympy.factorial(k) for k in range(1, degree + 1))
    assert sympy.expand(determinant - barnes * SIGMA ** (degree * (degree + 1))) == 0


def test_determinant_without_noise_vanishes_for_few_values():
    two_values = given(sympy.Rational(2**k + 5**k, 2) for k in range(7))
    limits = [in_clean_moments(cf.determinant(degree), degree).subs({SIGMA: 0} | two_values) for degree in DEGREES]
    assert limits == [sympy.Rational(9, 4), 0, 0]


@degrees
@targets
def test_right_side(degree, target):
    """E[y^r y_0] = mu_(r+1) - sigma^2 r mu_(r-1), and -r mu_(r-1), as the chapter has them."""
    mu = [sympy.sympify(moment) for moment in cf.noisy_moments(2 * degree)]
    for r, ours in enumerate(in_clean_moments(cf.right_side(degree, target), degree)):
        slope = r * mu[r - 1] if r else 0
        expected = mu[r + 1] - SIGMA**2 * slope if target == "denoise" else -slope
        assert sympy.expand(ours - expected) == 0


@degrees
@targets
@ridges
def test_solution_is_that_of_elimination_in_rationals(degree, target, ridge):
    points = [sympy.Rational(n, 3) for n in (-4, 1, 2, 7, 11)]
    clean = [sum(y**k for y in points) / 5 for k in range(2 * degree + 1)]
    numbers = given(clean) | {SIGMA: sympy.Rational(3, 2), GAMMA: sympy.Rational(1, 10)}
    noisy = [sympy.sympify(moment).subs(numbers) for moment in cf.noisy_moments(2 * degree)]
    numbers |= {f"mu_{r}": moment for r, moment in enumerate(noisy) if r}
    system, right = cf.hankel(degree, ridge).subs(numbers), cf.right_side(degree, target).subs(numbers)
    ours = cf.solution(degree, target, ridge).subs(numbers)
    assert ours == system.LUsolve(right)
    assert ours != cf.solution(degree, target, not ridge).subs(numbers)


@degrees
def test_eq_21_mended_and_as_misread(degree):
    """a_m = -(1 / det H) sum_r r mu_(r-1) C[r, m] with indices from 0; from 1, the rows are the wrong ones."""
    mu = {f"mu_{r}": sympy.Integer(m) for r, m in enumerate((1, 2, 5, 14, 43, 142, 499)) if r}
    weights = [r * sympy.Integer((1, 2, 5)[r - 1]) for r in range(1, degree + 1)]
    signed, determinant = cf.cofactors(degree).subs(mu), cf.determinant(degree).subs(mu)
    ours = list(cf.solution(degree, "score").subs(mu))
    from_zero = [-sum(w * signed[r + 1, m] for r, w in enumerate(weights)) / determinant for m in range(degree + 1)]
    from_one = [-sum(w * signed[r, m] for r, w in enumerate(weights)) / determinant for m in range(degree + 1)]
    assert ours == from_zero
    assert ours != from_one


@degrees
def test_two_targets_one_optimum(degree):
    image, score = (in_clean_moments(cf.solution(degree, target), degree) for target in TARGETS)
    numbers = given(sympy.Rational((-4) ** k + 1 + 2**k + 7**k + 11**k, 5 * 3**k) for k in range(2 * degree + 1))
    identity = sympy.Matrix([int(r == 1) for r in range(degree + 1)])
    assert (image - identity - SIGMA**2 * score).subs(numbers | {SIGMA: sympy.Rational(2, 7)}).is_zero_matrix


# What the formulas say


def test_degree_1_is_the_scalar_wiener_filter():
    mean, variance = sympy.symbols("m v")
    ours = in_clean_moments(cf.solution(1), 1).subs(given([1, mean, mean**2 + variance]))
    gain = variance / (variance + SIGMA**2)
    assert (ours - sympy.Matrix([(1 - gain) * mean, gain])).applyfunc(sympy.simplify).is_zero_matrix


def test_degree_2_is_wiener_for_what_is_not_skewed():
    mean, variance, fourth, skew = sympy.symbols("m v k s")
    central = [1, 0, variance, skew, fourth]
    clean = [sum(sympy.binomial(r, k) * central[k] * mean ** (r - k) for k in range(r + 1)) for r in range(5)]
    ours = in_clean_moments(cf.solution(2), 2).subs(given(clean))
    gain = variance / (variance + SIGMA**2)
    expected = sympy.Matrix([(1 - gain) * mean, gain, 0])
    assert (ours.subs(skew, 0) - expected).applyfunc(sympy.simplify).is_zero_matrix
    assert sympy.simplify(ours[2]) != 0


def test_degree_3_of_symmetric_data_has_no_even_powers():
    even = in_clean_moments(cf.solution(3), 3).subs({"m_1": 0, "m_3": 0, "m_5": 0})
    assert [sympy.simplify(a) == 0 for a in even] == [True, False, True, False]


@targets
def test_degree_3_of_gaussian_data_is_linear(target):
    mean, spread = sympy.symbols("m s")
    clean = [
        sum(sympy.binomial(r, k) * NORMAL[k] * spread**k * mean ** (r - k) for k in range(r + 1)) for r in range(7)
    ]
    numerators = in_clean_moments(cf.cofactors(3).T * cf.right_side(3, target), 3).subs(given(clean)).expand()
    assert [a == 0 for a in numerators] == [False, False, True, True]


# Compiled


@degrees
@targets
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_compiled_is_numpys_solution(degree, target, gamma, values):
    clean = moments_of(values, degree)
    for sigma in (0.3, 1.0, 5.0):
        gram, right = numeric_system(values, sigma, degree, target)
        expected = np.linalg.solve(gram + gamma * np.eye(degree + 1), right)
        assert_allclose(cf.compiled(degree, target, ridge=gamma > 0)(clean, sigma, gamma), expected, rtol=1e-10)


@degrees
def test_compiled_is_a_regression_on_the_clean_value(degree, values):
    """Least squares over all images and quadrature nodes of the noise: no moment is formed."""
    nodes, weights = nodes_and_weights()
    noisy, mass = (values[:, None] + 1.2 * nodes).ravel(), np.sqrt(np.tile(weights, len(values)))
    design = np.vander(noisy, degree + 1, increasing=True)
    clean = np.repeat(values, len(nodes))
    expected = np.linalg.lstsq(mass[:, None] * design, mass * clean, rcond=None)[0]
    assert_allclose(cf.compiled(degree)(moments_of(values, degree), 1.2), expected, rtol=1e-10)


@degrees
@targets
def test_compiled_ridge_from_none_to_all(degree, target, values):
    clean, with_ridge = moments_of(values, degree), cf.compiled(degree, target, ridge=True)
    assert_allclose(with_ridge(clean, 1.0, 0.0), cf.compiled(degree, target)(clean, 1.0), rtol=1e-11)
    right = numeric_system(values, 1.0, degree, target)[1]
    assert_allclose(1e12 * with_ridge(clean, 1.0, 1e12), right, rtol=1e-8, atol=1e-8)


@degrees
@targets
def test_compiled_broadcasts(degree, target, rng):
    clean = moments_of(rng.exponential(size=(3, 1, 30)), degree)
    sigma, gamma = np.array([0.5, 1.0, 2.0, 4.0]), np.array([0.0, 0.1]).reshape(2, 1, 1)
    form = cf.compiled(degree, target, ridge=True)
    ours = form(clean, sigma, gamma)
    assert ours.shape == (2, 3, 4, degree + 1)
    assert ours.dtype == np.float64
    for g, i, s in np.ndindex(2, 3, 4):
        assert_allclose(ours[g, i, s], form(clean[i, 0], sigma[s], gamma[g, 0, 0]), rtol=1e-13)


def test_compiled_returns_the_kind_it_is_given():
    form, clean = cf.compiled(1), [[1, 1, 2], [1, 0, 4]]
    expected = torch.tensor([[0.5, 0.5], [0.0, 0.8]], dtype=torch.float64)
    for dtype in (torch.float64, torch.float32, torch.int64):
        torch.testing.assert_close(form(torch.tensor(clean, dtype=dtype), torch.tensor(1.0)), expected)
    assert isinstance(form(clean, 1), np.ndarray)


def test_code_is_generated_once(monkeypatch):
    form = cf.compiled(3, "score", ridge=True)
    monkeypatch.setattr(sympy, "lambdify", None)
    assert cf.compiled(np.int64(3), target="score", ridge=True) is form
    assert repr(form) == "ClosedForm(degree=3, target='score', ridge=True)"


def test_source_is_what_runs():
    source = cf.compiled(2).source
    assert "mu_2 = m_2 + s0" in source
    scope = {}
    exec(source, scope)
    *numerators, determinant = scope["_lambdifygenerated"]([0.5, 1.0, 2.0, 9.0], 1.5, 0.0)
    expected = cf.compiled(2)([1, 0.5, 1, 2, 9], 1.5)
    assert_allclose(np.array(numerators) / determinant, expected, rtol=1e-15)


# Models


@degrees
@targets
@pytest.mark.parametrize("ridge", [0, 1e-6, 1e-2, "auto"])
def test_coefficients_are_the_batched_solvers(degree, target, ridge, images, basis):
    model = ws.WaveletScore(basis, ws.independent(degree), ridge=ridge, target=target).fit(images)
    sigmas = [0.3, 1.0, 2.0, 4.0]
    ours = cf.coefficients(model, sigmas)
    assert ours.shape == (4, 256, degree + 1)
    assert ours.dtype == torch.float64
    y = basis.analyze(images.double())
    for sigma, found in zip(sigmas, ours, strict=True):
        (expected,) = model.coefficients(sigma)
        scale = (y.var(dim=0, correction=0) + sigma**2).sqrt()[:, None] ** torch.arange(degree + 1)
        error = ((found - expected) * scale).norm(dim=1)
        assert (error <= 1e-9 * (expected * scale).norm(dim=1)).all()
        torch.testing.assert_close(cf.coefficients(model, sigma)[0], found, rtol=0, atol=0)
    assert cf.coefficients(model, []).shape == (0, 256, degree + 1)


@degrees
def test_clean_moments_are_means_of_powers(degree, images, basis):
    model = ws.WaveletScore(basis, ws.independent(degree)).fit(images)
    y = basis.analyze(images.double())
    expected = torch.stack([(y**k).mean(dim=0) for k in range(2 * degree + 1)], dim=1)
    torch.testing.assert_close(cf.clean_moments(model), expected, rtol=1e-12, atol=1e-12)


def test_clean_moments_of_nothing_are_exactly_zero(basis):
    model = ws.WaveletScore(basis, ws.independent(2)).fit(torch.zeros(5, 16, 16))
    assert torch.equal(cf.clean_moments(model), torch.eye(5, dtype=torch.float64)[:1].expand(256, 5))


@pytest.mark.parametrize(
    ("coupling", "options", "named"),
    [
        (ws.band_tied(2), {}, r"band_tied\(degree=2\).*expected independent\(degree=2\)"),
        (ws.local_coupled(3, 1), {}, r"local_coupled\(degree=3"),
        (ws.independent(2, shared=True), {}, r"independent\(degree=2, shared=True\)"),
        (ws.independent(2), {"polynomials": "hermite"}, "polynomials='hermite'.*expected.*'monomial'"),
        (ws.independent(4), {}, "degree is 4; expected an integer from 1 to 3.*explode"),
    ],
)
def test_other_models_are_refused_by_name(coupling, options, named, images, basis):
    model = ws.WaveletScore(basis, coupling, **options).fit(images[:20])
    for function in (cf.clean_moments, lambda model: cf.coefficients(model, 1.0)):
        with pytest.raises(ValueError, match=named):
            function(model)


def test_other_fits_are_refused_by_name(images, basis):
    model = ws.WaveletScore(basis, ws.independent(2))
    with pytest.raises(RuntimeError, match="not fitted"):
        cf.clean_moments(model)
    with pytest.raises(ValueError, match=r"fitted on SampledNoise.*expected a fit with the noise integrated out"):
        cf.clean_moments(model.fit(images, noise=ws.SampledNoise([1.0])))
    with pytest.raises(TypeError, match="Wiener; expected a WaveletScore"):
        cf.coefficients(ws.Wiener(), 1.0)
    with pytest.raises(ValueError, match=r"sigma is 0\.0; expected"):
        cf.coefficients(model.fit(images), [1.0, 0.0])


def test_a_determinant_that_vanishes_is_refused(basis):
    images = torch.full((4, 16, 16), 1e9, dtype=torch.float64)
    model = ws.WaveletScore(basis, ws.independent(1), ridge=0, value_range=None).fit(images)
    with pytest.raises(ValueError, match=r"determinant of independent\(degree=1\) vanishes.*expected a larger ridge"):
        cf.coefficients(model, 1.0)


@pytest.mark.parametrize("degree", [0, 4, 2.0, "3", None, True])
@pytest.mark.parametrize("function", [cf.hankel, cf.cofactors, cf.determinant, cf.right_side, cf.solution, cf.compiled])
def test_degrees_out_of_reach_are_refused(function, degree):
    with pytest.raises(ValueError, match=f"degree is {degree!r}; expected an integer from 1 to 3"):
        function(degree)


@pytest.mark.parametrize("function", [cf.right_side, cf.solution, cf.compiled])
def test_targets_are_checked(function):
    with pytest.raises(ValueError, match="target is 'noise'; expected one of 'denoise', 'score'"):
        function(2, "noise")


@pytest.mark.parametrize(
    ("clean", "sigma", "gamma", "message"),
    [
        ([1, 0], 1, 0, r"shape \[2\]; expected \[..., 5\]"),
        (1.0, 1, 0, r"shape \[\]; expected"),
        ([10, 0, 10, 0, 30], 1, 0, "expected means, not sums"),
        ([1, 0, np.nan, 0, 3], 1, 0, "not finite"),
        ([1, 0, 1, 0, 3], 0, 0, "sigma is 0.0; expected"),
        ([1, 0, 1, 0, 3], [1, np.inf], 0, "sigma is .*inf.*; expected"),
        ([1, 0, 1, 0, 3], 1, 0.1, "gamma is 0.1; expected 0, or a form compiled with ridge=True"),
    ],
)
def test_arguments_of_a_closed_form_are_checked(clean, sigma, gamma, message):
    with pytest.raises(ValueError, match=message):
        cf.compiled(2)(clean, sigma, gamma)


def test_negative_ridges_are_refused():
    with pytest.raises(ValueError, match=r"gamma is -1\.0; expected finite numbers >= 0"):
        cf.compiled(1, ridge=True)([1, 0, 1], 1.0, -1.0)
    with pytest.raises(ValueError, match="ridge is -1"):
        cf.correct_digits(np.array([1.0, 0, 1]), 1.0, gamma=-1)


# Where digits are lost


@degrees
@targets
@pytest.mark.parametrize("gamma", [0.0, 1e-3])
def test_correct_digits_against_mpmath(degree, target, gamma, rng):
    """One coefficient at a time, by mpmath's elimination in 80 digits."""
    clean = moments_of(rng.exponential(size=(4, 30)) + np.array([0, 2, 8, 25])[:, None], degree)
    sigmas = np.array([0.1, 2.0])[:, None]
    ours = cf.correct_digits(clean, sigmas, target, gamma)
    found = cf.compiled(degree, target, ridge=gamma > 0)(clean, sigmas, gamma)
    assert ours.cofactors.shape == ours.solver.shape == (2, 4)
    for s, i in np.ndindex(2, 4):
        with mpmath.workdps(80):
            truth = exact_solution(clean[i], sigmas[s, 0], degree, target, gamma)
            unit = mpmath.sqrt(clean[i, 2] - mpmath.mpf(clean[i, 1]) ** 2 + mpmath.mpf(sigmas[s, 0]) ** 2)
            error = mpmath.norm([(x - t) * unit**r for r, (x, t) in enumerate(zip(found[s, i], truth, strict=True))])
            expected = -mpmath.log10(error / mpmath.norm([t * unit**r for r, t in enumerate(truth)]))
        assert_allclose(ours.cofactors[s, i], np.clip(float(expected), 0, ALL_DIGITS), rtol=0, atol=1e-6)


@degrees
@targets
@pytest.mark.parametrize("gamma", [0.0, 1e-3])
def test_nothing_is_lost_near_zero_mean(degree, target, gamma, rng):
    clean = moments_of(rng.uniform(-2, 1, size=(50, 30)), degree)
    digits = cf.correct_digits(clean, np.array([[0.5], [2.0]]), target, gamma)
    assert digits.cofactors.min() > 13
    assert digits.solver.min() > 13


@pytest.mark.parametrize(("degree", "mean", "cofactors", "solver"), [(2, 30, 9, 9.5), (3, 10, 7, 8.5), (3, 30, 2, 5)])
@targets
def test_cofactors_lose_digits_where_the_solver_does_not(degree, mean, cofactors, solver, target, rng):
    """Far from zero for its spread: medians over coefficients, at most and at least."""
    digits = cf.correct_digits(moments_of(rng.exponential(size=(50, 100)) + mean, degree), 0.5, target)
    assert np.median(digits.cofactors) < cofactors
    assert np.median(digits.solver) > solver


@pytest.mark.parametrize("degree", [2, 3])
def test_how_many_digits_cofactors_lose(degree, rng):
    """As many as the product of the diagonal has more than det H."""
    for mean in (0, 1, 3, 6):
        values, sigma = rng.exponential(size=(50, 100)) - 1 + mean, 0.5
        grams = [numeric_system(coefficient, sigma, degree, "score")[0] for coefficient in values]
        lost = [np.log10(np.prod(np.diag(gram)) / scipy.linalg.det(gram)) for gram in grams]
        digits = cf.correct_digits(moments_of(values, degree), sigma)
        assert abs(np.median(ALL_DIGITS - digits.cofactors - lost)) < 1.2


def test_centring_keeps_the_digits_and_scaling_does_not(rng):
    """Every term of det H has the same unit, so units of another power of two leave all digits as they are."""
    values, sigma = rng.exponential(size=(50, 100)) + 10, 0.5
    raw = cf.correct_digits(moments_of(values, 3), sigma)
    scaled = cf.correct_digits(moments_of(values / 8, 3), sigma / 8)
    centred = cf.correct_digits(moments_of(values - values.mean(axis=1, keepdims=True), 3), sigma)
    assert_allclose(scaled.cofactors, raw.cofactors, rtol=0, atol=1e-9)
    assert raw.cofactors.max() < 8
    assert centred.cofactors.min() > 12


def test_digits_of_known_errors(monkeypatch):
    """An error of 1e-5 in length, measured in units of the noisy deviation 4."""
    clean, exact = np.array([1.0, 0.0, 7.0]), np.array([0.0, 7 / 16])
    for wrong, expected in (
        (exact * (1 + 1e-5), 5),
        (np.array([4e-3, 1]) * 7 / 16, 3),
        (-exact, 0),
        (exact, ALL_DIGITS),
    ):
        monkeypatch.setattr("wavescore_lite.closed_form.digits._solved", lambda *_, wrong=wrong: wrong)
        assert_allclose(cf.correct_digits(clean, 3.0).solver, expected, rtol=0, atol=1e-4)


def test_digits_of_what_is_zero_or_not_finite():
    nothing = cf.correct_digits(np.eye(7)[0], np.array([0.1, 1.0]))
    assert_allclose(nothing.cofactors, ALL_DIGITS)
    assert_allclose(nothing.solver, ALL_DIGITS)
    vanished = cf.correct_digits(np.array([1, 1e9, 1e18]), 1.0)  # variance 1 + 1e18 - 1e18
    assert vanished.cofactors == vanished.solver == 0
    with pytest.raises(ValueError, match=r"shape \[9\]; expected \[..., 3\] or \[..., 5\] or \[..., 7\]"):
        cf.correct_digits(np.ones(9), 1.0)


def test_noisy_units():
    clean, sigma, spread = cf.in_noisy_units(np.array([1, 2.0, 13, 0, 625]), np.array([4.0, 0.0]))
    assert_allclose(spread, [5, 3])
    assert_allclose(sigma, [0.8, 0])
    assert_allclose(clean, [[1, 0.4, 13 / 25, 0, 1], [1, 2 / 3, 13 / 9, 0, 625 / 81]])


def exact_solution(clean, sigma, degree, target, gamma):
    sigma, clean = mpmath.mpf(sigma), [mpmath.mpf(m) for m in clean]

    def expectation(power, shift):
        return sum(
            mpmath.binomial(power, k) * sigma ** (power - k) * NORMAL[power - k] * clean[k + shift]
            for k in range(power + 1)
        )

    mu = [expectation(r, 0) for r in range(2 * degree + 1)]
    gram = mpmath.matrix(degree + 1, degree + 1)
    for r, m in product(range(degree + 1), repeat=2):
        gram[r, m] = mu[r + m] + (mpmath.mpf(gamma) if r == m else 0)
    slopes = [-r * mu[max(r - 1, 0)] for r in range(degree + 1)]
    right = slopes if target == "score" else [expectation(r, 1) for r in range(degree + 1)]
    return list(mpmath.lu_solve(gram, mpmath.matrix(right)))
