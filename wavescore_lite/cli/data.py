"""`wavescore data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def data(
    root: Annotated[Path | None, typer.Option(help="Look for MNIST/raw in this folder alone.")] = None,
) -> None:
    """Say where MNIST was looked for and found, and how to get it.

    MNIST is read from --root, else from $WAVESCORE_DATA, else from the cache folder, in torchvision's layout.
    """
    from ..data import loading

    places = loading.where(root)
    for name, folder, state in places:
        typer.echo(f"{name:>16}  {folder}  {state}")
    if places[0][2] == "found":
        typer.echo("\nMNIST is used: load_images('auto') reads it.")
    else:
        typer.echo(
            "\nMNIST is not there. Any of these will do:\n"
            "  - on a machine with network: python -c \"import wavescore_lite as ws; ws.load_images('mnist')\"\n"
            "  - put the four files of MNIST (gzipped or not) in FOLDER/MNIST/raw and set WAVESCORE_DATA=FOLDER\n"
            "  - do without: load_images('strokes') draws its own digits, and 'auto' falls back to them"
        )
