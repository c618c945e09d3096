"""The wavelet transform against PyWavelets and against its own bare arithmetic: python benchmarks/transform.py.

60,000 x 32 x 32 pixels, and as many pixels in images of 16 to 128. "bare" multiplies contiguous blocks by the level
matrices from both sides and keeps nothing: 4 s^3 floating-point operations for a block of side s, no copies, no
checks. Times are medians of interleaved runs, so the ratios mean something on a machine that others use too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pywt
import torch
from clock import interleaved, report

from wavescore_lite import WaveletBasis
from wavescore_lite.wavelets import BLOCK

PIXELS = 60_000 * 32 * 32
CASES = [(32, torch.float32), (32, torch.float64), (16, torch.float32), (64, torch.float32), (128, torch.float32)]


def bare_products(basis: WaveletBasis, images: torch.Tensor) -> None:
    """The matrix products of every level, on contiguous blocks of the right shapes."""
    for step in range(basis.level):
        side = basis.size >> step
        matrix = torch.rand(side, side, dtype=images.dtype)
        blocks = images.view(-1)[: len(images) * side**2].view(len(images), side, side)
        for block in blocks.split(BLOCK):
            matrix @ (block @ matrix.T)


def measure(size: int, dtype: torch.dtype, pixels: int, repetitions: int) -> dict[str, object]:
    """One row of the table: seconds of each, and what `analyze` and `synthesize` gain and lose."""
    basis = WaveletBasis(size)
    images = torch.rand(pixels // size**2, size, size, dtype=dtype, generator=torch.Generator().manual_seed(0))
    coefficients = basis.analyze(images)
    periodic = {"wavelet": basis.wavelet, "mode": "periodization", "axes": (1, 2)}
    tree = pywt.wavedec2(images.numpy(), level=basis.level, **periodic)
    seconds = interleaved(
        {
            "analyze": lambda: basis.analyze(images),
            "pywt.wavedec2": lambda: pywt.wavedec2(images.numpy(), level=basis.level, **periodic),
            "synthesize": lambda: basis.synthesize(coefficients),
            "pywt.waverec2": lambda: pywt.waverec2(tree, **periodic),
            "bare": lambda: bare_products(basis, images),
        },
        repetitions,
    )
    operations = sum(4 * (size >> step) ** 3 for step in range(basis.level)) * len(images)
    return {
        "size": size,
        "dtype": str(dtype).removeprefix("torch."),
        "images": len(images),
        **{f"{name} [s]": round(value, 4) for name, value in seconds.items()},
        "analyze gain": round(seconds["pywt.wavedec2"] / seconds["analyze"], 2),
        "synthesize gain": round(seconds["pywt.waverec2"] / seconds["synthesize"], 2),
        "analyze / bare": round(seconds["analyze"] / seconds["bare"], 2),
        "GFLOP": round(operations / 1e9, 2),
    }


def main() -> None:
    """Measure every case, print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=PIXELS, help="pixels in all images together")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    rows = [measure(size, dtype, options.pixels, options.repetitions) for size, dtype in CASES]
    print(f"{torch.get_num_threads()} threads; PyWavelets has one")
    report(rows, Path(__file__).with_suffix(".csv"))


if __name__ == "__main__":
    main()
