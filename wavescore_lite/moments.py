"""Mergeable float64 sums over images, and the normal equations that they give at a noise level.

Noise-exact moments sum products of *clean* features once and integrate the noise out afterwards, at any sigma.
Sampled ones sum products of features of noisy copies, at the sigmas they were told: the paper's protocol. Either way
a fit asks for nothing but `equations(sigma)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from .bases.wavelets import WaveletBasis
from .couplings import Group
from .noise import FITTING, SampledNoise, standard_normal
from .polynomials import PolynomialFamily
from .support.checks import check_sigma
from .support.parallel import over_blocks

IMAGES = 1024  # in a block: long rows for the products
FEATURE_BYTES = {"cpu": 2**22, "cuda": 2**28}  # features of a block: what stays near a core's cache, or fills a GPU
NOISE_BATCH = 4096  # images whose noise is drawn at a time


@dataclass(frozen=True)
class Equations:
    """Normal equations at one noise level; expectations, float64.

    For a group of targets each field has a leading axis [K], one system for each set of parameters; the joint fit has
    one system for all targets. Features are monomials y^e, or Hermite polynomials s^e He_e(y / s) with s the spread.

    Attributes
    ----------
    gram : tensor [..., F, F]
        Sigma = E[phi phi^T] of the noisy features (eq. 8).
    image : tensor [..., F]; joint [F, d]
        E[phi y_0], the right-hand side of the denoising target.
    score : tensor [..., F]; joint [F, d]
        -E[d phi / d y], the right-hand side of the score target by Stein's identity (eq. 15).
    spread : tensor [..., Q]; joint [d]
        Standard deviation s of each noisy coordinate.
    """

    gram: torch.Tensor
    image: torch.Tensor
    score: torch.Tensor
    spread: torch.Tensor


class Sums(ABC):
    """Named float64 totals over images, and how they grow, merge and are stored.

    Parameters
    ----------
    basis : WaveletBasis, optional
        Where noise that is drawn in pixels is analysed; needed with `noise` only.
    noise : SampledNoise, optional
        Sum over noisy copies. By default sums are clean, and the noise is integrated out later.
    device : str
        Where the totals live and grow: "cpu" or "cuda".

    Attributes
    ----------
    count : int
        Images summed so far.
    seen : int
        Images shown so far, some of which another one sums: noise goes by their index.
    totals : dict of tensor [levels, ...]
        One level for each sigma of `noise`, or one in all. They are additive: they merge, stream and distribute.
    """

    def __init__(self, basis: WaveletBasis | None, noise: SampledNoise | None, device: str) -> None:
        self.basis, self.noise, self.device = basis, noise, device
        self.count = self.seen = 0
        self.totals: dict[str, torch.Tensor] = {}

    @property
    def levels(self) -> int:
        """How many sets of totals there are."""
        return 1 if self.noise is None else len(self.noise.sigmas)

    @abstractmethod
    def _sum(self, level: int, clean: torch.Tensor, noisy: torch.Tensor) -> None:
        """Add images at one level, given as clean and noisy coefficients [n, d]."""

    @abstractmethod
    def empty(self) -> Sums:
        """New sums of the same kind over no image."""

    def update(self, coefficients: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Add images, given as their clean coefficients [n, d]; `rows`, a mask [n], leaves some of them out."""
        coefficients = coefficients.to(self.device, torch.float64)
        rows = torch.ones(len(coefficients), dtype=torch.bool) if rows is None else rows
        if rows.any():
            for level, clean, noisy in self._copies(coefficients, rows):
                self._sum(level, clean, noisy)
        self.count += int(rows.sum())
        self.seen += len(coefficients)

    def _copies(
        self, coefficients: torch.Tensor, rows: torch.Tensor
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Level, clean and noisy coefficients of the rows to be summed; without sampled noise the clean ones twice."""
        if self.noise is None:
            clean = coefficients if rows.all() else coefficients[rows]
            yield 0, clean, clean
            return
        shape, seed = (self.basis.size, self.basis.size), self.noise.seed
        for draw in range(self.noise.draws):
            for start in range(0, len(coefficients), NOISE_BATCH):
                kept = rows[start : start + NOISE_BATCH]
                first = self.noise.first + self.seen + start
                pixels = standard_normal(first, len(kept), shape, seed, stream=FITTING, draw=draw)[kept]
                if not len(pixels):
                    continue
                normal = self.basis.analyze(pixels.to(self.device).double())
                clean = coefficients[start : start + NOISE_BATCH][kept]
                for level, sigma in enumerate(self.noise.sigmas):
                    yield level, clean, clean + sigma * normal

    def plus(self, other: Sums) -> Sums:
        """Sums over the images of both, as new sums."""
        merged = self.empty()
        merged.count, merged.seen = self.count + other.count, self.seen + other.seen
        merged.totals = {name: total + other.totals[name] for name, total in self.totals.items()}
        return merged

    def merge(self, other: Sums) -> Sums:
        """Sums over the images of both; with sampled noise the image indices must follow on one another.

        Raises
        ------
        ValueError
            If the noise differs in more than `first`, or some noise would be used twice.
        """
        if self.noise is None and other.noise is None:
            return self.plus(other)
        if self.noise is None or other.noise is None:
            raise ValueError("cannot merge a fit on sampled noise with one that integrates the noise out")
        before, after = sorted((self, other), key=lambda sums: sums.noise.first)
        if replace(after.noise, first=0) != replace(before.noise, first=0):
            raise ValueError(f"cannot merge fits on {before.noise} and {after.noise}; expected the same noise")
        follows = before.noise.first + before.seen
        if after.noise.first != follows:
            raise ValueError(
                f"cannot merge: the second fit's noise starts at image {after.noise.first}; expected "
                f"SampledNoise(first={follows}), where the first fit ends"
            )
        return before.plus(after)

    def restore(self, arrays: dict[str, np.ndarray], count: int, seen: int, path: str | Path) -> None:
        """Take over stored totals; refuse what is missing or of another shape."""
        for name, total in self.totals.items():
            stored = arrays.get(name)
            if stored is None or stored.shape != tuple(total.shape):
                given = "nothing" if stored is None else f"shape {list(stored.shape)}"
                raise ValueError(f"{path} holds {given} for {name}; expected shape {list(total.shape)}")
            total.copy_(torch.from_numpy(stored))
        self.count, self.seen = count, seen

    def level_of(self, sigma: float) -> tuple[int, float, int]:
        """Which totals serve sigma, the variance still to be integrated, and by how much to divide.

        Raises
        ------
        ValueError
            If sigma is not finite and > 0, was not fitted, or no image was summed yet.
        """
        sigma = check_sigma(sigma)
        if not self.count:
            raise ValueError("too few images: 0 summed; expected at least 1 before equations(sigma)")
        if self.noise is None:
            return 0, sigma**2, self.count
        if sigma not in self.noise.sigmas:
            raise ValueError(f"sigma is {sigma}; fitted on sampled noise at {list(self.noise.sigmas)} only")
        return self.noise.sigmas.index(sigma), 0.0, self.count * self.noise.draws

    def check_samples(self, features: int) -> None:
        """Refuse to solve sampled equations of fewer noisy images than features."""
        if self.noise is not None and (samples := self.count * self.noise.draws) < features:
            raise ValueError(f"too few images: {samples} noisy copies for {features} features; expected at least that")


class Moments(Sums):
    """Sums sum_n phibar(y_n) phibar(y_n)^T over the closed features of each group, one matrix for each coefficient.

    Parameters
    ----------
    groups : list of Group
        What a coupling lays over a basis.
    basis, noise, device
        See `Sums`; by default the noise is integrated out, on the CPU.

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

    def __init__(
        self,
        groups: list[Group],
        basis: WaveletBasis | None = None,
        noise: SampledNoise | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(basis, noise, device)
        self.groups = groups
        for k, group in enumerate(groups):
            closed = len(group.family.closed)
            shape = self.levels, len(group.targets), closed
            self.totals[f"gram_{k}"] = torch.zeros(*shape, closed, dtype=torch.float64, device=device)
            if noise is not None:
                self.totals[f"image_{k}"] = torch.zeros(*shape, dtype=torch.float64, device=device)

    def empty(self) -> Moments:
        """New moments of the same groups and noise over no image."""
        return Moments(self.groups, self.basis, self.noise, self.device)

    def _sum(self, level: int, clean: torch.Tensor, noisy: torch.Tensor) -> None:
        by_coefficient = noisy.T.contiguous()
        for k, group in enumerate(self.groups):
            gram = self.totals[f"gram_{k}"][level]
            if self.noise is None:
                over_features(group, by_coefficient, partial(_add_products, gram))
            else:
                targets = clean.T[torch.from_numpy(group.targets)]
                image = self.totals[f"image_{k}"][level]
                over_features(group, by_coefficient, partial(_add_pairs, gram, image, targets))

    def equations(self, sigma: float, polynomials: str = "monomial", closed: bool = False) -> list[Equations]:
        """Normal equations of each group at noise level sigma (pixel units).

        Parameters
        ----------
        sigma : float > 0
            Any, if the noise is integrated out; else one that was fitted.
        polynomials : str
            "monomial" or "hermite".
        closed : bool
            Whether to take all closed monomials for features.

        Raises
        ------
        ValueError
            If sigma is not finite and > 0, was not fitted, or no image was summed yet.
        """
        level, variance, samples = self.level_of(sigma)
        out = []
        for k, group in enumerate(self.groups):
            gram = group.pool(self.totals[f"gram_{k}"][level].cpu()) / samples
            if self.noise is None:
                image = gram[:, :, group.family.linear[0]]
            else:
                image = group.pool(self.totals[f"image_{k}"][level].cpu()) / samples
            family = group.family.closure if closed else group.family
            out.append(normal_equations(family, gram, image, variance, polynomials))
        return out


def normal_equations(
    family: PolynomialFamily, gram: torch.Tensor, image: torch.Tensor, variance: float, polynomials: str
) -> Equations:
    """Integrate noise of a variance out of expectations over the closed monomials.

    Parameters
    ----------
    family : PolynomialFamily
    gram : tensor [K, C, C]
        E[phibar phibar^T] of closed monomials, the constant first.
    image : tensor [K, C]
        E[phibar y_0].
    variance : float
        sigma^2 of the noise that the monomials do not hold yet; 0 for monomials of noisy copies.
    polynomials : str
        "monomial" or "hermite". s^e He_e(y / s) is the monomial y^e after `heat` with variance -s^2, which leaves
        minus the clean variance once the noise is integrated out.
    """
    mean = gram[:, 0, family.linear]
    total = (gram[:, family.linear, family.linear] - mean**2).clamp_min(0) + variance
    heat = family.heat(variance - total if polynomials == "hermite" else torch.full_like(total[0], variance))
    integrated = heat @ gram @ heat.mT
    rows = torch.from_numpy(family.selected)
    flat = integrated.flatten(1).T.numpy()
    noisy = sum(variance**j * noise_map for j, noise_map in enumerate(family.noise_maps)) @ flat
    return Equations(
        gram=torch.from_numpy(noisy.T.copy()).unflatten(1, (len(rows), len(rows))),
        image=(heat @ image[..., None])[:, rows, 0],
        score=-(family.slope @ heat @ gram[:, :, :1])[:, rows, 0],
        spread=total.sqrt(),
    )


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
    neighbours = torch.from_numpy(group.neighbours).to(coefficients.device)
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

    over_blocks(worker, len(neighbours), max(1, FEATURE_BYTES[coefficients.device.type] // per_target))


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


def exponent_powers(spread: torch.Tensor, exponents: np.ndarray) -> torch.Tensor:
    """Scale of each feature, prod_q spread_q^e_q: [m, Q] -> [m, F]."""
    return (spread[:, None, :] ** torch.from_numpy(exponents)).prod(dim=-1)
