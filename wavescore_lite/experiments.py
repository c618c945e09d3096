"""Numbers as tidy rows: which fit, on which images, at what noise, how far off; each row can be made again alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm import tqdm

from .couplings import band_tied, independent, local_coupled
from .datasets import load_images
from .denoisers import Denoiser, MeanImage, PosteriorMean, Wiener
from .metrics import image_quality
from .noise import FITTING, SCORING, SampledNoise
from .scores import JointScore, WaveletScore
from .storage import read_rows, write_rows
from .wavelets import WaveletBasis

SIGMAS = (1.0, 2.0, 3.0, 4.0)
COUPLINGS = {"independent": independent, "band_tied": band_tied, "local_coupled": local_coupled}
BASELINES = {"mean image": MeanImage, "Wiener": Wiener, "posterior mean": PosteriorMean}
FITS = {"per-wavelet": WaveletScore, "joint": JointScore}
HELD_OUT, FRESH, OWN = "held-out", "fitted images, fresh noise", "fitted images and noise"
HIGHEST_JOINT = {  # degree of exact joint fits, and of those on one draw; by whether images are at most 32 x 32
    ("independent", True): (3, 3),
    ("band_tied", True): (3, 3),
    ("local_coupled", True): (3, 2),
    ("independent", False): (3, 1),
    ("band_tied", False): (2, 0),
    ("local_coupled", False): (1, 0),
}
EXTENSIONS = {
    "independent": ("parent", "shared"),
    "band_tied": ("parent",),
    "local_coupled": ("pure_neighbours", "pure_neighbours parent", "parent", "shared"),
}
RESIZE = {"mnist": "bilinear, antialiased, from 28 x 28", "strokes": "drawn at this size"}


@dataclass(frozen=True)
class Trial:
    """One denoiser and all that its errors depend on, but for the noise level.

    Attributes
    ----------
    dataset, size, train, test
        Images: the first `train` of the training split are fitted, the first `test` of the test split scored.
    family : str
        "mean image", "Wiener", "posterior mean", "independent", "band_tied" or "local_coupled".
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

    @property
    def evaluations(self) -> tuple[str, ...]:
        """On what the errors are taken: held-out images, and for wavelet fits per coefficient or on drawn noise more.

        Fitted images are as many as the held-out ones, the first of those that were fitted.
        """
        if self.family in BASELINES or (self.fit == "joint" and not self.draws):
            return (HELD_OUT,)
        return (HELD_OUT, FRESH, OWN) if self.draws else (HELD_OUT, FRESH)

    def rows(
        self, sigmas: Sequence[float] = SIGMAS, evaluations: Sequence[str] | None = None
    ) -> list[dict[str, object]]:
        """Fit and score: one row for each evaluation, all by default, and noise level.

        Returns
        -------
        list of dict
            The trial; evaluation; sigma; mse with its standard error, psnr in decibel and ssim, means over the images
            after clipping to [0, 1] (ssim is empty for images smaller than its window); how many parameters a noise
            level has; seconds the fit took, solutions included; the version of the package.
        """
        started = time.perf_counter()
        model = self.denoiser(sigmas)
        if isinstance(model, WaveletScore | JointScore):
            for sigma in sigmas:
                model.coefficients(sigma)
        constant = {
            "resize": RESIZE[self.dataset],
            "parameters": getattr(model, "num_parameters", ""),
            "seconds": f"{time.perf_counter() - started:.1f}",
            "version": version("wavescore-lite"),
        }
        out = []
        for evaluation in evaluations or self.evaluations:
            split, limit = ("test", self.test) if evaluation == HELD_OUT else ("train", min(self.test, self.train))
            images = _images(self.dataset, self.size, split, limit)
            stream = FITTING if evaluation == OWN else SCORING
            for sigma in sigmas:
                quality = image_quality(model, images, sigma, self.seed, stream=stream)
                out.append(asdict(self) | {"evaluation": evaluation, "sigma": sigma} | _summary(quality) | constant)
        return out


