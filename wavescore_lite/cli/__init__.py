"""The command line: `wavescore demo`, `data`, `sample`, `reproduce`, `train`, `train-classifier`, `bench` and `grade`.

A module for each. What a command works with is imported when it runs, so that help takes no longer than to read it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from .bench import bench
from .data import data
from .demo import demo
from .grade import grade
from .reproduce import reproduce
from .sample import sample
from .train import train
from .train_classifier import train_classifier

app = typer.Typer(
    help="Analytic diffusion scores in a wavelet basis. Start with: wavescore demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (demo, data, sample, reproduce, train, train_classifier, bench, grade):
    app.command()(command)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wavescore {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Analytic diffusion scores in a wavelet basis. Start with: wavescore demo."""
