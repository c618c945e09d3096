"""`wavescore reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import wavescore_lite as ws

from .options import Dataset, Size, check_folder

SAMPLES = "samples"


def reproduce(
    figure: Annotated[
        list[str] | None,
        typer.Option(help="5a to 5d, 6a, 6b, or what --list names. May be given again. Default: all but samples."),
    ] = None,
    dataset: Dataset = "auto",
    size: Size = 32,
    train: Annotated[int, typer.Option(help="Training images.", min=2)] = 60_000,
    test: Annotated[int, typer.Option(help="Held-out images.", min=2)] = 10_000,
    output: Annotated[Path, typer.Option(help="Folder of the tables, DATASET-SIZE.csv and -pairs.csv.")] = Path(
        "results"
    ),
    only_list: Annotated[bool, typer.Option("--list", help="Say what there is to do, and do nothing.")] = False,
) -> None:
    """Measure every family of the paper's figures; what the table holds already is not measured again.

    Stop it at any moment: the table keeps whole trials only, and the same command goes on where it stopped. Trials
    whose rows are damaged, or of another version of the package, are named and measured again.

    "samples" draws 2,000 from every denoiser and measures them, into DATASET-SIZE-samples.csv and -agreement.csv.

    Example: wavescore reproduce --figure independent --size 32
    """
    from ..study import experiments, generation, plan

    try:
        check_folder(output)
        name = ws.resolve_dataset(dataset)
        ws.WaveletBasis(size)
        planned = plan.figures(name, size, train, test)
        named = [one for one in figure or planned if one != SAMPLES]
        wanted = plan.chosen(named, planned, size)
        generators = plan.generators(name, size, train, test) if SAMPLES in (figure or []) else []
        if generators:
            ws.load_classifier(name, size)
        for split, limit in (("train", train), ("test", test)):
            ws.load_images(name, size, split, limit)
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    path = output / f"{name}-{size}.csv"
    chosen = [trial for key in wanted for trial in planned[key]]
    try:
        table = experiments.table_for(path, chosen)
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if ailing := [*table.strays, *(f"{trial.name}: {why}" for trial, why in table.faults.items())]:
        typer.echo(f"{path} is not whole, and what is asked for is measured again: {'; '.join(ailing)}", err=True)
    done = table.rows.keys() - table.faults
    for key in wanted:
        typer.echo(f"{key:>14}  {len(planned[key]):3} trials, {sum(t in done for t in planned[key])} of them in {path}")
    if generators:
        tables = generation.tables(path)
        missing = generation.missing(generators, tables[0])
        typer.echo(f"{SAMPLES:>14}  {len(generators):3} denoisers, {len(missing)} rows missing in {tables[0]}")
    if only_list:
        for trial in plan.left_out(planned):
            typer.echo(f"    left out  {trial.name}: {plan.why_left_out(trial)}")
        return
    try:
        if chosen:
            experiments.run(chosen, path)
        if generators:
            generation.run(generators, path)
    except (ValueError, TimeoutError) as error:
        typer.echo(f"\n{error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"\n{path} is complete for {', '.join([*wanted, *[SAMPLES] * bool(generators)])}")
