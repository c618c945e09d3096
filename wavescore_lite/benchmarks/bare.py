"""The arithmetic that a computation cannot do without, and nothing else: what its time is compared with.

Plain matrix products of the package's shapes, blocks and dtype, on memory that is there already. Nobody reads their
results; each function returns how many floating-point operations it did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from scipy.linalg import lapack

from ..bases.wavelets import WaveletBasis, block_size
from ..groups import Group
from ..joint import add_products
from ..moments import BATCH, BLOCK_BYTES
from ..polynomials import PolynomialFamily
from ..support.parallel import empty_like_rows, over_blocks


def transform(basis: WaveletBasis, images: torch.Tensor) -> int:
    """Read square images [n, side, side] once, multiply by the matrices of all levels from both sides, write once."""
    out = empty_like_rows(images, basis.dim)
    count = block_size(images)
    (side, _) = basis.shape  # a square
    matrices = [torch.rand(side >> step, side >> step).to(images) for step in range(basis.level)]

    def worker() -> Callable[[slice], None]:
        scratch = images.new_empty(count * basis.dim)

        def work(rows: slice) -> None:
            source, result = images[rows], out[rows].view(-1)
            for matrix in matrices:
                size = len(images[rows]) * matrix.numel()
                right, both = (memory[:size].view(-1, *matrix.shape) for memory in (scratch, result))
                torch.mm(source.reshape(-1, len(matrix)), matrix.T, out=right.flatten(0, 1))
                torch.bmm(matrix.expand_as(right), right, out=both)
                source = result[: size // 4]

        return work

    over_blocks(worker, len(images), count)
    return len(images) * sum(4 * len(matrix) ** 3 for matrix in matrices)


def products(groups: Sequence[Group], coefficients: torch.Tensor) -> int:
    """Gram products of all blocks [targets, C, images] of the coefficients [d, n], on features that are there."""
    return _sums(groups, coefficients, read=False)


def arithmetic(groups: Sequence[Group], coefficients: torch.Tensor) -> int:
    """Read the coefficients [d, n], form each closed feature by one product, and multiply as in `products`."""
    return _sums(groups, coefficients, read=True)


def predictions(groups: Sequence[Group], coefficients: torch.Tensor) -> int:
    """Multiply blocks of features of the coefficients [d, n], which are there, by one row of weights a target."""
    operations = 0
    for group in groups:
        closed, out = len(group.family.closed), coefficients.new_empty(len(group.targets), 1, coefficients.shape[1])
        weights = coefficients.new_ones(len(group.targets), 1, closed)

        _over_features(group, coefficients, partial(_predict, out, weights))
        operations += 2 * closed * out.numel()
    return operations


def level(groups: Sequence[Group], device: str = "cpu") -> int:
    """Integrate the noise of one level out of every Gram with two products, and solve one system a target."""
    operations = 0
    for group in groups:
        closed, features = len(group.family.closed), len(group.family.exponents)
        gram = torch.eye(closed, dtype=torch.float64, device=device).repeat(len(group.targets), 1, 1)
        gram = gram[0] @ gram @ gram[0].mT
        torch.linalg.solve(gram[:, :features, :features], gram[:, :features, 0])
        operations += len(gram) * (4 * closed**3 + 2 * features**3 // 3 + 2 * features**2)
    return operations


def joint(features: int, dim: int, images: int, levels: int, device: str = "cpu") -> int:
    """Add products of features [P, images] to the lower triangle of a P x P matrix, then factor and solve it."""
    values = torch.rand(features, min(BATCH, images), dtype=torch.float64, device=device)
    gram = torch.zeros(features, features, dtype=torch.float64, device=device)
    for start in range(0, images, BATCH):
        add_products(gram, values[:, : images - start].contiguous())
    system = (torch.eye(features, dtype=torch.float64) + 1 / features).numpy()
    right = torch.rand(dim, features, dtype=torch.float64).numpy().T
    for _ in range(levels):
        factor, _ = lapack.dpotrf(system, lower=1, clean=0)
        lapack.dpotrs(factor, right, lower=1)
    return images * features * (features + 1) + levels * (features**3 // 3 + 2 * features**2 * dim)


def _sums(groups: Sequence[Group], coefficients: torch.Tensor, read: bool) -> int:
    operations = 0
    for group in groups:
        targets, closed, coordinates = len(group.targets), len(group.family.closed), group.neighbours.shape[1]
        total = coefficients.new_zeros(targets, closed, closed)

        _over_features(group, coefficients, partial(_add_products, total), read)
        powers = closed - 1 - coordinates if read else 0
        operations += targets * coefficients.shape[1] * (2 * closed**2 + powers)
    return operations


def _predict(out: torch.Tensor, weights: torch.Tensor, rows: slice, images: slice, features: torch.Tensor) -> None:
    out[rows, :, images] = weights[rows] @ features


def _add_products(total: torch.Tensor, rows: slice, images: slice, features: torch.Tensor) -> None:
    total[rows].baddbmm_(features, features.mT)


def _over_features(
    group: Group, coefficients: torch.Tensor, use: Callable[[slice, slice, torch.Tensor], None], read: bool = False
) -> None:
    """Blocks of `moments.over_features`: each worker has one, and fills it from the coefficients if it is to read."""
    neighbours = torch.from_numpy(group.neighbours).to(coefficients.device)
    family, count = group.family, coefficients.shape[1]
    images, closed = min(BATCH, count), len(group.family.closed)
    per_target = closed * images * coefficients.element_size()
    targets = max(1, BLOCK_BYTES[coefficients.device.type] // per_target)
    steps = _steps(family)

    def worker() -> Callable[[slice], None]:
        memory = coefficients.new_ones(min(targets, len(neighbours)), closed, images)

        def work(rows: slice) -> None:
            for start in range(0, count, images):
                block = slice(start, min(start + images, count))
                features = memory[: rows.stop - rows.start, :, : block.stop - start]
                if read:
                    for q, k in enumerate(family.linear.tolist()):
                        features[:, k] = coefficients[neighbours[rows, q], block]
                    for k, lower, own in steps:
                        torch.mul(features[:, lower], features[:, own], out=features[:, k])
                use(rows, block, features)

        return work

    over_blocks(worker, len(neighbours), targets)


def _steps(family: PolynomialFamily) -> list[tuple[int, int, int]]:
    """Each closed monomial of degree 2 and more as a product of two others: rows (itself, lower, coordinate)."""
    steps = []
    for k, row in enumerate(family.closed.tolist()):
        if sum(row) > 1:
            q = next(i for i, e in enumerate(row) if e)
            lower = tuple(e - (i == q) for i, e in enumerate(row))
            steps.append((k, family.position[lower], int(family.linear[q])))
    return steps
