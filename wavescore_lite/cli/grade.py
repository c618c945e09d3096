"""`wavescore grade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..course.limits import Limits, bubblewrap
from .options import check_file

OPEN = "There was no sandbox: students' code could read what you can read, the solutions too. See --sandbox."


def grade(
    files: Annotated[list[Path], typer.Argument(help="Notebooks that students handed in.", show_default=False)],
    source: Annotated[Path, typer.Option(help="Folder of the masters.")] = Path("assignments/source"),
    output: Annotated[Path, typer.Option(help="The table, .csv; or .json of one file, for Gradescope.")] = Path(
        "grades.csv"
    ),
    feedback: Annotated[Path | None, typer.Option(help="Folder for a text for each student.")] = None,
    seconds: Annotated[float, typer.Option(help="For a whole submission.")] = Limits.seconds,
    cell_seconds: Annotated[float, typer.Option(help="For one cell.")] = Limits.cell_seconds,
    memory: Annotated[float, typer.Option(help="In GiB.")] = Limits.memory,
    jobs: Annotated[
        int | None, typer.Option(help="How many at a time. Default: one a core.", show_default=False)
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Run each within bubblewrap, on Linux.")] = False,
    inside: Annotated[str, typer.Option(help="Another command to run each within. {folder} is its folder.")] = "",
) -> None:
    """Grade problem sets: run each notebook with the tests of its master, and write the points into a table.

    Without a sandbox students' code runs as you: see the book's page for instructors. Stopped at any moment, the same
    command goes on: files in the table are not run again, unless they, the masters or the limits changed.

    Example: wavescore grade submissions/*.ipynb --sandbox --feedback feedback
    """
    from tabulate import tabulate

    from ..course import gradebook

    try:
        if sandbox and inside:
            raise ValueError("--sandbox and --inside were given; expected one of them")
        limits = Limits(seconds, cell_seconds, memory, bubblewrap() if sandbox else inside)
        if missing := [gradebook.printable(path) for path in files if not path.is_file()]:
            raise ValueError(f"there is no file {', '.join(missing)}; expected notebooks")
        check_file(output, ".csv", ".json")
        if output.suffix.lower() == ".json":
            _grade_one(files, source, output, limits)
            return
        rows = gradebook.grade_all(files, source, output, feedback, limits, jobs)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    shown = [{key: row[key] for key in row if key not in ("file", "checksum")} for row in rows]
    typer.echo(tabulate(shown, headers="keys", disable_numparse=True, maxcolwidths=60))
    typer.echo(f"\n{output} has these {len(rows)} submissions")
    if not limits.inside:
        typer.echo(OPEN)


def _grade_one(files: list[Path], source: Path, output: Path, limits: Limits) -> None:
    from ..course import gradebook, grading
    from ..support.storage import whole_file

    if len(files) != 1:
        raise ValueError(f"{len(files)} files were given; expected one of them for {output}")
    graded = grading.grade(files[0], grading.load_masters(source), limits)
    with whole_file(output) as file:
        file.write(gradebook.gradescope(graded).encode())
    typer.echo(f"{output} has {graded.total:g} points of {graded.maximum:g}")
    if not limits.inside:
        typer.echo(OPEN)
