"""`wavescore grade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..course.limits import Limits
from .options import check_file


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
    inside: Annotated[str, typer.Option(help="Command to run each within: a sandbox. {folder} is its folder.")] = "",
) -> None:
    """Grade problem sets: run each notebook with the tests of its master, and write the points into a table.

    Students' code runs as you: see the book's page for instructors on how to contain it. Stopped at any moment, the
    same command goes on: files in the table are not run again, unless they, the masters or the limits changed.

    Example: wavescore grade submissions/*.ipynb --feedback feedback
    """
    from tabulate import tabulate

    from ..course import gradebook

    try:
        limits = Limits(seconds, cell_seconds, memory, inside)
        if missing := [str(path) for path in files if not path.is_file()]:
            raise ValueError(f"there is no file {', '.join(missing)}; expected notebooks")
        check_file(output, ".csv", ".json")
        if output.suffix.lower() == ".json":
            _grade_one(files, source, output, limits)
            return
        rows = gradebook.grade_all(files, source, output, feedback, limits)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    shown = [{key: row[key] for key in row if key not in ("file", "checksum")} for row in rows]
    typer.echo(tabulate(shown, headers="keys", disable_numparse=True, maxcolwidths=60))
    typer.echo(f"\n{output} has these {len(rows)} submissions")


def _grade_one(files: list[Path], source: Path, output: Path, limits: Limits) -> None:
    from ..course import gradebook, grading
    from ..support.storage import whole_file

    if len(files) != 1:
        raise ValueError(f"{len(files)} files were given; expected one of them for {output}")
    graded = grading.grade(files[0], grading.load_masters(source), limits)
    with whole_file(output) as file:
        file.write(gradebook.gradescope(graded).encode())
    typer.echo(f"{output} has {graded.total:g} points of {graded.maximum:g}")
