"""`wavescore demo`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import wavescore_lite as ws

from .options import Dataset, Size, check_file

if TYPE_CHECKING:
    import torch

    from ..denoisers import Denoiser


def demo(
    dataset: Dataset = "auto",
    size: Size = 32,
    images: Annotated[int, typer.Option(help="Training images; a tenth as many are held out.", min=10)] = 10_000,
    degree: Annotated[int, typer.Option(help="Degree of the polynomials, 1 to 6.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the picture goes, a .png file.")] = Path("demo.png"),
) -> None:
    """Fit an analytic wavelet score, print what it does to held-out images, and draw it.

    Example: wavescore demo --size 64 --degree 2 --output digits.png
    """
    from ..study import SIGMAS

    started = time.perf_counter()
    try:
        check_file(output, ".png")
        basis, coupling = ws.WaveletBasis(size), ws.independent(degree)
        name = ws.resolve_dataset(dataset)
        train = ws.load_images(name, size, "train", limit=images)
        test = ws.load_images(name, size, "test", limit=max(images // 10, 6))
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    denoisers: dict[str, Denoiser] = {
        "mean image": ws.MeanImage().fit(train),
        "full linear (Wiener)": ws.Wiener().fit(train),
        f"independent wavelets, D = {degree}": ws.WaveletScore(basis, coupling).fit(train),
    }
    typer.echo(
        f"{name} at {size} x {size}: fitted on {len(train):,} training images, noise integrated out;\n"
        f"mean squared error on {len(test):,} held-out images, clipped to [0, 1], with its standard error\n"
    )
    typer.echo(ws.error_table(ws.compare(denoisers, test, SIGMAS), SIGMAS))
    try:
        _draw(denoisers, test[:6], sigma=1.0, output=output)
    except OSError as error:
        raise typer.BadParameter(f"{output} could not be written: {error}") from error
    typer.echo(f"\n{output} shows clean, noisy and denoised images ({time.perf_counter() - started:.1f} s in all)")


def _draw(denoisers: Mapping[str, Denoiser], clean: torch.Tensor, sigma: float, output: Path) -> None:
    import matplotlib

    from ..support.storage import whole_file

    matplotlib.use("agg")
    ws.plots.use_style()
    noisy = clean + sigma * ws.standard_normal(0, len(clean), tuple(clean.shape[1:]), seed=0)
    rows = {"clean": clean, f"sigma = {sigma:g}": noisy}
    rows |= {name.split(",")[0]: model.denoise(noisy, sigma) for name, model in denoisers.items()}
    figure = ws.plots.image_grid(list(rows.values()), row_titles=list(rows))
    with whole_file(output) as file:
        figure.savefig(file, format="png", dpi=150)
