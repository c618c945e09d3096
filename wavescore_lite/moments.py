"""Mergeable float64 sums over images, and the normal equations that they give at a noise level.

`Moments` sums products of *clean* features once and integrates the noise out afterwards, at any sigma.
`SampledMoments` sums products of features of noisy copies, at the sigmas it was told: the paper's protocol.
Both answer `equations(sigma)`; a fit asks for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from .checks import check_sigma
from .couplings import Group
from .noise import FITTING, SampledNoise, standard_normal
from .parallel import over_blocks
from .wavelets import WaveletBasis

IMAGES = 1024  # in a block: long rows for the products
FEATURE_BYTES = 2**22  # features of a block of targets and images: what stays near a core's cache


@dataclass(frozen=True)
class Equations:
    """Normal equations of one group at one noise level, in raw monomials; expectations, float64.

    Attributes
    ----------
    gram : tensor [m, F, F]
        Sigma = E[phi phi^T] of the noisy features (eq. 8).
    image : tensor [m, F]
        E[phi y_0], the right-hand side of the denoising target.
    score : tensor [m, F]
        -E[d phi / d y], the right-hand side of the score target by Stein's identity (eq. 15).
    spread : tensor [m, Q]
        Standard deviation of each noisy coordinate.
    """

    gram: torch.Tensor
    image: torch.Tensor
    score: torch.Tensor
    spread: torch.Tensor


def over_features(
    group: Group,
    coefficients: torch.Tensor,
    use: Callable[[slice, slice, torch.Tensor], None],
    spread: torch.Tensor | None = None,
) -> None:
    """Evaluate the closed features of a group, block by block, each in one worker.

    Parameters
    ----------
    group : Group
    coefficients : tensor [d, n]
        One row a coefficient, so that a block of images is contiguous.
    use : callable
        Given a slice of the group's targets, a slice of images, and their features [targets, C, images]. Blocks of
        the same targets come one after another, in one worker, so sums over images need no lock.
    spread : tensor [m, Q], optional
        What the coordinates are divided by first.
    """
    neighbours = torch.from_numpy(group.neighbours)
    images = min(IMAGES, coefficients.shape[1])
    per_target = len(group.family.closed) * images * coefficients.element_size()

    def worker() -> Callable[[slice], None]:
        def work(rows: slice) -> None:
            for start in range(0, coefficients.shape[1], images):
                block = slice(start, start + images)
                coordinates = coefficients[:, block][neighbours[rows]]
                if spread is not None:
                    coordinates /= spread[rows, :, None]
                use(rows, block, group.family.evaluate(coordinates))

        return work

    over_blocks(worker, len(neighbours), max(1, FEATURE_BYTES // per_target))


def _add_products(total: torch.Tensor, rows: slice, images: slice, features: torch.Tensor) -> None:
    total[rows].baddbmm_(features, features.mT)


def _add_pairs(
    total: torch.Tensor,
    image_total: torch.Tensor,
    targets: torch.Tensor,
    rows: slice,
    images: slice,
    features: torch.Tensor,
) -> None:
    _add_products(total, rows, images, features)
    image_total[rows] += (features @ targets[rows, images, None])[..., 0]


def _variance(closed_gram: torch.Tensor, group: Group) -> torch.Tensor:
    """Variance [m, Q] of the coordinates, from a Gram of closed features whose row 0 is the constant."""
    linear = group.family.linear
    return (closed_gram[:, linear, linear] - closed_gram[:, 0, linear] ** 2).clamp_min(0)


class Moments:
    """Clean sums sum_n phibar(y_n) phibar(y_n)^T over the closed features of each group.

    Parameters
    ----------
    groups : list of Group
        What a coupling lays over a basis.

    Attributes
    ----------
    count : int
        Images summed so far.
    sums : list of tensor [m, C, C], float64
        One for each group. They are additive: they merge, stream and distribute.

    Examples
    --------
    >>> from wavescore_lite import WaveletBasis, independent
    >>> moments = Moments(independent(2).groups(WaveletBasis(8)))
    >>> moments.update(torch.ones(10, 64, dtype=torch.float64))
    >>> moments.equations(2.0)[0].gram[0]  # of 1, y, y^2 with y = 1 + 2 z
    tensor([[ 1.,  1.,  5.],
            [ 1.,  5., 13.],
            [ 5., 13., 73.]], dtype=torch.float64)
    """

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self.count = 0
        self.sums = [_empty(group, len(group.family.closed)) for group in groups]
        self._expanded: list[list[torch.Tensor]] | None = None

    def update(self, coefficients: torch.Tensor) -> None:
        """Add images, given as their clean coefficients [n, d]."""
        by_coefficient = coefficients.double().T.contiguous()
        for group, total in zip(self.groups, self.sums, strict=True):
            over_features(group, by_coefficient, partial(_add_products, total))
        self.count += len(coefficients)
        self._expanded = None

    def merge(self, other: Moments) -> Moments:
        """Sums over the images of both, as new moments."""
        merged = Moments(self.groups)
        merged.count = self.count + other.count
        merged.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]
        return merged

    def equations(self, sigma: float) -> list[Equations]:
        """Normal equations of each group at noise level sigma (pixel units), with the noise integrated out.

        Raises
        ------
        ValueError
            If sigma is not finite and > 0, or no image was summed yet.
        """
        variance = check_sigma(sigma) ** 2
        if not self.count:
            raise ValueError("too few images: 0 summed; expected at least 1 before equations(sigma)")
        if self._expanded is None:
            self._expanded = [self._expand(g, s / self.count) for g, s in zip(self.groups, self.sums, strict=True)]
        return [
            Equations(*(_horner(series, variance) for series in expanded[:3]), (expanded[3] + variance).sqrt())
            for expanded in self._expanded
        ]

    def _expand(self, group: Group, clean: torch.Tensor) -> tuple:
        """Coefficients of the powers of sigma^2 of gram, image and score, and the clean variance."""
        family, (targets, size, _) = group.family, clean.shape
        features = len(family.exponents)
        flat = clean.reshape(targets, size**2).T.numpy()
        gram = [torch.from_numpy((m @ flat).T.reshape(targets, features, features)) for m in family.gram_maps]
        image = [clean[:, :, family.linear[0]] @ torch.from_numpy(m).T for m in family.value_maps]
        score = [-clean[:, :, 0] @ torch.from_numpy(m).T for m in family.slope_maps]
        return gram, image, score, _variance(clean, group)


class SampledMoments:
    """Sums over noisy copies of the images at given sigmas: section 3 of the paper, with one draw or several.

    Parameters
    ----------
    groups : list of Group
    basis : WaveletBasis
        The noise is drawn in pixels and analysed, so that every basis and coupling sees the same.
    noise : SampledNoise
    """

    def __init__(self, groups: list[Group], basis: WaveletBasis, noise: SampledNoise) -> None:
        self.groups, self.basis, self.noise = groups, basis, noise
        self.count = 0
        levels = len(noise.sigmas)
        self.sums = [torch.stack([_empty(g, len(g.family.closed))] * levels) for g in groups]
        self.image_sums = [torch.stack([_empty(g, 1)[..., 0]] * levels) for g in groups]

    def update(self, coefficients: torch.Tensor) -> None:
        """Add images, given as their clean coefficients [n, d]."""
        coefficients = coefficients.double()
        shape = (self.basis.size, self.basis.size)
        for draw in range(self.noise.draws):
            first = self.noise.first + self.count
            for start in range(0, len(coefficients), 4096):
                clean = coefficients[start : start + 4096]
                pixels = standard_normal(first + start, len(clean), shape, self.noise.seed, stream=FITTING, draw=draw)
                self._add(clean.T.contiguous(), self.basis.analyze(pixels.double()).T.contiguous())
        self.count += len(coefficients)

    def _add(self, clean: torch.Tensor, normal: torch.Tensor) -> None:
        """Add noisy copies of images, given as clean coefficients and standard normal noise, both [d, n]."""
        for level, sigma in enumerate(self.noise.sigmas):
            noisy = clean + sigma * normal
            for group, totals, image_totals in zip(self.groups, self.sums, self.image_sums, strict=True):
                targets = clean[torch.from_numpy(group.targets)]
                over_features(group, noisy, partial(_add_pairs, totals[level], image_totals[level], targets))

    def merge(self, other: SampledMoments) -> SampledMoments:
        """Sums over the images of both; their image indices must follow on one another, so no noise is used twice.

        Raises
        ------
        ValueError
            If the noise differs in more than `first`, or the index ranges do not follow on one another.
        """
        before, after = sorted((self, other), key=lambda moments: moments.noise.first)
        if replace(after.noise, first=0) != replace(before.noise, first=0):
            raise ValueError(f"cannot merge fits on {before.noise} and {after.noise}; expected the same noise")
        follows = before.noise.first + before.count
        if after.noise.first != follows:
            raise ValueError(
                f"cannot merge: the second fit's noise starts at image {after.noise.first}; expected "
                f"SampledNoise(first={follows}), where the first fit ends"
            )
        merged = SampledMoments(self.groups, self.basis, before.noise)
        merged.count = before.count + after.count
        merged.sums = [a + b for a, b in zip(before.sums, after.sums, strict=True)]
        merged.image_sums = [a + b for a, b in zip(before.image_sums, after.image_sums, strict=True)]
        return merged

    def equations(self, sigma: float) -> list[Equations]:
        """Normal equations of each group at one of the fitted noise levels.

        Raises
        ------
        ValueError
            If sigma was not fitted, or there are fewer noisy images than features.
        """
        if check_sigma(sigma) not in self.noise.sigmas:
            raise ValueError(f"sigma is {sigma}; fitted on sampled noise at {list(self.noise.sigmas)} only")
        level, samples = self.noise.sigmas.index(float(sigma)), self.count * self.noise.draws
        return [
            self._group_equations(group, total[level] / samples, image[level] / samples, samples)
            for group, total, image in zip(self.groups, self.sums, self.image_sums, strict=True)
        ]

    def _group_equations(self, group: Group, closed_gram: torch.Tensor, image: torch.Tensor, samples: int) -> Equations:
        family = group.family
        if samples < len(family.exponents):
            raise ValueError(
                f"too few images: {samples} noisy copies for {len(family.exponents)} features; expected at least that"
            )
        own_slope = torch.from_numpy(family.slope_maps[0])
        rows = torch.from_numpy(family.selected)
        return Equations(
            gram=closed_gram[:, rows[:, None], rows],
            image=image[:, rows],
            score=-closed_gram[:, :, 0] @ own_slope.T,
            spread=_variance(closed_gram, group).sqrt(),
        )


def _empty(group: Group, columns: int) -> torch.Tensor:
    return torch.zeros(len(group.targets), len(group.family.closed), columns, dtype=torch.float64)


def _horner(coefficients: list[torch.Tensor], x: float) -> torch.Tensor:
    """The polynomial sum_j coefficients[j] x^j."""
    value = torch.zeros_like(coefficients[0])
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def exponent_powers(spread: torch.Tensor, exponents: np.ndarray) -> torch.Tensor:
    """Scale of each feature, prod_q spread_q^e_q: [m, Q] -> [m, F]."""
    return (spread[:, None, :] ** torch.from_numpy(exponents)).prod(dim=-1)
