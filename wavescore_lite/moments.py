"""Sums of products of features, coefficient by coefficient: one small Gram for each, from one pass over the images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Self

import torch

from .bases.protocol import Basis
from .equations import Equations, normal_equations
from .groups import Group
from .noise import SampledNoise
from .polynomials import PolynomialFamily
from .sums import Sums
from .support.parallel import over_blocks

BATCH = 1024  # images whose features are summed at a time: long rows for the products
BLOCK_BYTES = {"cpu": 2**22, "cuda": 2**28}  # of features that a worker holds: near a core's cache, or filling a GPU


class Moments(Sums[list[Equations]]):
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
        basis: Basis | None = None,
        noise: SampledNoise | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(sum(len(group.targets) for group in groups), basis, noise, device)
        self.groups = groups
        for k, group in enumerate(groups):
            closed = len(group.family.closed)
            shape = self.levels, len(group.targets), closed
            self.totals[f"gram_{k}"] = torch.zeros(*shape, closed, dtype=torch.float64, device=device)
            if noise is not None:
                self.totals[f"denoise_{k}"] = torch.zeros(*shape, dtype=torch.float64, device=device)

    def empty(self) -> Self:
        """New moments of the same groups and noise over no image."""
        return type(self)(self.groups, self.basis, self.noise, self.device)

    def _sum(self, level: int, clean: torch.Tensor, noisy: torch.Tensor) -> None:
        by_coefficient = noisy.T.contiguous()
        for k, group in enumerate(self.groups):
            gram = self.totals[f"gram_{k}"][level]
            if self.noise is None:
                over_features(group, by_coefficient, partial(_add_products, gram))
            else:
                targets = clean.T[torch.from_numpy(group.targets)]
                denoise = self.totals[f"denoise_{k}"][level]
                over_features(group, by_coefficient, partial(_add_pairs, gram, denoise, targets))

    def _own_moments(self, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        own = torch.empty(2, len(self.lowest), dtype=torch.float64, device=self.device)
        for k, group in enumerate(self.groups):
            linear, gram = group.family.linear[0], self.totals[f"gram_{k}"][level]
            own[:, torch.from_numpy(group.targets)] = torch.stack([gram[:, 0, linear], gram[:, linear, linear]])
        return own[0], own[1]

    def equations(self, sigma: float, polynomials: str = "monomial") -> list[Equations]:
        """Normal equations of each group: see `Sums.equations`."""
        return self._equations([group.family for group in self.groups], sigma, polynomials)

    def closed_equations(self, sigma: float) -> list[Equations]:
        """Those of all closed monomials: see `Sums.closed_equations`."""
        return self._equations([group.family.closure for group in self.groups], sigma, "monomial")

    def closed_grams(self, level: int = 0) -> list[torch.Tensor]:
        """E[phibar phibar^T] of each group's closed monomials [K, C, C], as they were summed: of clean images.

        With sampled noise they are of noisy copies, at the noise level of this number.
        """
        samples = self.count * (1 if self.noise is None else self.noise.draws)
        return [group.pool(self.totals[f"gram_{k}"][level].cpu()) / samples for k, group in enumerate(self.groups)]

    def _equations(self, families: list[PolynomialFamily], sigma: float, polynomials: str) -> list[Equations]:
        level, variance, samples = self.level_of(sigma)
        out = []
        for k, (group, family, gram) in enumerate(zip(self.groups, families, self.closed_grams(level), strict=True)):
            if self.noise is None:
                denoise = gram[:, :, group.family.linear[0]]
            else:
                denoise = group.pool(self.totals[f"denoise_{k}"][level].cpu()) / samples
            out.append(normal_equations(family, gram, denoise, variance, polynomials, float(sigma), samples))
        return out


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
    batch = min(BATCH, coefficients.shape[1])
    per_target = len(group.family.closed) * batch * coefficients.element_size()

    def worker() -> Callable[[slice], None]:
        def work(rows: slice) -> None:
            for start in range(0, coefficients.shape[1], batch):
                block = slice(start, start + batch)
                coordinates = coefficients[:, block][neighbours[rows]]
                if spread is not None:
                    coordinates /= spread[rows, :, None]
                use(rows, block, group.family.evaluate(coordinates))

        return work

    over_blocks(worker, len(neighbours), max(1, BLOCK_BYTES[coefficients.device.type] // per_target))


def _add_products(total: torch.Tensor, rows: slice, images: slice, features: torch.Tensor) -> None:
    total[rows].baddbmm_(features, features.mT)


def _add_pairs(
    total: torch.Tensor,
    denoise_total: torch.Tensor,
    targets: torch.Tensor,
    rows: slice,
    images: slice,
    features: torch.Tensor,
) -> None:
    _add_products(total, rows, images, features)
    denoise_total[rows] += (features @ targets[rows, images, None])[..., 0]
