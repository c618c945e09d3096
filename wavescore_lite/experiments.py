"""Numbers as tidy rows: which fit, on which images, at what noise, how far off; each row can be made again alone."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import torch
from tqdm import tqdm

from .couplings import band_tied, independent, local_coupled
from .datasets import load_images
from .denoisers import Denoiser, MeanImage, Wiener
from .metrics import denoising_errors
from .noise import SampledNoise
from .scores import JointScore, WaveletScore
from .storage import whole_file
from .wavelets import WaveletBasis

SIGMAS = (1.0, 2.0, 3.0, 4.0)
COUPLINGS = {"independent": independent, "band_tied": band_tied, "local_coupled": local_coupled}
BASELINES = {"mean image": MeanImage, "Wiener": Wiener}
FITS = {"per-wavelet": WaveletScore, "joint": JointScore}
RESIZE = {"mnist": "bilinear, antialiased, from 28 x 28", "strokes": "drawn at this size"}


@dataclass(frozen=True)
class Trial:
    """One denoiser and all that its errors depend on, but for the noise level.

    Attributes
    ----------
    dataset, size, train, test
        Images: the first `train` of the training split are fitted, the first `test` of the test split scored.
    family : str
        "mean image", "Wiener", "independent", "band_tied" or "local_coupled".
    degree, radius, extensions, polynomials, fit, draws, ridge
        What `family` takes; `extensions` are "pure_neighbours", "parent" and "shared", set apart by blanks; draws 0
        integrates the noise out.
    seed : int
        Of the noise.
    """

    dataset: str
    size: int
    train: int
    test: int
    family: str
    degree: int = 1
    radius: int = 0
    extensions: str = ""
    polynomials: str = "monomial"
    fit: str = "per-wavelet"
    draws: int = 0
    ridge: float = 1e-6
    seed: int = 0

    def denoiser(self, sigmas: Sequence[float] = SIGMAS) -> Denoiser:
        """The denoiser, fitted."""
        images = _images(self.dataset, self.size, "train", self.train)
        if self.family in BASELINES:
            return BASELINES[self.family]().fit(images)
        options = dict.fromkeys(self.extensions.split(), True)
        options |= {"radius": self.radius} if self.family == "local_coupled" else {}
        coupling = COUPLINGS[self.family](self.degree, **options)
        model = FITS[self.fit](WaveletBasis(self.size), coupling, self.polynomials, self.ridge)
        return model.fit(images, SampledNoise(sigmas, self.draws, self.seed) if self.draws else None)

    def rows(self, sigmas: Sequence[float] = SIGMAS) -> list[dict[str, object]]:
        """Fit and score: one row for each noise level.

        Returns
        -------
        list of dict
            The trial; sigma; mse and standard_error on the held-out images, clipped to [0, 1]; how many parameters a
            noise level has; seconds the fit took, solutions included.
        """
        started = time.perf_counter()
        model = self.denoiser(sigmas)
        if isinstance(model, WaveletScore | JointScore):
            for sigma in sigmas:
                model.coefficients(sigma)
        seconds = time.perf_counter() - started
        images, out = _images(self.dataset, self.size, "test", self.test), []
        for sigma in sigmas:
            errors = denoising_errors(model, images, sigma, self.seed)
            measured = {
                "resize": RESIZE[self.dataset],
                "sigma": sigma,
                "mse": f"{errors.mean():.7f}",
                "standard_error": f"{errors.std() / len(errors) ** 0.5:.7f}",
                "parameters": getattr(model, "num_parameters", ""),
                "seconds": f"{seconds:.1f}",
            }
            out.append(asdict(self) | measured)
        return out


@lru_cache(maxsize=2)
def _images(dataset: str, size: int, split: str, limit: int) -> torch.Tensor:
    return load_images(dataset, size, split, limit)


def reference(dataset: str) -> list[Trial]:
    """The three families at degrees 1 to 3, fitted both ways, with the baselines, noise integrated out, at 32 x 32.

    On MNIST all 60,000 and 10,000 images; on strokes 4,000 and 1,000, and no fit so large that a test could not make it
    again.
    """
    train, test = (60_000, 10_000) if dataset == "mnist" else (4_000, 1_000)
    common = Trial(dataset, 32, train, test, "mean image")
    trials = [common, replace(common, family="Wiener")]
    for fit in FITS:
        for family in COUPLINGS:
            for degree in (1, 2, 3):
                radius = int(family == "local_coupled")
                trials.append(replace(common, family=family, degree=degree, radius=radius, fit=fit))
    largest = replace(common, family="local_coupled", degree=3, radius=1, fit="joint")
    return trials if dataset == "mnist" else [trial for trial in trials if trial != largest]


def read(path: str | Path) -> list[dict[str, str]]:
    """Rows of a table, all values as text; an absent file has none."""
    path = Path(path)
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def trial_of(row: dict[str, str]) -> Trial:
    """The trial that a row is of.

    Examples
    --------
    >>> trial = Trial("strokes", 32, 100, 10, "Wiener")
    >>> trial_of({name: str(value) for name, value in asdict(trial).items()}) == trial
    True
    """
    kinds = {field.name: {"str": str, "int": int, "float": float}[field.type] for field in fields(Trial)}
    return Trial(**{name: kind(row[name]) for name, kind in kinds.items()})


def run(trials: Iterable[Trial], path: str | Path) -> list[dict[str, str]]:
    """Add the rows of every trial that the table at `path` lacks, writing the table whole after each.

    Stopped at any moment, it goes on where it stopped: a trial's rows are all there, or none.
    """
    rows = read(path)
    done = {trial_of(row) for row in rows}
    for trial in tqdm([trial for trial in trials if trial not in done], desc=str(path), disable=None):
        rows += trial.rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with whole_file(path) as file:
            file.write(text.getvalue().encode())
    return read(path)
