"""What the two fits share: a solution for each noise level, its exact risk, the choice of a ridge, and estimates."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

import numpy as np
import torch

from .denoisers.protocol import EVERY_SIGMA, WithScore
from .fitting import E, Fit
from .sums import Sums
from .support.checks import check_ridge, check_sigma, untransformed

RIDGES = tuple(10.0**k for k in range(-12, 3))  # what ridge="auto" tries
ILL_CONDITIONED = 1 / float(np.finfo(float).eps)
FAR = 10.0  # standard deviations from zero
ROUNDING = 1e-9  # relative range of a coefficient that does not vary

S = TypeVar("S")  # the solution of equations


class SingularGram(ValueError):
    """A system that has no solution at the ridge it was given."""

    def __init__(self, model: Estimator[Any, Any], ridge: float) -> None:
        super().__init__(f"the Gram of {model.coupling!r} is singular at ridge {ridge:g}; expected a larger one")


class Estimator(WithScore, Fit[E], Generic[E, S]):
    """A score that is linear in polynomial features: sums over images, and one solution for each noise level.

    `WaveletScore` and `JointScore` say which sums, how to solve, and how to predict. Their parameters are described
    there.
    """

    kept_solutions: ClassVar[int]  # noise levels whose solution is remembered

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Parameters at one noise level."""

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and largest noise level that it answers for: any, or of those that sampled noise was fitted at."""
        only = self.fitted_sigmas
        return (only[0], only[-1]) if only else EVERY_SIGMA

    @property
    def fitted_sigmas(self) -> tuple[float, ...] | None:
        """The noise levels of sampled noise, in ascending order; None if the noise is integrated out."""
        noise = self.moments.noise if self.moments else None
        return tuple(sorted(noise.sigmas)) if noise else None

    @property
    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Least and largest clean value of each coefficient over the fitted images, two tensors [d], float64.

        Targets that share parameters share them, so that what is equivariant stays so.
        """
        parts = [sums for sums in (self._fitted(), self.held_out) if sums]
        lowest, highest = (torch.stack(ends) for ends in zip(*((s.lowest, s.highest) for s in parts), strict=True))
        ends = lowest.amin(dim=0), highest.amax(dim=0)
        for group in (group for group in self.groups if group.ties is not None):
            targets = torch.from_numpy(group.targets)
            for end, extreme in zip(ends, ("amin", "amax"), strict=True):
                end[targets] = group.extreme(end[targets], extreme)
        return ends

    @abstractmethod
    def _solve(self, equations: E, ridge: float, overwrite: bool = False) -> tuple[S, float]:
        """The solution of equations, and their condition number; SingularGram if there is none.

        It is found in their own memory if that may be overwritten.
        """

    @abstractmethod
    def _spread(self, solution: S) -> torch.Tensor:
        """Standard deviation [d] of each noisy coefficient."""

    @abstractmethod
    def _risk(self, solution: S, equations: E) -> float:
        """E|x_0 - denoise(x_sigma)|^2, summed over coefficients, less what no solution changes.

        The equations are of all closed monomials, over the images that the risk is for.
        """

    @abstractmethod
    def _predict(self, solution: S, coefficients: torch.Tensor) -> torch.Tensor:
        """Clean coefficients or their scores [d, n] from noisy coefficients [d, n]."""

    def with_ridge(self, ridge: float) -> Self:
        """The same fit with another ridge, as a new model: the sums are shared, nothing is summed again.

        A path of ridges is `[model.with_ridge(gamma) for gamma in ...]`.
        """
        if self.held_out is not None:
            raise ValueError('ridge is "auto" and holds images out; expected a model with a number for its ridge')
        other = self._unsolved_copy()
        other.ridge, other.moments = check_ridge(ridge), self.moments
        return other

    def chosen_ridge(self, sigma: float) -> float:
        """The ridge in use at noise level sigma: with ridge="auto" the one of least error on the held-out images.

        Among few images chance may hold out none, or all; then the same images serve to fit and to choose.
        """
        fitted, sigma = self._fitted(), check_sigma(sigma)
        if not isinstance(self.ridge, str):
            return self.ridge
        if sigma not in self._ridges:
            filled = [sums for sums in (fitted, self.held_out) if sums and sums.count] or [fitted]
            ours, theirs = filled[0].equations(sigma, self.polynomials), filled[-1].closed_equations(sigma)

            def risk(ridge: float) -> float:
                try:
                    return self._risk(self._solve(ours, ridge)[0], theirs)
                except SingularGram:
                    return np.inf

            self._ridges[sigma] = min(RIDGES, key=risk)
        return self._ridges[sigma]

    @overload
    def risk(self, sigma: float, images: torch.Tensor | None = None) -> float: ...

    @overload
    def risk(self, sigma: Sequence[float], images: torch.Tensor | None = None) -> torch.Tensor: ...

    def risk(self, sigma: float | Sequence[float], images: torch.Tensor | None = None) -> float | torch.Tensor:
        """Mean squared error of the bare polynomial's estimate per pixel, with the noise integrated out.

        Keeping estimates within `bounds` can only lower it, on images whose coefficients lie there.

        Parameters
        ----------
        sigma : float > 0, or a sequence of S of them
            The images are summed once for all.
        images : tensor [n, height, width], optional
            Clean images; by default those of the fit, if it integrates the noise out.

        Returns
        -------
        float, or tensor [S], float64
            E|x_0 - denoise(x_0 + sigma z)|^2 / pixels, without sampling error.

        Raises
        ------
        ValueError
            In a frame, or without images if the fit is on sampled noise.
        """
        if not self.basis.orthonormal:
            raise ValueError(f"noise is not integrated out in {self.basis!r}; expected a model in a WaveletBasis")
        theirs: Sums[E] | None = None
        if images is not None:
            probe = self._unsolved_copy()
            probe.ridge, probe.value_range = 0.0, None
            theirs = probe.fit(images).moments
        elif self.fitted_sigmas:
            raise ValueError("the fit is on sampled noise; expected images to integrate the risk over")
        risks = []
        for level in map(check_sigma, np.atleast_1d(np.asarray(sigma)).tolist()):
            solution = self._solution(level)
            equations = (theirs or self._everything()).closed_equations(level)
            risks.append(self._risk(solution, equations) / self.basis.dim)
        return risks[0] if np.ndim(sigma) == 0 else torch.tensor(risks, dtype=torch.float64)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.basis.shape

    def starts(self, normal: torch.Tensor, sigma: float) -> torch.Tensor:
        """Gaussian coefficients of the noisy data's mean and variance, each for itself: see `WithScore.starts`."""
        mean, variance = (part.to(normal) for part in self._everything().gaussian(sigma))
        if not self.basis.orthonormal:
            return self.basis.synthesize(mean[None]) + sigma * normal
        return self.basis.synthesize(mean + variance.sqrt() * self.basis.analyze(normal))

    def _denoise(self, images: torch.Tensor, sigma: float) -> torch.Tensor:
        solution = self._solution(sigma)
        y = self.basis.analyze(images.to(self.device)).T.contiguous()
        if self.bounded:  # beyond this, powers overflow, and every estimate has long reached its bound
            room = torch.finfo(y.dtype).max ** (1 / (1 + max(group.family.degree for group in self.groups)))
            farthest = room * self._spread(solution).to(y)[:, None]
            y = y.clamp(-farthest, farthest)
        predicted = self._predict(solution, y)
        if self.target == "score":
            predicted = y + sigma**2 * predicted
        if self.bounded:
            predicted = predicted.clamp(*(end.to(y)[:, None] for end in self.bounds))
        return self.basis.synthesize(predicted.T).to(images.device)

    @property
    def _expected(self) -> str:
        return f"{super()._expected}{'' if self.bounded else ', or a model with bounded=True'}"

    def _solution(self, sigma: float) -> S:
        """The solution at a noise level; the latest ones are kept."""
        with untransformed():
            sigma, ridge = check_sigma(sigma), self.chosen_ridge(sigma)
        if sigma not in self._solved:
            with untransformed():
                sums = self._everything()
                solution, condition = self._solve(sums.equations(sigma, self.polynomials), ridge, overwrite=True)
                self._warn(sigma, condition, sums)
            while len(self._solved) >= self.kept_solutions:
                self._solved.pop(next(iter(self._solved)))
            self._solved[sigma] = solution
        return self._solved[sigma]

    def _warn(self, sigma: float, condition: float, sums: Sums[E]) -> None:
        """Say, once for a fit, that digits are lost or the ridge is felt far from the mean, as scipy's solvers do."""
        mean, variance = sums.gaussian(sigma)
        varying = (sums.highest - sums.lowest).cpu() > ROUNDING * mean.abs()
        distance = (varying * mean.abs() / variance.sqrt()).max().item()
        if not self._told and (condition > ILL_CONDITIONED or distance > FAR):
            from scipy.linalg import LinAlgWarning

            self._told = True
            warnings.warn(
                f"{self!r} may be inaccurate at sigma {sigma:g}: the condition number is {condition:.1e}, and "
                f"coefficients lie up to {distance:.1f} standard deviations from zero; expected at most "
                f"{ILL_CONDITIONED:.1e} and {FAR:g}: a larger ridge, a lower degree, or images nearer to zero",
                LinAlgWarning,
                stacklevel=2,
            )
