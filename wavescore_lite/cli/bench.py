"""`wavescore bench`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import wavescore_lite as ws

from .. import benchmarks
from .options import Dataset, Device, check_folder


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="500 images of 16 x 16, each case once: do all run?")] = False,
    images: Annotated[
        int | None, typer.Option(help="Training images; all 60,000 by default.", min=benchmarks.FEWEST_IMAGES)
    ] = None,
    dataset: Dataset = "auto",
    device: Device = "cpu",
    output: Annotated[Path, typer.Option(help="Folder for bench.csv and bench.png.")] = Path("results/costs"),
) -> None:
    """Measure what the package costs beside the bare arithmetic of the same work; some ten minutes on two cores.

    Example: wavescore bench --quick --output .
    """
    from ..support.checks import check_device

    try:
        check_folder(output)
        setting = benchmarks.Setting(ws.resolve_dataset(dataset), device=check_device(device))
        if quick:
            setting = replace(setting, images=500, size=16, turns=1, seconds=0.0)
        if images is not None:
            setting = replace(setting, images=images)
        setting.load()
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{benchmarks.heading(setting)}\n")
    rows = benchmarks.measure(setting)
    typer.echo(benchmarks.table(rows))
    typer.echo(f"\n{benchmarks.verdict(rows)}")
    try:
        benchmarks.write(rows, benchmarks.heading(setting), output)
    except OSError as error:
        raise typer.BadParameter(f"{output} could not be written to: {error}") from error
