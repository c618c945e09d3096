"""`wavescore data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def data(
    root: Annotated[Path | None, typer.Option(help="Look for MNIST/raw in this folder alone.")] = None,
) -> None:
    """Say where MNIST and other data sets were looked for and found, and how to get them.

    MNIST is read from --root, else from $WAVESCORE_DATA, else from the cache folder, in torchvision's layout.
    """
    from ..data import loading, registry

    drawn = []
    for name in registry.NAMES:
        if (files := registry.dataset(name).files) is None:
            drawn.append(name)
            continue
        places = loading.where(root, name)
        for place, folder, state in places:
            typer.echo(f"{place:>16}  {folder}  {state}")
        if places and places[0][2] == "found":
            asked = "auto" if name == registry.AUTO[0] else name
            typer.echo(f"\n{files.title} is used: load_images({asked!r}) reads it.\n")
        else:
            typer.echo(f"\n{files.title} is not there. Any of these will do:\n{files.advice}\n")
    for name in drawn:
        typer.echo(f"{name} needs no file: load_images({name!r}) draws it.")
