"""What the two fits share: how an estimator is fitted, merged, asked, and kept in a file."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from .bases.frames import WaveletFrame
from .bases.wavelets import WaveletBasis
from .couplings import Coupling, Group
from .moments import Sums
from .noise import SampledNoise
from .polynomials import PolynomialFamily
from .support import storage
from .support.checks import check_choice, check_device, check_images, check_ridge, check_sigma

TARGETS = ("denoise", "score")
POLYNOMIALS = ("monomial", "hermite")
ANALYSED, FEWEST = 2**20, 128  # coefficients analysed at a time, which stay near a core's cache; images at least
HELD_OUT = 10  # with ridge="auto" every tenth image is held out to choose it
RIDGES = tuple(10.0**k for k in range(-12, 3))  # what is tried


class SingularGram(ValueError):
    """A system that has no solution at the ridge it was given."""

    def __init__(self, model: Estimator, ridge: float) -> None:
        super().__init__(f"the Gram of {model.coupling!r} is singular at ridge {ridge:g}; expected a ridge > 0")


class Estimator(ABC):
    """A score that is linear in polynomial features: sums over images, and one solution for each noise level.

    `WaveletScore` and `JointScore` say which sums, how to solve, and how to predict. Their parameters are described
    there.
    """

    kind: ClassVar[str]
    kept_solutions: ClassVar[int]  # noise levels whose solution is remembered

    def __init__(
        self,
        basis: WaveletBasis | WaveletFrame,
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
        self.moments: Sums | None = None
        self.held_out: Sums | None = None
        self.data = 0
        self._solved: dict[float, Any] = {}
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

    def _prepare(self) -> None:  # noqa: B027
        """What a fit needs besides; nothing by default."""

    @abstractmethod
    def _new_moments(self, noise: SampledNoise | None) -> Sums:
        """Sums over no image."""

    @abstractmethod
    def _solve(self, moments: Sums, sigma: float, ridge: float) -> Any:
        """The solution at one noise level; SingularGram if there is none."""

    @abstractmethod
    def _risk(self, solution: Any, moments: Sums, sigma: float) -> float:
        """E|x_0 - denoise(x_sigma)|^2, summed over coefficients, less what no solution changes."""

    @abstractmethod
    def _predict(self, solution: Any, coefficients: torch.Tensor) -> torch.Tensor:
        """Clean coefficients or their scores [d, n] from noisy coefficients [d, n]."""

    def fit(self, images: torch.Tensor, noise: SampledNoise | None = None) -> Self:
        """Fit on clean images, forgetting any fit before.

        Parameters
        ----------
        images : tensor [n, size, size], float32 or float64, clean
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
        images = check_images(images, self.basis.size, self.value_range)
        self._start(noise)
        return self._add(images)

    def partial_fit(self, images: torch.Tensor) -> Self:
        """Add clean images to the fit; any split into batches gives the same model.

        A model that is not fitted yet starts with the noise integrated out; for sampled noise `fit` comes first.
        """
        images = check_images(images, self.basis.size, self.value_range)
        if self.moments is None:
            self._start(None)
        return self._add(images)

    def merge(self, other: Estimator) -> Self:
        """The fit of both models' images together, as a new model.

        Raises
        ------
        ValueError
            If the models differ in basis, coupling, polynomials, ridge, target or value range, or one is fitted on
            sampled noise and the other is not.
        RuntimeError
            If one of them is not fitted.
        """
        if repr(self) != repr(other) or self.value_range != other.value_range:
            raise ValueError(f"cannot merge {self!r} with {other!r}; expected two models made alike")
        ours, theirs = self._fitted(), other._fitted()
        merged = self._unsolved_copy()
        merged.moments = ours.merge(theirs)
        merged.held_out = self.held_out and self.held_out.merge(other.held_out)
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
        self._fitted()
        sigma = check_sigma(sigma)
        if self.ridge != "auto":
            return self.ridge
        if sigma not in self._ridges:
            if not self.held_out.count:
                raise ValueError(f"too few images: {self.moments.seen}; expected at least {HELD_OUT} with ridge='auto'")
            self._ridges[sigma] = min(RIDGES, key=lambda ridge: self._held_out_risk(sigma, ridge))
        return self._ridges[sigma]

    def risk(self, sigma: float, images: torch.Tensor | None = None) -> float:
        """Mean squared error of the estimate per pixel, before clipping, with the noise integrated out.

        Parameters
        ----------
        sigma : float > 0
        images : tensor [n, size, size], optional
            Clean images; by default those of the fit, if it integrates the noise out.

        Returns
        -------
        float
            E|x_0 - denoise(x_0 + sigma z)|^2 / size^2, without sampling error.

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
            moments = probe.fit(images).moments
        else:
            moments = self._everything()
            if moments.noise is not None:
                raise ValueError("the fit is on sampled noise; expected images to integrate the risk over")
        return self._risk(self._solution(sigma), moments, check_sigma(sigma)) / self.basis.size**2

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy].

        Parameters
        ----------
        noisy : tensor [n, size, size], float32 or float64
        sigma : float > 0
            Standard deviation of the noise in a pixel.

        Returns
        -------
        tensor [n, size, size] of the same dtype and device, not clipped

        Raises
        ------
        RuntimeError
            If the model is not fitted.
        TypeError, ValueError
            For other images, or a sigma that is not > 0 or was not fitted.
        """
        noisy, solution = check_images(noisy, self.basis.size), self._solution(sigma)
        y = self.basis.analyze(noisy.to(self.device)).T.contiguous()
        predicted = self._predict(solution, y)
        if self.target == "score":
            predicted = y + float(sigma) ** 2 * predicted
        return self.basis.synthesize(predicted.T).to(noisy.device)

    def score(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Score (denoise - noisy) / sigma^2 at the noisy images, same shape; see `denoise`."""
        noisy = check_images(noisy, self.basis.size)
        return (self.denoise(noisy, sigma) - noisy) / float(sigma) ** 2

    @property
    def fingerprint(self) -> str:
        """What images the sums are over: their number and a checksum, the same in any order and any split."""
        return f"{self._fitted().seen} images {self.data:016x}"

    def save(self, path: str | Path) -> None:
        """Write the model, with its sums, to an npz file, all of it or nothing; `load` reads it."""
        moments = self._fitted()
        header = {
            "kind": self.kind,
            "basis": self.basis.options,
            "coupling": self.coupling.name,
            "polynomials": self.polynomials,
            "ridge": self.ridge,
            "target": self.target,
            "value_range": self.value_range,
            "noise": moments.noise and asdict(moments.noise),
            "data": self.data,
            "counts": [[sums.count, sums.seen] for sums in (moments, self.held_out) if sums],
        }
        arrays = {name: total.cpu().numpy() for name, total in moments.totals.items()}
        if self.held_out:
            arrays |= {f"held_out_{name}": total.cpu().numpy() for name, total in self.held_out.totals.items()}
        for k, group in enumerate(self.groups):
            arrays |= {f"neighbours_{k}": group.neighbours, f"exponents_{k}": group.family.exponents}
            if group.ties is not None:
                arrays[f"ties_{k}"] = group.ties
        storage.write(path, header, arrays)

    @classmethod
    def load(cls, path: str | Path, basis: WaveletBasis | WaveletFrame | None = None, device: str = "cpu") -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        basis : WaveletBasis or WaveletFrame, optional
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
        header, arrays = storage.read(path, cls.kind)
        own_basis = (WaveletFrame if "mode" in header["basis"] else WaveletBasis)(**header["basis"])
        if basis is not None and basis != own_basis:
            raise ValueError(f"{path} is of {own_basis!r}; expected {basis!r}")
        groups = [
            Group(arrays[f"neighbours_{k}"], PolynomialFamily(arrays[f"exponents_{k}"]), arrays.get(f"ties_{k}"))
            for k in range(sum(name.startswith("neighbours_") for name in arrays))
        ]
        value_range = header["value_range"] and tuple(header["value_range"])
        options = {name: header[name] for name in ("polynomials", "ridge", "target")}
        coupling = Coupling(header["coupling"], lambda _: groups)
        model = cls(own_basis, coupling, value_range=value_range, device=device, **options)
        model._start(header["noise"] and SampledNoise(**header["noise"]))
        model.data = header["data"]
        for prefix, sums, counts in zip(
            ("", "held_out_"), (model.moments, model.held_out), header["counts"], strict=False
        ):
            named = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            sums.restore(named, *counts, path)
        return model

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
        for batch in images.split(max(FEWEST, ANALYSED // self.basis.dim)):
            coefficients = self.basis.analyze(batch.to(self.device).double())
            if self.held_out is None:
                self.moments.update(coefficients)
            else:
                held = (self.moments.seen + torch.arange(len(batch))) % HELD_OUT == HELD_OUT - 1
                self.moments.update(coefficients, ~held)
                self.held_out.update(coefficients, held)
            self.data = (self.data + storage.fingerprint(batch)) % 2**64
        self._solved.clear()
        self._ridges.clear()
        return self

    def _fitted(self) -> Sums:
        if self.moments is None:
            raise RuntimeError(f"{self!r} is not fitted; expected fit(images) or load(path) first")
        return self.moments

    def _unsolved_copy(self) -> Self:
        """The same estimator without a fit."""
        other = copy.copy(self)
        other.moments = other.held_out = None
        other.data, other._solved, other._ridges = self.data, {}, {}
        return other

    def _everything(self) -> Sums:
        """Sums over all images, those included that are held out to choose the ridge."""
        moments = self._fitted()
        return moments if self.held_out is None else moments.plus(self.held_out)

    def _held_out_risk(self, sigma: float, ridge: float) -> float:
        try:
            return self._risk(self._solve(self.moments, sigma, ridge), self.held_out, sigma)
        except SingularGram:
            return np.inf

    def _solution(self, sigma: float) -> Any:
        """The solution at a noise level; the latest ones are kept."""
        self._fitted()
        sigma = check_sigma(sigma)
        if sigma not in self._solved:
            solution = self._solve(self._everything(), sigma, self.chosen_ridge(sigma))
            while len(self._solved) >= self.kept_solutions:
                self._solved.pop(next(iter(self._solved)))
            self._solved[sigma] = solution
        return self._solved[sigma]
