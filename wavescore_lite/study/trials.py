"""What is measured: a trial is a denoiser, as a value, and all else that its errors depend on.

Tables have a row for each trial, evaluation and noise level. `columns` and `trial_of` are the one way from values to
columns and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ..joint_score import JointScore
from ..scores import WaveletScore
from ..support.checks import check_choice
from .candidates import Analytic, Baseline, Candidate, Fitted, Trained, load

IMAGES = ("dataset", "size", "train", "test")  # what a table is about, and its first columns
# Columns of a denoiser, in their order, with what stands there where it has no such thing.
NOT_GIVEN: dict[str, object] = {
    **{"family": "", "degree": 0, "radius": 0, "extensions": "", "polynomials": "", "fit": "", "draws": 0},
    **{"ridge": 0.0, "seed": 0, "weights": ""},
}


@dataclass(frozen=True)
class Trial:
    """One denoiser and all that its errors depend on, but for the noise level.

    Attributes
    ----------
    dataset, size, train, test
        Images: the first `train` of the training split are fitted, the first `test` of the test split scored. (What a
        network was trained on, its own command says.)
    denoiser : Baseline, Analytic or Trained
    seed : int
        Of the noise.
    """

    dataset: str
    size: int
    train: int
    test: int
    denoiser: Candidate
    seed: int = 0

    @property
    def name(self) -> str:
        """What tells it from the other trials of a plan.

        Examples
        --------
        >>> from wavescore_lite import local_coupled
        >>> common = Trial("mnist", 32, 60_000, 10_000, Baseline("Wiener"))
        >>> local = replace(common, denoiser=Analytic(local_coupled(3, radius=1), fit="joint", draws=1))
        >>> common.name, local.name
        ('Wiener', 'local_coupled D=3 r=1 joint 1-draw')
        """
        return self.denoiser.name + (f" seed={self.seed}" if self.seed else "")

    @property
    def family(self) -> str:
        """A baseline, the family of a coupling, or the design of a network."""
        return self.denoiser.family

    @property
    def fit(self) -> str:
        """How a wavelet score is fitted, "per-wavelet" or "joint"; empty for others."""
        return self.denoiser.fit

    @property
    def draws(self) -> int:
        """Draws of noise that a wavelet score is fitted on; 0 where the noise is integrated out, and for others."""
        return self.denoiser.draws

    @property
    def sigmas(self) -> tuple[float, ...]:
        """At which noise levels it is measured."""
        return self.denoiser.sigmas

    @property
    def evaluations(self) -> tuple[str, ...]:
        """On what the errors are taken."""
        return self.denoiser.evaluations

    def model(self) -> WaveletScore | JointScore:
        """The wavelet score, not fitted; a TypeError for others, which have none."""
        return self.denoiser.model(self.size)

    def changed(self, **changes: Any) -> Trial:
        """Another trial, by what is different: in itself, in its denoiser, or in the coupling of that.

        Examples
        --------
        >>> from wavescore_lite import independent
        >>> trial = Trial("mnist", 32, 60_000, 10_000, Analytic(independent(3)))
        >>> trial.changed(degree=2, ridge=1e-3, seed=1).name
        'independent D=2 per-wavelet ridge=0.001 seed=1'
        """
        own = {field.name: changes.pop(field.name) for field in fields(self) if field.name in changes}
        return replace(self, **{"denoiser": self.denoiser.changed(**changes), **own})

    def fitted(self, sigmas: Sequence[float] | None = None) -> Fitted:
        """The denoiser, fitted, for the noise levels `sigmas`, by default its own."""
        levels = self.sigmas if sigmas is None else sigmas
        return self.denoiser.fitted(self.dataset, self.size, self.train, levels, self.seed)

    def images(self, split: str, count: int) -> torch.Tensor:
        """The first images of a split, kept in memory."""
        return load(self.dataset, self.size, split, count)


def rivals(trial: Trial) -> dict[str, Trial]:
    """What a trial is to be compared with, image by image, by a key that says in what the two differ.

    Wavelet scores: "Wiener"; "degree", one less; "coupling", independent coefficients; "extension", without it, or with
    radius 1; "lines", linear terms of the same neighbours and nothing else; "polynomials", monomials; "fit", per
    wavelet; "draws", noise integrated out. Networks: the two baselines, and the best of two families in both fits.

    Examples
    --------
    >>> from wavescore_lite import band_tied
    >>> trial = Trial("mnist", 32, 60_000, 10_000, Analytic(band_tied(2), fit="joint"))
    >>> {key: rival.name for key, rival in rivals(trial).items()}  # doctest: +NORMALIZE_WHITESPACE
    {'Wiener': 'Wiener', 'degree': 'band_tied D=1 joint', 'coupling': 'independent D=2 joint',
     'fit': 'band_tied D=2 per-wavelet'}
    """
    others = {"Wiener": Baseline("Wiener")} | trial.denoiser.rivals()
    return {key: replace(trial, denoiser=other) for key, other in others.items() if other != trial.denoiser}


def joint_model(trial: Trial) -> JointScore:
    """The joint fit of a trial, not fitted; a TypeError if it is none."""
    model = trial.model()
    if not isinstance(model, JointScore):
        raise TypeError(f"{trial.name} is no joint fit; expected one")
    return model


def columns(trial: Trial) -> dict[str, object]:
    """A trial as the first columns of a row.

    Examples
    --------
    >>> row = columns(Trial("strokes", 32, 100, 10, Baseline("Wiener")))
    >>> list(row.values())
    ['strokes', 32, 100, 10, 'Wiener', 0, 0, '', '', '', 0, 0.0, 0, '']
    """
    images = {name: getattr(trial, name) for name in IMAGES}
    return images | NOT_GIVEN | trial.denoiser.columns() | {"seed": trial.seed}


def trial_of(row: Mapping[str, str]) -> Trial:
    """The trial that a row of a table is of.

    Raises
    ------
    ValueError
        If its family is in no registry.

    Examples
    --------
    >>> from wavescore_lite import band_tied
    >>> trial = Trial("strokes", 32, 100, 10, Analytic(band_tied(2), draws=1))
    >>> trial_of({name: str(value) for name, value in columns(trial).items()}) == trial
    True
    """
    kind = _kinds()[check_family(row)]
    size, train, test, seed = (int(row[name]) for name in ("size", "train", "test", "seed"))
    return Trial(row["dataset"], size, train, test, kind.of(row), seed)


def check_family(row: Mapping[str, str]) -> str:
    """The family of a row of a table; a ValueError if it is in no registry."""
    return check_choice("family", row["family"], tuple(_kinds()))


def _kinds() -> dict[str, type[Candidate]]:
    return {family: kind for kind in (Baseline, Analytic, Trained) for family in kind.registry}
