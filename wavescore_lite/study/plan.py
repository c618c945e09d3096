"""The plan: which trials the figures of the paper show, and the extensions of its families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..couplings import FAMILIES, local_coupled
from ..denoisers import BASELINES
from ..networks import trained
from .candidates import Analytic, Baseline, Trained
from .families import couple
from .trials import Trial, joint_model

# Degree of exact joint fits, and of those on one draw; by whether images are at most 32 x 32. For a family that is
# not listed: (1, 0).
HIGHEST_JOINT: dict[tuple[str, bool], tuple[int, int]] = {
    ("independent", True): (3, 3),
    ("band_tied", True): (3, 3),
    ("local_coupled", True): (3, 2),
    ("independent", False): (3, 1),
    ("band_tied", False): (2, 0),
    ("local_coupled", False): (1, 0),
}
GENERATED = 8_000  # features of joint fits that are sampled from, at most: each noise level is a system of its own
# Options of families that are measured beside the usual ones; an option that is not named here is not measured.
EXTENSIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "local_coupled": (
        {"pure_neighbours": True},
        {"pure_neighbours": True, "parent": True},
        {"parent": True},
        {"shared": True},
    ),
    "band_tied": ({"parent": True},),
    "independent": ({"parent": True}, {"shared": True}),
}
PANELS = {  # of the paper's Figs. 5 and 6: what `figures` calls it, and the size
    **{"5a": ("independent", 32), "5b": ("band_tied", 32), "5c": ("local_coupled", 32), "5d": ("networks", 32)},
    **{"6a": ("independent", 64), "6b": ("band_tied", 64)},
}


def figures(dataset: str, size: int, train: int = 60_000, test: int = 10_000) -> dict[str, list[Trial]]:
    """What each figure of the paper's section 4 and appendix A shows, and the extensions, as trials.

    Parameters
    ----------
    dataset, size, train, test
        Images, as for `Trial`.

    Returns
    -------
    dict of str to list of Trial
        "baselines"; "networks" that come with the package (the paper's Fig. 5d); each family of `couplings.FAMILIES`
        ("independent", Figs. 5a and 6a, "band_tied", 5b and 6b, "local_coupled", 5c and appendix A), per wavelet and
        joint, with the noise integrated out and with one draw, as far as memory and an hour allow; "hermite" (appendix
        A); "extensions": further neighbours, linear neighbour terms, parents, shared parameters; "draws", two draws, on
        the way from one to exact.

    Examples
    --------
    >>> list(figures("strokes", 32))
    ['baselines', 'networks', 'independent', 'band_tied', 'local_coupled', 'hermite', 'extensions', 'draws']
    """
    common = Trial(dataset, size, train, test, Baseline("mean image"))
    plan = {"baselines": [replace(common, denoiser=Baseline(name)) for name in BASELINES]}
    plan["networks"] = [replace(common, denoiser=network) for network in networks(dataset, size) if not network.seed]
    for family in FAMILIES:
        joint, drawn = HIGHEST_JOINT.get((family, size <= 32), (1, 0))
        plan[family] = [
            *degrees(common, family),
            *degrees(common, family, draws=1),
            *degrees(common, family, joint, fit="joint"),
            *filter(_determined, degrees(common, family, drawn, fit="joint", draws=1)),
        ]
    plan["hermite"] = [
        trial
        for family, fit in [*((family, "per-wavelet") for family in FAMILIES), ("independent", "joint")]
        for trial in degrees(common, family, polynomials="hermite", fit=fit)[1:]
    ]
    further = [local_coupled(degree, radius=2) for degree in (2, 3)]
    extended = [(family, options) for family, each in EXTENSIONS.items() for options in each]
    further += [couple(family, degree=degree, **options) for family, options in extended for degree in (1, 3)]
    plan["extensions"] = [replace(common, denoiser=Analytic(coupling)) for coupling in further]
    if size <= 32:  # above, one draw of a joint fit takes hours: a Gram of its own at each level
        plan["draws"] = list(filter(_determined, degrees(common, "independent", fit="joint", draws=2)[1:]))
    return plan


def networks(dataset: str, size: int) -> list[Trained]:
    """The networks that come with the package for a dataset at a size."""
    return [Trained(row["network"], row["sha256"][:12], int(row["seed"])) for row in trained(dataset, size)]


def generators(dataset: str, size: int, train: int = 60_000, test: int = 10_000) -> list[Trial]:
    """What is sampled from: baselines, all networks, and each family of degree 1 to 3, per wavelet and joint.

    Joint fits are those that solve in seconds a level, of at most GENERATED features.

    Examples
    --------
    >>> [trial.name for trial in generators("mnist", 32) if trial.fit == "joint"]  # doctest: +NORMALIZE_WHITESPACE
    ['independent D=1 joint', 'independent D=2 joint', 'independent D=3 joint', 'band_tied D=1 joint',
     'band_tied D=2 joint', 'band_tied D=3 joint', 'local_coupled D=1 r=1 joint', 'local_coupled D=2 r=1 joint']
    """
    common = Trial(dataset, size, train, test, Baseline("mean image"))
    found = [replace(common, denoiser=candidate) for candidate in [*map(Baseline, BASELINES), *networks(dataset, size)]]
    for family in FAMILIES:
        found += degrees(common, family)
        joint = degrees(common, family, fit="joint")
        found += [trial for trial in joint if len(joint_model(trial).features) <= GENERATED]
    return found


def degrees(common: Trial, family: str, highest: int = 3, **how: Any) -> list[Trial]:
    """Degree 1 to `highest` of a family on the images of another trial; `how` it is fitted, as for `Analytic`."""
    couplings = [couple(family, degree=degree) for degree in range(1, highest + 1)]
    return [replace(common, denoiser=Analytic(coupling, **how)) for coupling in couplings]


def left_out(plan: Mapping[str, list[Trial]]) -> list[Trial]:
    """Exact joint fits of degree 1 to 3 that a plan of `figures` lacks; `why_left_out` says why.

    Examples
    --------
    >>> [trial.name for trial in left_out(figures("mnist", 64))]
    ['band_tied D=3 joint', 'local_coupled D=2 r=1 joint', 'local_coupled D=3 r=1 joint']
    """
    common = plan["baselines"][0]
    planned = {trial for trials in plan.values() for trial in trials}
    return [t for family in FAMILIES for t in degrees(common, family, fit="joint") if t not in planned]


def why_left_out(trial: Trial) -> str:
    """Why a joint fit is not planned: it is large, or nobody has said up to which degree its family is fitted.

    Examples
    --------
    >>> why_left_out(left_out(figures("mnist", 64))[0])
    'P = 25,889, 21 GiB'
    """
    if (trial.family, trial.size <= 32) not in HIGHEST_JOINT:
        return "no degree is set for its family in HIGHEST_JOINT"
    model = joint_model(trial)
    return f"P = {len(model.features):,}, {model.memory() / 2**30:.0f} GiB"


def chosen(names: list[str], plan: Mapping[str, list[Trial]], size: int) -> list[str]:
    """Keys of a plan that are named: by a panel of the paper, or by as much of a key as tells it from the others.

    Raises
    ------
    ValueError
        If a name is none of them.

    Examples
    --------
    >>> chosen(["band-tied", "local", "5a"], figures("strokes", 32), 32)
    ['independent', 'band_tied', 'local_coupled']
    """
    panels = {panel: key for panel, (key, at) in PANELS.items() if at == size}
    found = {name: panels.get(name) or _completed(name.replace("-", "_"), plan) for name in names}
    if unknown := [name for name, key in found.items() if not key]:
        known = ", ".join([*plan, *panels])
        raise ValueError(f"figure is {', '.join(unknown)}; expected one of {known} at size {size}")
    return [key for key in plan if key in found.values()]


def _completed(start: str, plan: Mapping[str, list[Trial]]) -> str:
    alike = [key for key in plan if key.startswith(start)]
    return start if start in plan else alike[0] if len(alike) == 1 else ""


def _determined(trial: Trial) -> bool:
    """Whether a joint fit on drawn noise has at least as many noisy images as features."""
    return len(joint_model(trial).features) <= trial.train * trial.draws
