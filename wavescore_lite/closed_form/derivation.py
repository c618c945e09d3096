"""The closed form in symbols: moments, system, cofactors, determinant and solution, by sympy.

The symbols are `m_1`, `mu_1`, ..., `sigma` and `gamma`, without assumptions; m_0 = mu_0 = 1.
"""

from __future__ import annotations

import sympy

from ..fitting import TARGETS
from ..support.checks import check_choice
from .system import check_degree, hankel_rows, right_terms, smoothed

SIGMA, GAMMA = sympy.symbols("sigma gamma")


def moment_symbols(letter: str, order: int) -> list[sympy.Expr]:
    """Moments 0 to `order` of a letter, the first of them 1."""
    return [sympy.Integer(1), *sympy.symbols(f"{letter}_1:{order + 1}")]


def normal_mean(polynomial: sympy.Expr, *variables: sympy.Symbol) -> sympy.Expr:
    """Mean of a polynomial over independent standard normal variables.

    E[z^k] is (k - 1)!! = 1 * 3 * ... * (k - 1) for even k, and 0 for odd k.

    Parameters
    ----------
    polynomial : sympy.Expr
        A polynomial in the variables; other symbols stay.
    *variables : sympy.Symbol
        What is averaged over, one or more.

    Returns
    -------
    sympy.Expr

    Raises
    ------
    ValueError
        If no variables are given, or the expression is no polynomial in them.

    Examples
    --------
    >>> y, z = sympy.symbols("y z")
    >>> sympy.expand(normal_mean((y + SIGMA * z) ** 4, z))
    3*sigma**4 + 6*sigma**2*y**2 + y**4
    """
    try:
        terms = sympy.Poly(polynomial, *variables).terms() if variables else []
    except sympy.PolynomialError:
        terms = []
    if not terms:
        raise ValueError(
            f"got {polynomial} and the variables {variables}; expected a polynomial in one or more variables"
        )
    return sum(c * sympy.prod(0 if k % 2 else sympy.factorial2(k - 1) for k in powers) for powers, c in terms)


def noisy_moments(order: int) -> list[sympy.Expr]:
    """Moments mu_r = E[(y_0 + sigma z)^r] of the noisy coefficient, r = 0 to `order` (eq. 20).

    mu_r = sum_k (r choose k) sigma^(r-k) (r-k-1)!! m_k over even r - k. The paper's mu_r(t) is alpha_bar^(r/2) times
    this at sigma^2 = (1 - alpha_bar) / alpha_bar.

    Examples
    --------
    >>> noisy_moments(3)
    [1, m_1, m_2 + sigma**2, 3*m_1*sigma**2 + m_3]
    """
    return smoothed(moment_symbols("m", order), SIGMA)


def hankel(degree: int, ridge: bool = False) -> sympy.Matrix:
    """H[r, m] = mu_(r+m), plus gamma on the diagonal if there is a ridge, for degree 1, 2 or 3.

    Examples
    --------
    >>> hankel(1, ridge=True)
    Matrix([
    [gamma + 1,         mu_1],
    [     mu_1, gamma + mu_2]])
    """
    return sympy.Matrix(hankel_rows(moment_symbols("mu", 2 * check_degree(degree)), GAMMA if ridge else 0))


def cofactors(degree: int, ridge: bool = False) -> sympy.Matrix:
    """Signed cofactors C[r, m] of `hankel`, rows and columns counted from 0.

    Examples
    --------
    >>> cofactors(1)
    Matrix([
    [ mu_2, -mu_1],
    [-mu_1,     1]])
    """
    return hankel(degree, ridge).cofactor_matrix().expand()


def determinant(degree: int, ridge: bool = False) -> sympy.Expr:
    """Determinant of `hankel`. Without a ridge it goes to 0 with sigma if y_0 takes at most D values.

    Examples
    --------
    >>> determinant(1)
    -mu_1**2 + mu_2
    """
    return hankel(degree, ridge).row(0).dot(cofactors(degree, ridge).row(0)).expand()


def right_side(degree: int, target: str = "denoise") -> sympy.Matrix:
    """Right-hand side b, a column of D + 1.

    "score": b_r = -r mu_(r-1), Stein's identity. "denoise": b_r = E[y^r y_0], in clean moments; this equals
    mu_(r+1) - r sigma^2 mu_(r-1), a difference that loses digits where the noise is far above the signal.

    Examples
    --------
    >>> right_side(2, "score").T, right_side(2).T
    (Matrix([[0, -1, -2*mu_1]]), Matrix([[m_1, m_2, m_1*sigma**2 + m_3]]))
    """
    degree, target = check_degree(degree), check_choice("target", target, TARGETS)
    mu, clean = moment_symbols("mu", degree), moment_symbols("m", degree + 1)
    return sympy.Matrix(right_terms(mu, clean, SIGMA, target, degree))


def solution(degree: int, target: str = "denoise", ridge: bool = False) -> sympy.Matrix:
    """Solution by cofactors, a_m = sum_r b_r C[r, m] / det H, in mu_r and, for "denoise", m_r and sigma.

    For the target "score" this is eq. 21 mended: a_m = -(1 / det H) sum_(r=1)^D r mu_(r-1) C[r, m] for m = 0 to D. As
    printed, the left side lacks the index m, which is free on the right. The indices of C count from 0, like those of
    H; counted from 1, as cofactors often are, r = 1 to D picks the wrong rows. The sign is right.

    Parameters
    ----------
    degree : int, 1 to 3
        Beyond, the expressions explode: det H has 2, 5 and 16 terms, then 58 and 231.
    target : str
        "denoise" for the clean coefficient, "score" for its score; see `right_side`.
    ridge : bool
        Whether gamma stands on the diagonal of H.

    Raises
    ------
    ValueError
        For another degree or target.

    Examples
    --------
    The slope of the scalar Wiener filter, clean variance over noisy variance:

    >>> noisy = dict(zip(sympy.symbols("mu_1 mu_2"), noisy_moments(2)[1:]))
    >>> solution(1).subs(noisy)[1]
    (-m_1**2 + m_2)/(-m_1**2 + m_2 + sigma**2)
    """
    return cofactors(degree, ridge).T * right_side(degree, target) / determinant(degree, ridge)
