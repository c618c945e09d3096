"""What commands share: options that take one of a list of names, and checks of where the output goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..data import registry


def one_of(names: Sequence[str], help: str) -> Any:
    """An option that takes one of `names`, lists them in its help, and refuses others by name."""

    def parse(given: str) -> str:
        if given not in names:
            raise typer.BadParameter(f"{given!r} is not one of {', '.join(map(repr, names))}.")
        return given

    return typer.Option(parser=parse, metavar=f"[{'|'.join(names)}]", autocompletion=lambda: [*names], help=help)


Dataset = Annotated[str, one_of(("auto", *registry.NAMES), "auto: MNIST where it is found or can be fetched.")]
Size = Annotated[int, typer.Option(help="Side of the images in pixels, such as 28, 32 or 64.")]
Device = Annotated[str, one_of(("cpu", "cuda"), "Where the work is done.")]


def check_folder(output: Path) -> None:
    """Raise a ValueError unless `output` is a folder that can be written to."""
    if not output.is_dir() or not os.access(output, os.W_OK | os.X_OK):
        raise ValueError(f"output is {output}; expected a folder that is there and can be written to")


def check_file(output: Path, *suffixes: str) -> None:
    """Raise a ValueError unless `output` may be written and ends as it should."""
    if output.suffix.lower() not in suffixes or output.is_dir() or not os.access(output.parent, os.W_OK | os.X_OK):
        kinds = " or ".join(suffixes)
        raise ValueError(f"output is {output}; expected a {kinds} file in a folder that is there and can be written to")
