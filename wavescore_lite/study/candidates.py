"""Denoisers as values, not fitted: baselines, trained networks and wavelet scores.

Each knows its name, how it is made, at what it is measured, what it is to be compared with, and its part of a row in a
table. Families, baselines and designs come from their registries: `couplings.FAMILIES`, `denoisers.BASELINES` and
`networks.DESIGNS`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import torch

from ..bases import WaveletBasis
from ..couplings import FAMILIES, Coupling, independent, local_coupled
from ..data import load_images
from ..denoisers import BASELINES, Denoiser
from ..joint_score import JointScore
from ..networks import DESIGNS, load_network, training_log
from ..noise import SampledNoise
from ..scores import WaveletScore
from ..support.checks import check_choice
from .families import check_coupling, columns_of, couple, coupling_of, extensions

SIGMAS = (1.0, 2.0, 3.0, 4.0)  # the paper's
LEVELS = (0.25, 0.5, *SIGMAS)  # where the noise is integrated out, which costs no sums of their own
HELD_OUT, FRESH, OWN = "held-out", "fitted images, fresh noise", "fitted images and noise"
FITS: dict[str, type[WaveletScore] | type[JointScore]] = {"per-wavelet": WaveletScore, "joint": JointScore}
RIDGE = 1e-6


class Fitted(NamedTuple):
    """A denoiser, and the seconds that it took to fit or train, as text; empty if nobody knows."""

    model: Denoiser
    seconds: str


class Candidate(ABC):
    """A denoiser as a value, not fitted: what baselines, trained networks and wavelet scores have in common."""

    registry: ClassVar[Mapping[str, object]]  # all that there are, by name
    fit = ""
    draws = 0

    @property
    @abstractmethod
    def family(self) -> str:
        """Its name in the registry."""

    @property
    def name(self) -> str:
        """What tells it from the others of a plan."""
        return self.family

    @property
    def sigmas(self) -> tuple[float, ...]:
        """At which noise levels it is measured."""
        return LEVELS

    @property
    def evaluations(self) -> tuple[str, ...]:
        """On what its errors are taken."""
        return (HELD_OUT,)

    @abstractmethod
    def fitted(self, dataset: str, size: int, train: int, sigmas: Sequence[float], seed: int) -> Fitted:
        """The denoiser, fitted on the first `train` images, for noise levels `sigmas`; noise is drawn from `seed`."""

    def model(self, size: int) -> WaveletScore | JointScore:
        """The wavelet score for images of size x size, not fitted; a TypeError for others."""
        raise TypeError(f"{self.name} is no wavelet score; expected one")

    def changed(self, **changes: Any) -> Candidate:
        """Another one, by what is different: how it is fitted, or options of its coupling."""
        if changes:
            raise TypeError(f"{self.name} has no {', '.join(changes)}; expected a wavelet score")
        return self

    def rivals(self) -> dict[str, Candidate]:
        """What it is to be compared with, beside Wiener, by a key that says in what the two differ."""
        return {}

    def columns(self) -> dict[str, object]:
        """Its part of a row, as far as it is given."""
        return {"family": self.family}

    @classmethod
    @abstractmethod
    def of(cls, row: Mapping[str, str]) -> Candidate:
        """The denoiser that a row is of."""


@dataclass(frozen=True)
class Baseline(Candidate):
    """One of `denoisers.BASELINES`, by name."""

    baseline: str
    registry = BASELINES

    def __post_init__(self) -> None:
        check_choice("baseline", self.baseline, tuple(BASELINES))

    @property
    def family(self) -> str:
        return self.baseline

    def fitted(self, dataset: str, size: int, train: int, sigmas: Sequence[float], seed: int) -> Fitted:
        images = load(dataset, size, "train", train)
        return _timed(lambda: BASELINES[self.baseline]().fit(images))

    @classmethod
    def of(cls, row: Mapping[str, str]) -> Baseline:
        return cls(row["family"])


@dataclass(frozen=True)
class Trained(Candidate):
    """A network that comes with the package: design, first digits of the checksum of its weights, seed of training."""

    design: str
    weights: str
    seed: int = 0
    registry = DESIGNS

    def __post_init__(self) -> None:
        check_choice("design of a network", self.design, tuple(DESIGNS))

    @property
    def family(self) -> str:
        return self.design

    def fitted(self, dataset: str, size: int, train: int, sigmas: Sequence[float], seed: int) -> Fitted:
        log = training_log(self.design, size, dataset, seed=self.seed)
        return Fitted(load_network(self.design, size, dataset, seed=self.seed), log[-1]["seconds"] if log else "")

    @property
    def name(self) -> str:
        return self.design + (f" trained from seed {self.seed}" if self.seed else "")

    def rivals(self) -> dict[str, Candidate]:
        best = [Analytic(coupling, fit=fit) for coupling in (independent(3), local_coupled(3)) for fit in FITS]
        return {"posterior mean": Baseline("posterior mean")} | {f"{score.family} {score.fit}": score for score in best}

    def columns(self) -> dict[str, object]:
        return {"family": self.family, "weights": self.weights}

    @classmethod
    def of(cls, row: Mapping[str, str]) -> Trained:
        return cls(row["family"], row["weights"])


@dataclass(frozen=True)
class Analytic(Candidate):
    """A wavelet score: a coupling, of one of `couplings.FAMILIES`, and its fit; 0 draws integrate the noise out.

    Examples
    --------
    >>> Analytic(independent(2), fit="joint").name
    'independent D=2 joint'
    >>> Analytic(independent(2), fit="at once")
    Traceback (most recent call last):
    ...
    ValueError: fit is 'at once'; expected one of 'per-wavelet', 'joint'
    """

    coupling: Coupling
    polynomials: str = "monomial"
    fit: str = "per-wavelet"
    draws: int = 0
    ridge: float = RIDGE
    registry = FAMILIES

    def __post_init__(self) -> None:
        check_coupling(self.coupling)
        check_choice("polynomials", self.polynomials, ("monomial", "hermite"))
        check_choice("fit", self.fit, tuple(FITS))

    @property
    def family(self) -> str:
        return self.coupling.family

    @property
    def name(self) -> str:
        options = self.coupling.options
        words = [self.family, f"D={options['degree']}", *([f"r={radius}"] if (radius := options.get("radius")) else [])]
        words += [*extensions(self.coupling), *["hermite"] * (self.polynomials == "hermite"), self.fit]
        words += [f"{self.draws}-draw"] * bool(self.draws) + [f"ridge={self.ridge:g}"] * (self.ridge != RIDGE)
        return " ".join(words)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Sums on drawn noise are one set for each level, so fewer of them."""
        return SIGMAS if self.draws else LEVELS

    @property
    def evaluations(self) -> tuple[str, ...]:
        """Fitted images too, as many as are held out, for fits per wavelet or on drawn noise."""
        if self.draws:
            return (HELD_OUT, FRESH, OWN)
        return (HELD_OUT,) if self.fit == "joint" else (HELD_OUT, FRESH)

    def model(self, size: int) -> WaveletScore | JointScore:
        """The bare polynomial, which the paper is about."""
        return FITS[self.fit](WaveletBasis(size), self.coupling, self.polynomials, self.ridge, bounded=False)

    def fitted(self, dataset: str, size: int, train: int, sigmas: Sequence[float], seed: int) -> Fitted:
        images = load(dataset, size, "train", train)
        noise = SampledNoise(sigmas, self.draws, seed) if self.draws else None

        def fit() -> WaveletScore | JointScore:
            model = self.model(size)
            model.fit(images, noise)
            for sigma in sigmas:
                model.coefficients(sigma)
            return model

        return _timed(fit)

    def changed(self, **changes: Any) -> Analytic:
        own = {field.name for field in fields(self)}
        how = {name: value for name, value in changes.items() if name in own}
        options = {**self.coupling.options, **{name: value for name, value in changes.items() if name not in own}}
        return replace(self, **{"coupling": couple(self.family, **options), **how})

    def rivals(self) -> dict[str, Candidate]:
        found: dict[str, Candidate] = {}
        options = self.coupling.options
        degree, radius, extended = options["degree"], options.get("radius", 0), bool(extensions(self.coupling))
        if degree > 1:
            found["degree"] = self.changed(degree=degree - 1)
        if self.family != "independent":
            found["coupling"] = replace(self, coupling=independent(degree))
        if extended or radius > 1:
            nearest = {"radius": min(radius, 1)} if "radius" in options else {}
            found["extension"] = replace(self, coupling=couple(self.family, degree=degree, **nearest))
        if "pure_neighbours" in options and not extended:
            found["lines"] = self.changed(degree=1, pure_neighbours=True)
        if self.polynomials == "hermite":
            found["polynomials"] = self.changed(polynomials="monomial")
        if self.fit == "joint":
            found["fit"] = self.changed(fit="per-wavelet")
        if self.draws:
            found["draws"] = self.changed(draws=0)
        return found

    def columns(self) -> dict[str, object]:
        how = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "coupling"}
        return columns_of(self.coupling) | how

    @classmethod
    def of(cls, row: Mapping[str, str]) -> Analytic:
        draws, ridge = int(row["draws"]), float(row["ridge"])
        return cls(coupling_of(row), row["polynomials"], row["fit"], draws, ridge)


@lru_cache(maxsize=3)
def load(dataset: str, size: int, split: str, count: int) -> torch.Tensor:
    """The first images of a split, kept in memory."""
    return load_images(dataset, size, split, count)


def _timed(fit: Callable[[], Denoiser]) -> Fitted:
    started = time.perf_counter()
    model = fit()
    return Fitted(model, f"{time.perf_counter() - started:.1f}")
