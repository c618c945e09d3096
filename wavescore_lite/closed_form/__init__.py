"""Closed forms of the independent family: eq. 20-21 of the paper, derived by sympy and compiled to numpy.

The powers 1, y, ..., y^D of one noisy coefficient y = y_0 + sigma z give a Hankel system H a = b, H[r, m] = mu_(r+m).
By Cramer's rule a is a quotient of polynomials in the clean moments m_k = E[y_0^k] and sigma. For D = 1, 2, 3 it is
short enough to write out, and one evaluation serves all coefficients and noise levels.

`derivation` writes it in symbols, `evaluation` turns it into functions of numbers and of fitted models, and `digits`
says how many of the digits are right; `system` is the arithmetic that they share.
"""

from .derivation import cofactors, determinant, hankel, noisy_moments, normal_mean, right_side, solution
from .digits import Digits, correct_digits
from .evaluation import ClosedForm, clean_moments, coefficients, compiled, in_noisy_units

__all__ = [
    "ClosedForm",
    "Digits",
    "clean_moments",
    "coefficients",
    "cofactors",
    "compiled",
    "correct_digits",
    "determinant",
    "hankel",
    "in_noisy_units",
    "noisy_moments",
    "normal_mean",
    "right_side",
    "solution",
]
