"""What a fit costs against its bare arithmetic: python benchmarks/fit.py.

60,000 images of 32 x 32 (MNIST where it is found, else strokes), independent(3). The pass sums, for each of the 1,024
coefficients, products of its powers 0 to 3: 4 x 4 multiply-adds and 2 products an image. "bare"
does that arithmetic on blocks of features that are there already. A further noise level only solves 1,024 systems of
4 x 4; it is quoted as a fraction of the pass.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from clock import interleaved, report

import wavescore_lite as ws

DEGREE, SIGMA = 3, 2.0
BLOCK_IMAGES = 128


def bare_sums(count: int, dim: int) -> None:
    """The multiply-adds of a pass: Gram products of float64 features, block after block, and two powers."""
    features = torch.rand(dim, DEGREE + 1, BLOCK_IMAGES, dtype=torch.float64)
    sums = torch.zeros(dim, DEGREE + 1, DEGREE + 1, dtype=torch.float64)
    for _ in range(0, count, BLOCK_IMAGES):
        for power in range(2, DEGREE + 1):
            torch.mul(features[:, power - 1], features[:, 1], out=features[:, power])
        sums.baddbmm_(features, features.mT)


def main() -> None:
    """Measure, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()

    images = ws.load_images("auto", size=32, limit=options.images)
    noisy = images[:10_000] + SIGMA * torch.randn(min(10_000, len(images)), 32, 32)
    basis = ws.WaveletBasis(32)
    model = ws.WaveletScore(basis, ws.independent(DEGREE)).fit(images)
    levels = iter(torch.linspace(0.5, 5, 1000).tolist())
    seconds = interleaved(
        {
            "pass over the images": lambda: ws.WaveletScore(basis, model.coupling).fit(images),
            "bare arithmetic of the pass": lambda: bare_sums(len(images), basis.dim),
            "first noise level after it": lambda: ws.WaveletScore.merge(model, model).coefficients(next(levels)),
            "each further noise level": lambda: model.coefficients(next(levels)),
            f"denoise {len(noisy):,} images": lambda: model.denoise(noisy, SIGMA),
            "denoise one image": lambda: model.denoise(noisy[:1], SIGMA),
        },
        options.repetitions,
    )
    coefficients, transform = len(images) * basis.dim, sum(4 * (32 >> step) ** 3 for step in range(basis.level))
    sums = coefficients * (2 * (DEGREE + 1) ** 2 + DEGREE - 1)
    denoising = len(noisy) * (2 * transform + basis.dim * (2 * (DEGREE + 1) + DEGREE))
    operations = dict.fromkeys(seconds, "") | {
        "pass over the images": f"{(sums + len(images) * transform) / 1e9:.3g}",
        "bare arithmetic of the pass": f"{sums / 1e9:.3g}",
        f"denoise {len(noisy):,} images": f"{denoising / 1e9:.3g}",
        "denoise one image": f"{denoising / len(noisy) / 1e9:.2g}",
    }
    whole = seconds["pass over the images"]
    print(f"{torch.get_num_threads()} threads, {len(images):,} images, sums in float64")
    report(
        [
            {"what": name, "ms": f"{1e3 * value:.4g}", "of the pass": f"{value / whole:.2g}", "GFLOP": operations[name]}
            for name, value in seconds.items()
        ],
        Path(__file__).with_suffix(".csv"),
    )


if __name__ == "__main__":
    main()
