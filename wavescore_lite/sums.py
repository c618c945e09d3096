"""Mergeable float64 sums over images: how they grow, merge and are stored, and what a fit asks of them.

Noise-exact sums are over *clean* features, once, and the noise is integrated out afterwards, at any sigma. Sampled ones
are over features of noisy copies, at the sigmas they were told: the paper's protocol. Either way a fit asks for nothing
but `equations(sigma)`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import torch

from .bases.protocol import Basis
from .noise import FITTING, SampledNoise, standard_normal
from .support.checks import check_sigma
from .support.memory import check_free

BATCH_COEFFICIENTS, FEWEST = 2**20, 128  # analysed at a time, to stay near a core's cache; images at least
COPIES = 8  # of a batch in float64: analysed, drawn, turned
NOISE_BATCH = 4096  # images whose noise is drawn at a time

E = TypeVar("E")  # equations of a kind of fit


class Sums(ABC, Generic[E]):
    """Named float64 totals over images, and how they grow, merge and are stored.

    Parameters
    ----------
    dim : int
        Number of coefficients d.
    basis : Basis, optional
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
    lowest, highest : tensor [d]
        Range of each clean coefficient over the images, which no posterior mean leaves; so do these merge.
    """

    def __init__(self, dim: int, basis: Basis | None, noise: SampledNoise | None, device: str) -> None:
        self.basis, self.noise, self.device = basis, noise, device
        self.count = self.seen = 0
        self.totals: dict[str, torch.Tensor] = {}
        ends = torch.full((2, dim), torch.inf, dtype=torch.float64, device=device)
        self.lowest, self.highest = ends[0], -ends[1]

    @property
    def levels(self) -> int:
        """How many sets of totals there are."""
        return 1 if self.noise is None else len(self.noise.sigmas)

    @abstractmethod
    def _sum(self, level: int, clean: torch.Tensor, noisy: torch.Tensor) -> None:
        """Add images at one level, given as clean and noisy coefficients [n, d]."""

    @abstractmethod
    def equations(self, sigma: float, polynomials: str = "monomial") -> E:
        """Normal equations at noise level sigma; the totals stay as they are.

        Parameters
        ----------
        sigma : float > 0
            In pixel units: any, if the noise is integrated out; else one that was fitted.
        polynomials : str
            "monomial" or "hermite".

        Raises
        ------
        ValueError
            If sigma is not finite and > 0, was not fitted, or no image was summed yet.
        """

    @abstractmethod
    def closed_equations(self, sigma: float) -> E:
        """The same with all closed monomials for features, which every estimate is a sum of: what a risk needs."""

    @abstractmethod
    def _own_moments(self, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums [d] of each coefficient and of its square, over clean images or over noisy copies at one level."""

    @abstractmethod
    def empty(self) -> Self:
        """New sums of the same kind over no image."""

    def update(self, coefficients: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Add images, given as their clean coefficients [n, d]; `rows`, a mask [n], leaves some of them out."""
        coefficients = coefficients.to(self.device, torch.float64)
        rows = torch.ones(len(coefficients), dtype=torch.bool) if rows is None else rows
        if rows.any():
            summed = _kept(coefficients, rows)
            self.lowest = torch.minimum(self.lowest, summed.amin(dim=0))
            self.highest = torch.maximum(self.highest, summed.amax(dim=0))
            for level, clean, noisy in self._copies(coefficients, rows):
                self._sum(level, clean, noisy)
        self.count += int(rows.sum())
        self.seen += len(coefficients)

    def _copies(
        self, coefficients: torch.Tensor, rows: torch.Tensor
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Level, clean and noisy coefficients of the rows to be summed; without sampled noise the clean ones twice."""
        if self.noise is None:
            clean = _kept(coefficients, rows)
            yield 0, clean, clean
            return
        if self.basis is None:
            raise ValueError("noise is drawn in pixels; expected a basis to analyse it in")
        shape, seed = self.basis.shape, self.noise.seed
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

    def plus(self, other: Self) -> Self:
        """Sums over the images of both, as new sums; a MemoryError if there is no room for them."""
        check_free(sum(total.nbytes for total in self.totals.values()), "what both sum to", self.device)
        merged = copy.copy(self)
        merged.count, merged.seen = self.count + other.count, self.seen + other.seen
        merged.totals = {name: total + other.totals[name] for name, total in self.totals.items()}
        merged.lowest = torch.minimum(self.lowest, other.lowest)
        merged.highest = torch.maximum(self.highest, other.highest)
        return merged

    def to(self, device: str) -> Self:
        """The same sums on a device, as new sums."""
        moved = copy.copy(self)
        moved.device, moved.totals = device, {name: total.to(device) for name, total in self.totals.items()}
        moved.lowest, moved.highest = self.lowest.to(device), self.highest.to(device)
        return moved

    def stored(self) -> dict[str, torch.Tensor]:
        """All that `restore` takes over."""
        return self.totals | {"lowest": self.lowest, "highest": self.highest}

    def gaussian(self, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance [d] of each noisy coefficient at noise level sigma.

        Raises
        ------
        ValueError
            As `equations`.
        """
        level, variance, samples = self.level_of(sigma)
        mean, square = (total.cpu() / samples for total in self._own_moments(level))
        return mean, (square - mean**2).clamp_min(0) + variance

    def merge(self, other: Self) -> Self:
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
        if replace(self.noise, first=0) != replace(other.noise, first=0):
            raise ValueError(f"cannot merge fits on {self.noise} and {other.noise}; expected the same noise")
        ordered = self.noise.first <= other.noise.first
        before, after = (self, other) if ordered else (other, self)
        follows = min(self.noise.first, other.noise.first) + before.seen
        starts = max(self.noise.first, other.noise.first)
        if starts != follows:
            raise ValueError(
                f"cannot merge: the second fit's noise starts at image {starts}; expected "
                f"SampledNoise(first={follows}), where the first fit ends"
            )
        return before.plus(after)

    def restore(self, arrays: Mapping[str, np.ndarray], count: int, seen: int, path: str | Path) -> None:
        """Take over stored totals and ranges; refuse what is missing, of another shape, or of no image."""
        for name, total in self.stored().items():
            stored = arrays.get(name)
            if stored is None or stored.shape != tuple(total.shape):
                given = "nothing" if stored is None else f"shape {list(stored.shape)}"
                raise ValueError(f"{path} holds {given} for {name}; expected shape {list(total.shape)}")
            total.copy_(torch.from_numpy(stored))
        if not 0 <= count <= seen or not seen:
            raise ValueError(f"{path} holds sums over {count} of {seen} images; expected at least one image seen")
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


def _kept(coefficients: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Coefficients [n, d] of the images that a mask [n] keeps: themselves if it keeps all, which are many."""
    return coefficients if rows.all() else coefficients[rows.to(coefficients.device)]


def batch_size(dim: int) -> int:
    """Images of `dim` coefficients that are analysed and summed at a time."""
    return max(FEWEST, BATCH_COEFFICIENTS // dim)


def batch_bytes(dim: int) -> int:
    """Bytes that such a batch takes at most: a few copies in float64."""
    return 8 * COPIES * batch_size(dim) * dim
