"""What the two fits share: how an estimator is fitted, merged and asked."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

import numpy as np
import torch

from . import model_files
from .bases.protocol import Basis
from .couplings import Coupling
from .denoisers.protocol import WithScore
from .noise import SampledNoise
from .sums import Sums
from .support.checks import check_choice, check_device, check_images, check_ridge, check_sigma
from .support.storage import image_checksum

TARGETS = ("denoise", "score")
POLYNOMIALS = ("monomial", "hermite")
BATCH_COEFFICIENTS, FEWEST = 2**20, 128  # analysed at a time, to stay near a core's cache; images at least
HELD_OUT = 10  # with ridge="auto" every tenth image is held out to choose it
RIDGES = tuple(10.0**k for k in range(-12, 3))  # what is tried


E = TypeVar("E")  # equations of a kind of fit
S = TypeVar("S")  # and their solution


class SingularGram(ValueError):
    """A system that has no solution at the ridge it was given."""

    def __init__(self, model: Estimator[Any, Any], ridge: float) -> None:
        super().__init__(f"the Gram of {model.coupling!r} is singular at ridge {ridge:g}; expected a ridge > 0")


class Estimator(WithScore, ABC, Generic[E, S]):
    """A score that is linear in polynomial features: sums over images, and one solution for each noise level.

    `WaveletScore` and `JointScore` say which sums, how to solve, and how to predict. Their parameters are described
    there.
    """

    kind: ClassVar[str]
    kept_solutions: ClassVar[int]  # noise levels whose solution is remembered

    def __init__(
        self,
        basis: Basis,
        coupling: Coupling,
        polynomials: str = "monomial",
        ridge: float | str = 1e-6,
        target: str = "denoise",
        value_range: tuple[float, float] | None = (0.0, 1.0),
        device: str = "cpu",
    ) -> None:
        self.basis, self.coupling = basis, coupling
        self.polynomials = check_choice("polynomials", polynomials, POLYNOMIALS)
        self.ridge = ridge if ridge == "auto" else check_ridge(ridge)
        self.target = check_choice("target", target, TARGETS)
        self.value_range = value_range
        self.device = check_device(device)
        if target == "score" and not basis.orthonormal:
            raise ValueError(
                f"target is 'score', but coefficient noise is correlated in {basis!r}, and Stein's identity would need "
                "derivatives by every coefficient; expected target='denoise', or a WaveletBasis"
            )
        self.groups = coupling.groups(basis)
        self.moments: Sums[E] | None = None
        self.held_out: Sums[E] | None = None
        self.data = 0
        self._solved: dict[float, S] = {}
        self._ridges: dict[float, float] = {}
        self._prepare()

    def __repr__(self) -> str:
        ridge = repr(self.ridge) if self.ridge == "auto" else f"{self.ridge:g}"
        return (
            f"{self.kind}({self.basis!r}, {self.coupling!r}, polynomials={self.polynomials!r}, "
            f"ridge={ridge}, target={self.target!r})"
        )

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Parameters at one noise level."""

    def _prepare(self) -> None:
        """What a fit needs besides; nothing by default."""

    @abstractmethod
    def _new_moments(self, noise: SampledNoise | None) -> Sums[E]:
        """Sums over no image."""

    @abstractmethod
    def _solve(self, equations: E, ridge: float, overwrite: bool = False) -> S:
        """The solution of equations, in their own memory if that may be overwritten; SingularGram if there is none."""

    @abstractmethod
    def _risk(self, solution: S, equations: E) -> float:
        """E|x_0 - denoise(x_sigma)|^2, summed over coefficients, less what no solution changes.

        The equations are of all closed monomials, over the images that the risk is for.
        """

    @abstractmethod
    def _predict(self, solution: S, coefficients: torch.Tensor) -> torch.Tensor:
        """Clean coefficients or their scores [d, n] from noisy coefficients [d, n]."""

    def fit(self, images: torch.Tensor, noise: SampledNoise | None = None) -> Self:
        """Fit on clean images, forgetting any fit before.

        Parameters
        ----------
        images : tensor [n, height, width], float32 or float64, clean
        noise : SampledNoise, optional
            Fit on noisy copies at given sigmas. By default the noise is integrated out, and every sigma is fitted.

        Returns
        -------
        The model itself.

        Raises
        ------
        TypeError, ValueError
            For images of another shape or dtype, out of range, not finite, or none at all; in a frame also if no
            sampled noise is given.
        MemoryError
            If the sums would not fit into memory.
        """
        images = check_images(images, self.basis.shape, self.value_range)
        self._start(noise)
        return self._add(images)

    def partial_fit(self, images: torch.Tensor) -> Self:
        """Add clean images to the fit; any split into batches gives the same model.

        A model that is not fitted yet starts with the noise integrated out; for sampled noise `fit` comes first.
        """
        images = check_images(images, self.basis.shape, self.value_range)
        if self.moments is None:
            self._start(None)
        return self._add(images)

    def merge(self, other: Self) -> Self:
        """The fit of both models' images together, as a new model.

        Raises
        ------
        ValueError
            If the models differ in basis, coupling, polynomials, ridge, target or value range, or one is fitted on
            sampled noise and the other is not.
        RuntimeError
            If one of them is not fitted.
        """
        alike = repr(self) == repr(other) and self.basis == other.basis and self.value_range == other.value_range
        if not alike:
            raise ValueError(f"cannot merge {self!r} with {other!r}; expected two models made alike")
        ours, theirs = self._fitted(), other._fitted()
        merged = self._unsolved_copy()
        merged.moments = ours.merge(theirs)
        if self.held_out is not None and other.held_out is not None:
            merged.held_out = self.held_out.merge(other.held_out)
        merged.data = (self.data + other.data) % 2**64
        return merged

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
        """The ridge in use at noise level sigma: with ridge="auto" the one of least error on the held-out images."""
        fitted, sigma = self._fitted(), check_sigma(sigma)
        if not isinstance(self.ridge, str):
            return self.ridge
        if sigma not in self._ridges:
            if self.held_out is None or not self.held_out.count:
                raise ValueError(f"too few images: {fitted.seen}; expected at least {HELD_OUT} with ridge='auto'")
            ours, theirs = fitted.equations(sigma, self.polynomials), self.held_out.equations(sigma, closed=True)

            def risk(ridge: float) -> float:
                try:
                    return self._risk(self._solve(ours, ridge), theirs)
                except SingularGram:
                    return np.inf

            self._ridges[sigma] = min(RIDGES, key=risk)
        return self._ridges[sigma]

    @overload
    def risk(self, sigma: float, images: torch.Tensor | None = None) -> float: ...

    @overload
    def risk(self, sigma: Sequence[float], images: torch.Tensor | None = None) -> torch.Tensor: ...

    def risk(self, sigma: float | Sequence[float], images: torch.Tensor | None = None) -> float | torch.Tensor:
        """Mean squared error of the estimate per pixel, before clipping, with the noise integrated out.

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
        if images is not None:
            probe = self._unsolved_copy()
            probe.ridge, probe.value_range = 0.0, None
            moments = probe.fit(images)._fitted()
        else:
            moments = self._everything()
            if moments.noise is not None:
                raise ValueError("the fit is on sampled noise; expected images to integrate the risk over")
        several = [sigma] if isinstance(sigma, float | int) else list(sigma)
        risks = [
            self._risk(self._solution(level), moments.equations(level, closed=True)) / self.basis.dim
            for level in map(check_sigma, several)
        ]
        return risks[0] if isinstance(sigma, float | int) else torch.tensor(risks, dtype=torch.float64)

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy].

        Parameters
        ----------
        noisy : tensor [n, height, width], float32 or float64
        sigma : float > 0
            Standard deviation of the noise in a pixel.

        Returns
        -------
        tensor [n, height, width] of the same dtype and device, not clipped

        Raises
        ------
        RuntimeError
            If the model is not fitted.
        TypeError, ValueError
            For other images, or a sigma that is not > 0 or was not fitted.
        """
        noisy, solution = check_images(noisy, self.basis.shape), self._solution(sigma)
        y = self.basis.analyze(noisy.to(self.device)).T.contiguous()
        predicted = self._predict(solution, y)
        if self.target == "score":
            predicted = y + float(sigma) ** 2 * predicted
        return self.basis.synthesize(predicted.T).to(noisy.device)

    @property
    def fingerprint(self) -> str:
        """What images the sums are over: their number and a checksum, the same in any order and any split."""
        return f"{self._fitted().seen} images {self.data:016x}"

    def save(self, path: str | Path) -> None:
        """Write the model, with its sums, to an npz file, all of it or nothing; `load` reads it."""
        model_files.save(self, path)

    @classmethod
    def load(cls, path: str | Path, basis: Basis | None = None, device: str = "cpu") -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        basis : Basis, optional
            The basis that the model is expected to be in.
        device : str
            Where the model is to live: "cpu" or "cuda".

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is cut short, damaged, of another version, or of another basis than the one expected.
        """
        return model_files.load(cls, path, basis, device)

    def _start(self, noise: SampledNoise | None) -> None:
        """Begin a fit."""
        if noise is None and not self.basis.orthonormal:
            raise ValueError(
                f"coefficient noise is correlated in {self.basis!r}, and the noise can be integrated out only where it "
                "is independent; expected fit(images, noise=SampledNoise(...)), or a WaveletBasis"
            )
        self.moments = self._new_moments(noise)
        self.held_out = self.moments.empty() if self.ridge == "auto" else None
        self.data = 0

    def _add(self, images: torch.Tensor) -> Self:
        """Sum over images that were checked."""
        moments = self._fitted()
        for batch in images.split(max(FEWEST, BATCH_COEFFICIENTS // self.basis.dim)):
            coefficients = self.basis.analyze(batch.to(self.device).double())
            if self.held_out is None:
                moments.update(coefficients)
            else:
                held = (moments.seen + torch.arange(len(batch))) % HELD_OUT == HELD_OUT - 1
                moments.update(coefficients, ~held)
                self.held_out.update(coefficients, held)
            self.data = (self.data + image_checksum(batch)) % 2**64
        self._solved.clear()
        self._ridges.clear()
        return self

    def _fitted(self) -> Sums[E]:
        if self.moments is None:
            raise RuntimeError(f"{self!r} is not fitted; expected fit(images) or load(path) first")
        return self.moments

    def _unsolved_copy(self) -> Self:
        """The same estimator without a fit."""
        other = copy.copy(self)
        other.moments = other.held_out = None
        other.data, other._solved, other._ridges = self.data, {}, {}
        return other

    def _everything(self) -> Sums[E]:
        """Sums over all images, those included that are held out to choose the ridge."""
        moments = self._fitted()
        return moments if self.held_out is None else moments.plus(self.held_out)

    def _solution(self, sigma: float) -> S:
        """The solution at a noise level; the latest ones are kept."""
        self._fitted()
        sigma = check_sigma(sigma)
        if sigma not in self._solved:
            ridge = self.chosen_ridge(sigma)
            solution = self._solve(self._everything().equations(sigma, self.polynomials), ridge, overwrite=True)
            while len(self._solved) >= self.kept_solutions:
                self._solved.pop(next(iter(self._solved)))
            self._solved[sigma] = solution
        return self._solved[sigma]
