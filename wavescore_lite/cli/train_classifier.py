"""`wavescore train-classifier`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import wavescore_lite as ws

from .options import Dataset


def train_classifier(
    dataset: Dataset = "auto",
    size: Annotated[int, typer.Option(help="Side of the images in pixels, a power of two.")] = 32,
    images: Annotated[
        int | None, typer.Option(help="Training images, all 60,000 by default; some are held out for the log.", min=10)
    ] = None,
    steps: Annotated[int, typer.Option(help="Batches in all.", min=2)] = 8000,
    batch: Annotated[int, typer.Option(help="Images in a batch.", min=2)] = 128,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 5e-3,
    seed: Annotated[int, typer.Option(help="Of the first weights and of every batch.", min=0)] = 0,
    output: Annotated[Path | None, typer.Option(help="Folder, by default runs/classifier-DATASET-SIZE.")] = None,
) -> None:
    """Train the classifier whose features samples are compared by, from no test image: minutes of one core.

    The folder gets a log, and at the end the weights with their line of the table of checksums.

    Example: wavescore train-classifier --dataset strokes
    """
    from ..networks.classifier import classifier_file
    from ..networks.classifier_training import train_classifier as train

    try:
        name = ws.resolve_dataset(dataset)
        folder = output or Path("runs", classifier_file(name, size)).with_suffix("")
        data = ws.load_images(name, size, "train", images), ws.load_labels(name, "train", images)
        line = train(*data, folder, name, steps, batch, learning_rate, seed)
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"\n{folder / classifier_file(name, size)} is trained; its line of the table of checksums:")
    typer.echo(",".join(line.values()))
