"""All that is measured of a set of samples, in one row; and how far each number is to be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch

from ..bases.protocol import Basis
from ..bases.wavelets import WaveletBasis
from ..support.checks import check_images, check_integer
from .features import frechet_distance, kernel_distance, unbiased_frechet_distance
from .neighbours import density_coverage, memorisation, precision_recall
from .pixels import moment_discrepancies, sliced_wasserstein, spectrum_distance


class Featured(Protocol):
    """What tells images by features, as `Classifier` does."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features [n, f] of images [n, height, width]."""


def sample_quality(
    samples: torch.Tensor,
    reference: torch.Tensor,
    classifier: Featured,
    basis: Basis | None = None,
    training: torch.Tensor | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Compare samples with real images, in every way the package knows.

    Parameters
    ----------
    samples : tensor [n, height, width], float32 or float64
        Such as `sample` draws; values may leave [0, 1].
    reference : tensor [m, height, width]
        Images that no model was fitted on, at least as many.
    classifier : object with .features
        Whose features are compared, see `load_classifier`. At least 260 samples are needed for its 64 features.
    basis : Basis, optional
        In which moments are taken; by default the wavelets of `WaveletBasis`.
    training : tensor [k, height, width], optional
        The images that the model was fitted on, to look for copies of them.
    seed : int
        Of cuts, directions, and the choice of as many references as samples.

    Returns
    -------
    dict of float
        Of features: "frechet", "frechet_unbiased", "kernel"; "precision", "recall", "density" and "coverage", which
        depend on numbers and so take n of the references, drawn at random. Of pixels: "mean", "variance", "skewness"
        and "kurtosis" of coefficients, "spectrum" in decibels, "sliced" Wasserstein distance. With training images also
        "nearest" and "copied", beside the same n references. From precision to coverage more is better, of distances
        less; the functions of this room say what each is.

    Raises
    ------
    TypeError, ValueError
        For other images, or too few.

    Examples
    --------
    >>> from wavescore_lite import load_classifier, load_images
    >>> test = load_images("strokes", split="test", limit=1200)
    >>> quality = sample_quality(test[:600], test[600:], load_classifier("strokes"))
    >>> list(quality)[:4], quality["coverage"] > 0.9
    (['frechet', 'frechet_unbiased', 'kernel', 'precision'], True)
    """
    reference = check_images(reference)
    height, width = reference.shape[1:]
    samples = check_images(samples, (height, width))
    if len(samples) > len(reference):
        raise ValueError(f"there are {len(samples)} samples and {len(reference)} references; expected at least as many")
    seen, real = classifier.features(samples), classifier.features(reference)
    chosen = torch.from_numpy(np.random.default_rng(seed).permutation(len(reference))[: len(samples)])
    beside = real[chosen]
    quality = {
        "frechet": frechet_distance(seen, real),
        "frechet_unbiased": unbiased_frechet_distance(seen, real, seed),
        "kernel": kernel_distance(seen, real),
    }
    quality |= zip(("precision", "recall"), precision_recall(seen, beside), strict=True)
    quality |= zip(("density", "coverage"), density_coverage(seen, beside), strict=True)
    quality |= moment_discrepancies(samples, reference, basis or WaveletBasis((height, width)))
    quality["spectrum"] = spectrum_distance(samples, reference)
    quality["sliced"] = sliced_wasserstein(samples, reference, seed=seed)
    return quality if training is None else quality | memorisation(samples, reference[chosen], training)


def over_groups(
    measure: Callable[[torch.Tensor], Mapping[str, float]], samples: torch.Tensor, groups: int = 4
) -> tuple[dict[str, float], dict[str, float]]:
    """Measure groups of samples apart, which says how much chance is in each number.

    Parameters
    ----------
    measure : callable
        Gives numbers by name for samples, such as ``lambda part: sample_quality(part, reference, classifier)``.
    samples : tensor [n, ...]
        Cut into groups of n / groups, in their order, so shuffle what has one, as data sets may; the rest is not used.
    groups : int >= 2

    Returns
    -------
    means, standard_errors : dict of float
        Over groups. The means are those of n / groups samples: a measure that depends on their number has another
        value for all n, with about the same error. Chance in the reference is not in it.

    Raises
    ------
    ValueError
        For fewer than 2 groups, or fewer samples than groups.

    Examples
    --------
    >>> over_groups(lambda part: {"mean": part.mean().item()}, torch.tensor([1.0, 3.0, 2.0, 6.0]), groups=2)
    ({'mean': 3.0}, {'mean': 1.0})
    """
    count = len(samples) // check_integer("groups", groups, 2)
    if count == 0:
        raise ValueError(f"there are {len(samples)} samples for {groups} groups; expected at least one for each")
    rows = [measure(part) for part in samples.split(count)[:groups]]
    values = {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}
    means = {name: value.mean().item() for name, value in values.items()}
    return means, {name: (value.std() / groups**0.5).item() for name, value in values.items()}
