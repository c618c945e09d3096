"""`wavescore train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import wavescore_lite as ws

from ..networks.designs import DESIGNS, SIGMA_RANGES
from .options import Dataset, Device


def train(
    network: Annotated[str, typer.Argument(help=f"One of {', '.join(DESIGNS)}.")],
    dataset: Dataset = "auto",
    size: Annotated[int, typer.Option(help="Side of the images in pixels, a power of two.")] = 32,
    images: Annotated[
        int | None, typer.Option(help="Training images, all 60,000 by default; some are held out for the log.", min=10)
    ] = None,
    steps: Annotated[int, typer.Option(help="Batches in all.", min=1)] = 20_000,
    batch: Annotated[int, typer.Option(help="Images in a batch.", min=1)] = 128,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Of the first weights and of every batch.", min=0)] = 0,
    log_every: Annotated[int, typer.Option(help="Steps between lines of the log, and checkpoints.", min=1)] = 500,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Train in 16 bits, where that is faster.")] = False,
    noise: Annotated[str, typer.Option(help=f"Law of the noise levels: {', '.join(SIGMA_RANGES)}.")] = "log-normal",
    device: Device = "cpu",
    output: Annotated[Path | None, typer.Option(help="Folder, by default runs/NETWORK-DATASET-SIZE.")] = None,
) -> None:
    """Train a denoiser to compare with: a CNN or a U-Net, from no test image.

    Stop it at any moment: the same command goes on from the last checkpoint. The folder gets a log, a
    checkpoint and, at the end, the weights with their line of the table of checksums.

    Example: wavescore train unet-small --size 32 --steps 20000
    """
    from ..networks import training
    from ..networks.files import weights_file
    from ..networks.recipes import Recipe
    from ..support.checks import check_device

    try:
        check_device(device)
        name = ws.resolve_dataset(dataset)
        recipe = Recipe(network, name, size, images, steps, batch, learning_rate, seed, log_every, bfloat16, noise)
        folder = output or Path("runs", weights_file(network, size, name, seed)).with_suffix("")
        line = training.train(recipe, ws.load_images(name, size, "train", images), folder, device)
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    except RuntimeError as error:
        typer.echo(f"\n{error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"\n{folder / weights_file(network, size, name, seed)} is trained; its line of the table of checksums:")
    typer.echo(",".join(line.values()))
