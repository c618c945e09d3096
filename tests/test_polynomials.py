"""What noise does to polynomials, against sympy and Gauss-Hermite quadrature, for one to three coordinates."""

from itertools import product
from math import comb, factorial

import numpy as np
import pytest
import scipy.special
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from wavescore_lite import PolynomialFamily
from wavescore_lite.polynomials import downward_closure

BAND = np.array([[0, 0, 0]] + [e for e in product(range(4), repeat=3) if e[0] and sum(e) <= 3])
PAIR = np.array([[0, 0], [1, 0], [2, 0], [1, 1], [1, 2]])
TABLES = {
    "powers to 1": np.arange(2)[:, None],
    "powers to 3": np.arange(4)[:, None],
    "powers to 6": np.arange(7)[:, None],
    "a pair": PAIR,
    "a band": BAND,
}
tables = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())


def monomials(table, points):
    """Values [F, n] of the monomials at points [Q, n], one power at a time."""
    return np.array([np.prod([x**e for x, e in zip(points, row, strict=True)], axis=0) for row in table])


def noise_nodes(coordinates, order=12):
    """Nodes [Q, n] and weights [n] that integrate polynomials to degree 2 * order - 1 over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    grid = np.array(list(product(nodes, repeat=coordinates))).T
    mass = np.array(list(product(weights / weights.sum(), repeat=coordinates))).prod(axis=1)
    return grid, mass


@tables
def test_closure_holds_every_divisor_and_nothing_else(table):
    closed = downward_closure(table)
    assert closed[0].sum() == 0
    assert len(np.unique(closed, axis=0)) == len(closed)
    for row in closed:
        assert (row <= table).all(axis=1).any()
    for row in table:
        assert np.prod(row + 1) == (closed <= row).all(axis=1).sum()


@tables
def test_evaluate_is_the_product_of_powers(table, rng):
    family = PolynomialFamily(table)
    points = rng.standard_normal((7, table.shape[1], 5))
    values = family.evaluate(torch.from_numpy(points))
    for k in range(7):
        assert_allclose(values[k], monomials(family.closed, points[k]), rtol=1e-13)


@tables
def test_derivatives_by_sympy(table):
    family = PolynomialFamily(table)
    symbols = sympy.symbols(f"y0:{table.shape[1]}")
    closed = sympy.Matrix(
        [sympy.prod([y ** int(e) for y, e in zip(symbols, row, strict=True)]) for row in family.closed]
    )
    for alpha in family.closed.tolist()[1:6]:
        expected = closed
        for y, order in zip(symbols, alpha, strict=True):
            expected = expected.diff(y, order) if order else expected
        ours = sympy.Matrix(family.derivative(tuple(alpha)).astype(int)) * closed
        assert (ours - expected).expand().is_zero_matrix


@tables
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_noise_integrals_by_quadrature(table, sigma, rng):
    """Gram, mean and mean derivative of noisy features at fixed clean points, to rounding."""
    family = PolynomialFamily(table)
    clean = rng.standard_normal((table.shape[1], 6))
    nodes, mass = noise_nodes(table.shape[1])
    gram, mean, slope = 0, 0, 0
    for point in clean.T:
        noisy = point[:, None] + sigma * nodes
        features = monomials(table, noisy)
        gram = gram + (features * mass) @ features.T / 6
        mean = mean + features @ mass / 6
        lowered = np.maximum(table - np.eye(table.shape[1], dtype=int)[0], 0)
        slope = slope + table[:, 0] * (monomials(lowered, noisy) @ mass) / 6
    closed = monomials(family.closed, clean)
    clean_gram = closed @ closed.T / 6
    size = len(table)

    heat = family.heat(torch.full((table.shape[1],), sigma**2, dtype=torch.float64)).numpy()
    integrated = (heat @ clean_gram @ heat.T).ravel()
    ours = sum(sigma ** (2 * j) * (m @ integrated) for j, m in enumerate(family.noise_maps)).reshape(size, size)
    scale = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    assert_allclose(ours / scale, gram / scale, atol=1e-13)
    norm = np.sqrt(np.diag(gram))
    assert_allclose((heat @ closed.mean(1))[family.selected] / norm, mean / norm, atol=1e-13)
    assert_allclose((family.slope.numpy() @ heat @ closed.mean(1))[family.selected] / norm, slope / norm, atol=1e-13)


@pytest.mark.parametrize("order", range(7))
def test_noisy_moments_are_equation_20(order):
    """For powers of one coefficient the maps are eq. 20 with alpha-bar = 1: binomial sums of clean moments."""
    family = PolynomialFamily(np.arange(max(order, 1) + 1)[:, None])
    clean = np.random.default_rng(order).standard_normal(len(family.closed))
    sigma = 1.7
    ours = (family.heat(torch.tensor([sigma**2], dtype=torch.float64)).numpy() @ clean)[order]
    normal_moments = [0 if k % 2 else factorial(k) // (2 ** (k // 2) * factorial(k // 2)) for k in range(7)]
    paper = sum(comb(order, m) * sigma ** (order - m) * clean[m] * normal_moments[order - m] for m in range(order + 1))
    assert_allclose(ours, paper, rtol=1e-13)


@settings(max_examples=20, deadline=None)
@given(
    first=st.floats(0.1, 2),
    second=st.floats(0.1, 2),
    seed=st.integers(0, 1000),
    name=st.sampled_from(sorted(TABLES)),
)
def test_noise_adds_in_variance(first, second, seed, name):
    """Heating by s^2, then by t^2, is heating by s^2 + t^2: a semigroup, and backward heat undoes it."""
    family = PolynomialFamily(TABLES[name])
    clean = np.random.default_rng(seed).standard_normal(len(family.closed))
    weights = torch.linspace(0.5, 1.5, TABLES[name].shape[1]).double()

    def heat(value, variance):
        return family.heat(variance * weights).numpy() @ value

    assert_allclose(heat(heat(clean, first), second), heat(clean, first + second), rtol=1e-10, atol=1e-10)
    assert_allclose(heat(heat(clean, first), -first), clean, rtol=1e-9, atol=1e-9)


@tables
def test_backward_heat_makes_hermite_polynomials(table, rng):
    """exp(-sum s_q^2 d_q^2 / 2) y^e = prod s_q^e_q He_(e_q)(y_q / s_q), for several spreads at once."""
    family = PolynomialFamily(table)
    spread = torch.from_numpy(rng.uniform(0.5, 2, (3, table.shape[1])))
    points = rng.standard_normal((table.shape[1], 4))
    ours = family.heat(-(spread**2)).numpy() @ monomials(family.closed, points)
    for k, s in enumerate(spread.numpy()):
        single = [
            [scipy.special.eval_hermitenorm(e, y / sq) * sq**e for e in range(7)]
            for y, sq in zip(points, s, strict=True)
        ]
        expected = [np.prod([single[q][e] for q, e in enumerate(row)], axis=0) for row in family.closed]
        assert_allclose(ours[k], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.array([[0.0], [1.0]]), "expected integers >= 0"),
        (np.array([0, 1]), "expected integers >= 0"),
        (np.array([[0], [-1]]), "expected integers >= 0"),
        (np.array([[1], [1]]), "expected distinct rows"),
        (np.array([[0, 0], [1, 0]]), r"no feature uses coordinate \[1\]"),
    ],
)
def test_refuses_tables_that_are_none(table, message):
    with pytest.raises(ValueError, match=message):
        PolynomialFamily(table)
