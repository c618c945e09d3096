"""The estimator once more, by plain regression on many noisy copies, in NumPy and from the definitions alone.

It shares no line with the package but the wavelet transform and the images: features are listed from the table of
atoms, noise is drawn, and K / 4, K / 2 and K copies of each image are extrapolated to infinitely many, since the excess
error of a regression is a / K + b / K^2 + ... `python -m tests.brute_force` sets its errors beside the package's, for
every family, degree, fit and noise level, and writes results/reference_check.csv.
"""

from __future__ import annotations

import argparse
import csv
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import wavescore_lite as ws
from wavescore_lite import couplings

RIDGE = 1e-6
SIGMAS = (1.0, 2.0, 3.0, 4.0)
FAMILIES = ("independent", "band_tied", "local_coupled")


def features_of(basis: ws.WaveletBasis, target: int, family: str, degree: int) -> list[tuple[int, ...]]:
    """Features of one coefficient, each the sorted tuple of the coefficients it multiplies."""
    if family not in FAMILIES:
        raise ValueError(f"family is {family!r}; expected one of {', '.join(FAMILIES)}, or its features listed here")
    scale, orientation, row, column = basis.atoms[target].tolist()
    place = {tuple(atom): i for i, atom in enumerate(basis.atoms.tolist())}
    own = [(target,) * power for power in range(degree + 1)]
    if family == "independent" or (family == "band_tied" and orientation == "a"):
        return own
    if family == "band_tied":
        triple = sorted(place[scale, o, row, column] for o in "hvd")
        products = {t for size in range(1, degree + 1) for t in combinations_with_replacement(triple, size)}
        return [(), *sorted(t for t in products if target in t)]
    side = 2**scale
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
    near = {place[scale, orientation, (row + a) % side, (column + b) % side] for a, b in steps} - {target}
    powers = [(d, e) for d in range(1, degree) for e in range(1, degree - d + 1)]
    return own + [tuple(sorted((target,) * d + (other,) * e)) for other in near for d, e in powers]


def evaluate(features: list[tuple[int, ...]], y: np.ndarray) -> np.ndarray:
    """Values [n, F] at scaled coefficients [n, d]."""
    return np.stack([np.prod(y[:, list(feature)], axis=1) for feature in features], axis=1)


class Regression:
    """Ridge regression of some clean coefficients on features of noisy ones, summed copy by copy."""

    def __init__(self, features: list[tuple[int, ...]], targets: list[int]) -> None:
        self.features, self.targets, self.gram, self.right, self.count = features, targets, 0.0, 0.0, 0

    def add(self, noisy: np.ndarray, clean: np.ndarray) -> None:
        phi = evaluate(self.features, noisy)
        self.gram, self.right = self.gram + phi.T @ phi, self.right + phi.T @ clean[:, self.targets]
        self.count += len(phi)

    def solution(self) -> np.ndarray:
        return np.linalg.solve(self.gram / self.count + RIDGE * np.eye(len(self.features)), self.right / self.count)


def held_out_errors(
    basis: ws.WaveletBasis, family: str, degree: int, fit: str, sigma: float, images: torch.Tensor, draws: int,
    held_out: torch.Tensor, noisy: torch.Tensor,
) -> float:  # fmt: skip
    """Clipped error on given noisy images, extrapolated to infinitely many draws."""
    lists = [features_of(basis, i, family, degree) for i in range(basis.dim)]
    if fit == "joint":
        whole = sorted({feature for features in lists for feature in features}, key=lambda f: (len(f), f))
        regressions = [Regression(whole, list(range(basis.dim)))]
    else:
        regressions = [Regression(features, [i]) for i, features in enumerate(lists)]
    clean = basis.analyze(images.double()).numpy()
    spread = np.sqrt(clean.var(axis=0) + sigma**2)
    rng, errors = np.random.default_rng(11), []
    for draw in range(1, draws + 1):
        copies = (clean + sigma * rng.standard_normal(clean.shape)) / spread
        for regression in regressions:
            regression.add(copies, clean)
        if draw in (draws // 4, draws // 2, draws):
            errors.append(_error(basis, regressions, held_out, noisy, spread))
    return float(np.dot(errors, (1 / 3, -2, 8 / 3)))


def _error(basis, regressions, held_out, noisy, spread) -> float:
    y = basis.analyze(noisy.double()).numpy() / spread
    estimate = np.empty_like(y)
    for regression in regressions:
        estimate[:, regression.targets] = evaluate(regression.features, y) @ regression.solution()
    pixels = basis.synthesize(torch.from_numpy(estimate)).clamp(0, 1)
    return (pixels - held_out).square().mean().item()


def compare(dataset: str, size: int, family: str, degree: int, fit: str, sigma: float, train: int, draws: int) -> dict:
    """One row: the package's held-out error and the brute-force one, on the same images and noise."""
    images = ws.load_images(dataset, size, "train", train)
    held_out = ws.load_images(dataset, size, "test", 5000)
    noisy = held_out + sigma * torch.randn(held_out.shape, generator=torch.Generator().manual_seed(5))
    basis = ws.WaveletBasis(size)
    score = {"joint": ws.JointScore, "per-wavelet": ws.WaveletScore}[fit]
    model = score(basis, couplings.FAMILIES[family](degree), ridge=RIDGE)
    ours = (model.fit(images).denoise(noisy, sigma).clamp(0, 1) - held_out).square().mean().item()
    brute = held_out_errors(basis, family, degree, fit, sigma, images, draws, held_out, noisy)
    return {
        "dataset": dataset, "size": size, "family": family, "degree": degree, "fit": fit, "sigma": sigma,
        "train": train, "draws": draws, "mse": f"{ours:.7f}", "brute_force_mse": f"{brute:.7f}",
        "difference": f"{brute / ours - 1:.5f}",
    }  # fmt: skip


def main() -> None:
    """Compare everything; per-wavelet fits at 32 x 32, joint ones at 16 x 16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--output", type=Path, default=Path("results/reference_check.csv"))
    options = parser.parse_args()
    cases = [(f, d, fit, s) for fit in ("per-wavelet", "joint") for f in FAMILIES for d in (1, 2, 3) for s in SIGMAS]
    rows = []
    for family, degree, fit, sigma in tqdm(cases):
        size, train = (32, 4000) if fit == "per-wavelet" else (16, 10_000)
        rows.append(compare(options.dataset, size, family, degree, fit, sigma, train, draws=20))
        with open(options.output, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
