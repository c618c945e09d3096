"""What is measured: a trial is a denoiser and all that its errors depend on; and the plan of the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import torch

from ..bases.wavelets import WaveletBasis
from ..couplings import Coupling, band_tied, independent, local_coupled
from ..data import load_images
from ..denoisers import Denoiser, MeanImage, PosteriorMean, Wiener
from ..networks.backbones import DESIGNS
from ..networks.files import load_network, trained
from ..noise import SampledNoise
from ..scores import JointScore, WaveletScore

SIGMAS = (1.0, 2.0, 3.0, 4.0)  # the paper's
LEVELS = (0.25, 0.5, *SIGMAS)  # where the noise is integrated out, which costs no sums of their own
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
PANELS = {  # of the paper's Figs. 5 and 6: what `figures` calls it, and the size
    **{"5a": ("independent", 32), "5b": ("band-tied", 32), "5c": ("local", 32), "5d": ("networks", 32)},
    **{"6a": ("independent", 64), "6b": ("band-tied", 64)},
}
RIDGE = 1e-6


@dataclass(frozen=True)
class Trial:
    """One denoiser and all that its errors depend on, but for the noise level.

    Attributes
    ----------
    dataset, size, train, test
        Images: the first `train` of the training split are fitted, the first `test` of the test split scored. (What a
        network was trained on, its own command says.)
    family : str
        "mean image", "Wiener", "posterior mean", "independent", "band_tied", "local_coupled", or the design of a
        trained network.
    degree, radius, extensions, polynomials, fit, draws, ridge
        What a coupling takes; `extensions` are "pure_neighbours", "parent" and "shared", set apart by blanks; draws 0
        integrates the noise out. Other families take none of them.
    seed : int
        Of the noise.
    weights : str
        First digits of the checksum of a network's weights.
    """

    dataset: str
    size: int
    train: int
    test: int
    family: str
    degree: int = 0
    radius: int = 0
    extensions: str = ""
    polynomials: str = ""
    fit: str = ""
    draws: int = 0
    ridge: float = 0.0
    seed: int = 0
    weights: str = ""

    @property
    def name(self) -> str:
        """What tells it from the other trials of a plan.

        Examples
        --------
        >>> common = Trial("mnist", 32, 60_000, 10_000, "Wiener")
        >>> common.name, analytic(common, "local_coupled", 3, radius=1, fit="joint", draws=1).name
        ('Wiener', 'local_coupled D=3 r=1 joint 1-draw')
        """
        words = [self.family]
        if self.family in COUPLINGS:
            words += [f"D={self.degree}", *([f"r={self.radius}"] if self.radius else []), *self.extensions.split()]
            words += ["hermite"] * (self.polynomials == "hermite") + [self.fit]
            words += [f"{self.draws}-draw"] * bool(self.draws) + [f"ridge={self.ridge:g}"] * (self.ridge != RIDGE)
        return " ".join([*words, *([f"seed={self.seed}"] if self.seed else [])])

    @property
    def sigmas(self) -> tuple[float, ...]:
        """At which noise levels it is measured: sums on drawn noise are one set for each level, so fewer of them."""
        return SIGMAS if self.draws else LEVELS

    @property
    def evaluations(self) -> tuple[str, ...]:
        """On what the errors are taken: held-out images, and for wavelet fits per coefficient or on drawn noise more.

        Fitted images are as many as the held-out ones, the first of those that were fitted.
        """
        if self.family not in COUPLINGS or (self.fit == "joint" and not self.draws):
            return (HELD_OUT,)
        return (HELD_OUT, FRESH, OWN) if self.draws else (HELD_OUT, FRESH)

    def coupling(self) -> Coupling:
        """The coupling of a wavelet score."""
        options = dict.fromkeys(self.extensions.split(), True)
        options |= {"radius": self.radius} if self.family == "local_coupled" else {}
        return COUPLINGS[self.family](self.degree, **options)

    def model(self) -> WaveletScore | JointScore:
        """The wavelet score, not fitted."""
        return FITS[self.fit](WaveletBasis(self.size), self.coupling(), self.polynomials, self.ridge)

    def denoiser(self, sigmas: Sequence[float] | None = None) -> Denoiser:
        """The denoiser, fitted, for drawn noise at the levels `sigmas`."""
        if self.family in DESIGNS:
            return load_network(self.family, self.size, self.dataset)
        images = self.images("train", self.train)
        if self.family in BASELINES:
            return BASELINES[self.family]().fit(images)
        noise = SampledNoise(sigmas or self.sigmas, self.draws, self.seed) if self.draws else None
        return self.model().fit(images, noise)

    def images(self, split: str, limit: int) -> torch.Tensor:
        """The first images of a split, kept in memory."""
        return _images(self.dataset, self.size, split, limit)


@lru_cache(maxsize=3)
def _images(dataset: str, size: int, split: str, limit: int) -> torch.Tensor:
    return load_images(dataset, size, split, limit)


def analytic(common: Trial, family: str, degree: int, **changes: object) -> Trial:
    """A wavelet score on the images of another trial: monomials, per wavelet, the usual ridge, unless changed."""
    usual = {"polynomials": "monomial", "fit": "per-wavelet", "ridge": RIDGE}
    return replace(common, family=family, degree=degree, **usual | changes)


def degrees(common: Trial, family: str, highest: int = 3, **changes: object) -> list[Trial]:
    """Degree 1 to `highest` of a family; local coupling with radius 1, unless another is given."""
    local = {"radius": 1} if family == "local_coupled" else {}
    return [analytic(common, family, degree, **local | changes) for degree in range(1, highest + 1)]


def figures(dataset: str, size: int, train: int = 60_000, test: int = 10_000) -> dict[str, list[Trial]]:
    """What each figure of the paper's section 4 and appendix A shows, and the extensions, as trials.

    Parameters
    ----------
    dataset, size, train, test
        Images, as for `Trial`.

    Returns
    -------
    dict of str to list of Trial
        "baselines"; "networks" that come with the package (the paper's Fig. 5d); "independent" (Figs. 5a and 6a),
        "band-tied" (5b, 6b) and "local" (5c and appendix A), each per wavelet and joint, with the noise integrated out
        and with one draw, as far as memory and an hour allow; "draws", two draws, on the way from one to exact;
        "hermite" (appendix A); "extensions": further neighbours, linear neighbour terms, parents, shared parameters.

    Examples
    --------
    >>> trials = figures("strokes", 32)
    >>> sorted(trials)
    ['band-tied', 'baselines', 'draws', 'extensions', 'hermite', 'independent', 'local', 'networks']
    """
    common = Trial(dataset, size, train, test, "mean image")
    plan = {"baselines": [replace(common, family=family) for family in BASELINES]}
    plan["networks"] = [
        replace(common, family=row["network"], weights=row["sha256"][:12]) for row in trained(dataset, size)
    ]
    names = {"independent": "independent", "band-tied": "band_tied", "local": "local_coupled"}
    for name, family in names.items():
        joint, drawn = HIGHEST_JOINT[family, size <= 32]
        plan[name] = [
            *degrees(common, family),
            *degrees(common, family, draws=1),
            *degrees(common, family, joint, fit="joint"),
            *filter(_determined, degrees(common, family, drawn, fit="joint", draws=1)),
        ]
    plan["hermite"] = [
        trial
        for family, fit in [*((family, "per-wavelet") for family in COUPLINGS), ("independent", "joint")]
        for trial in degrees(common, family, polynomials="hermite", fit=fit)[1:]
    ]
    plan["extensions"] = degrees(common, "local_coupled", radius=2)[1:] + [
        analytic(common, family, degree, radius=int(family == "local_coupled"), extensions=words)
        for family in reversed(EXTENSIONS)
        for words in EXTENSIONS[family]
        for degree in (1, 3)
    ]
    if size <= 32:  # above, one draw of a joint fit takes hours: a Gram of its own at each level
        plan["draws"] = list(filter(_determined, degrees(common, "independent", fit="joint", draws=2)[1:]))
    return plan


def _determined(trial: Trial) -> bool:
    """Whether a joint fit on drawn noise has at least as many noisy images as features."""
    return len(trial.model().features) <= trial.train * trial.draws


def left_out(plan: dict[str, list[Trial]]) -> list[Trial]:
    """Exact joint fits of degree 1 to 3 that a plan of `figures` lacks, for want of memory or time.

    Examples
    --------
    >>> [trial.name for trial in left_out(figures("mnist", 64))]
    ['band_tied D=3 joint', 'local_coupled D=2 r=1 joint', 'local_coupled D=3 r=1 joint']
    """
    common = plan["baselines"][0]
    planned = {trial for trials in plan.values() for trial in trials}
    return [t for family in COUPLINGS for t in degrees(common, family, fit="joint") if t not in planned]


def rivals(trial: Trial) -> dict[str, Trial]:
    """What a trial is to be compared with, image by image, by a key that says in what the two differ.

    Wavelet scores: "Wiener"; "degree", one less; "coupling", independent coefficients; "extension", without it, or with
    radius 1; "lines", linear terms of the same neighbours and nothing else; "polynomials", monomials; "fit", per
    wavelet; "draws", noise integrated out. Networks: the two baselines, and the best of two families in both fits.

    Examples
    --------
    >>> trial = analytic(Trial("mnist", 32, 60_000, 10_000, "Wiener"), "band_tied", 2, fit="joint")
    >>> {key: rival.name for key, rival in rivals(trial).items()}  # doctest: +NORMALIZE_WHITESPACE
    {'Wiener': 'Wiener', 'degree': 'band_tied D=1 joint', 'coupling': 'independent D=2 joint',
     'fit': 'band_tied D=2 per-wavelet'}
    """
    plain = Trial(trial.dataset, trial.size, trial.train, trial.test, "Wiener", seed=trial.seed)
    found = {} if trial == plain else {"Wiener": plain}
    if trial.family in BASELINES:
        return found
    if trial.family in DESIGNS:
        found["posterior mean"] = replace(plain, family="posterior mean")
        families = ("independent", "local_coupled")
        return found | {f"{family} {fit}": degrees(plain, family, fit=fit)[-1] for family in families for fit in FITS}
    if trial.degree > 1:
        found["degree"] = replace(trial, degree=trial.degree - 1)
    if trial.family != "independent":
        found["coupling"] = replace(trial, family="independent", radius=0, extensions="")
    if trial.extensions or trial.radius > 1:
        found["extension"] = replace(trial, extensions="", radius=min(trial.radius, 1))
    if trial.family == "local_coupled" and not trial.extensions:
        found["lines"] = replace(trial, degree=1, extensions="pure_neighbours")
    if trial.polynomials == "hermite":
        found["polynomials"] = replace(trial, polynomials="monomial")
    if trial.fit == "joint":
        found["fit"] = replace(trial, fit="per-wavelet")
    if trial.draws:
        found["draws"] = replace(trial, draws=0)
    return found


def trial_of(row: dict[str, str]) -> Trial:
    """The trial that a row of a table is of.

    Examples
    --------
    >>> from dataclasses import asdict
    >>> trial = Trial("strokes", 32, 100, 10, "Wiener")
    >>> trial_of({name: str(value) for name, value in asdict(trial).items()}) == trial
    True
    """
    kinds = {field.name: {"str": str, "int": int, "float": float}[field.type] for field in fields(Trial)}
    return Trial(**{name: kind(row[name]) for name, kind in kinds.items()})