def _summary(quality: dict[str, torch.Tensor]) -> dict[str, str]:
    errors = quality["mse"]
    summary = {"mse": f"{errors.mean():.7f}", "standard_error": f"{errors.std() / len(errors) ** 0.5:.7f}"}
    for name, digits in (("psnr", 3), ("ssim", 5)):
        summary[name] = f"{quality[name].mean():.{digits}f}" if name in quality else ""
    return summary


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
            trials += degrees(common, family, fit=fit)
    largest = replace(common, family="local_coupled", degree=3, radius=1, fit="joint")
    return trials if dataset == "mnist" else [trial for trial in trials if trial != largest]


def degrees(common: Trial, family: str, highest: int = 3, **changes: object) -> list[Trial]:
    """Degree 1 to `highest` of a family; local coupling with radius 1, unless another is given."""
    local = {"radius": 1} if family == "local_coupled" else {}
    return [replace(common, family=family, degree=degree, **local | changes) for degree in range(1, highest + 1)]


def figures(dataset: str, size: int, train: int = 60_000, test: int = 10_000) -> dict[str, list[Trial]]:
    """What each figure of the paper's section 4 and appendix A shows, and the extensions, as trials.

    Parameters
    ----------
    dataset, size, train, test
        Images, as for `Trial`.

    Returns
    -------
    dict of str to list of Trial
        "baselines"; "independent" (the paper's Figs. 5a and 6a), "band-tied" (5b, 6b) and "local" (5c and appendix A),
        each per wavelet and joint, with the noise integrated out and with one draw, as far as memory and an hour allow;
        "draws", how one draw becomes exact; "hermite" (appendix A); "extensions": further neighbours, linear neighbour
        terms, parents, shared parameters.

    Examples
    --------
    >>> trials = figures("strokes", 32)
    >>> sorted(trials)
    ['band-tied', 'baselines', 'draws', 'extensions', 'hermite', 'independent', 'local']
    """
    common = Trial(dataset, size, train, test, "mean image")
    plan: dict[str, list[Trial]] = {"baselines": [replace(common, family=family) for family in BASELINES]}
    names = {"independent": "independent", "band-tied": "band_tied", "local": "local_coupled"}
    for name, family in names.items():
        plan[name] = [*degrees(common, family), *degrees(common, family, draws=1)]
        joint, drawn = HIGHEST_JOINT[family, size <= 32]
        plan[name] += [
            *degrees(common, family, joint, fit="joint"),
            *degrees(common, family, drawn, fit="joint", draws=1),
        ]
    plan["draws"] = [t for draws in (2, 4) for t in degrees(common, "band_tied", fit="joint", draws=draws)[-1:]]
    plan["hermite"] = [
        replace(trial, polynomials="hermite", fit=fit)
        for family, fit in [*((family, "per-wavelet") for family in COUPLINGS), ("independent", "joint")]
        for trial in degrees(common, family)[1:]
    ]
    plan["extensions"] = [
        *degrees(common, "local_coupled", radius=2),
        *(t for words in EXTENSIONS["local_coupled"] for t in degrees(common, "local_coupled", extensions=words)),
        *(t for words in EXTENSIONS["band_tied"] for t in degrees(common, "band_tied", extensions=words)),
        *(t for words in EXTENSIONS["independent"] for t in degrees(common, "independent", extensions=words)),
    ]
    if size > 32:  # one draw of a joint fit sums a Gram of its own at each level, which takes hours there
        del plan["draws"]
    return plan


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

    Raises
    ------
    ValueError
        After all others were run, if trials were refused, for want of memory or of images: which, and why.
    """
    rows, refused = read_rows(path), []
    done = {trial_of(row) for row in rows}
    for trial in tqdm([t for t in dict.fromkeys(trials) if t not in done], desc=str(path), disable=None):
        try:
            rows += trial.rows()
        except (ValueError, MemoryError) as reason:
            refused.append(f"{trial}: {reason}")
            continue
        write_rows(path, rows)
    if refused:
        raise ValueError("\n".join([f"{len(refused)} trials were refused:", *refused]))
    return read_rows(path)
