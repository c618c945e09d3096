"""Grade submissions of the problem sets: each notebook runs with the tests of its master.

What counts is the master: its tests, the hidden ones too, take the place of whatever the submission has there, and only
answers are taken over, with any cells that were added. The masters are in nbgrader's format, and points are counted as
nbgrader does, so that `nbgrader autograde` comes to the same result.
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .graded import Graded, problem_of
from .limits import Limits
from .merging import grade_id as grade_id
from .merging import merge, names_of
from .merging import released as released
from .merging import settings as settings
from .sandbox import STATE, read_notebook, run
from .witness import heard, watched, witnessed

if TYPE_CHECKING:
    from nbformat import NotebookNode

COLUMNS = ("student", "set", "points", "out_of", "by_hand", "remarks", "file", "checksum")  # beside the problems
BENT = "comparisons can no longer fail there: read it, its points are void"
UNSURE = "that this test can fail could not be confirmed"


def student_of(path: Path, sets: Iterable[str]) -> str:
    """Who handed a file in: the name of the file without that of a set, or the folder in nbgrader's layout.

    Examples
    --------
    >>> student_of(Path("ada_ps1 (1).ipynb"), ["ps1"]), student_of(Path("submitted/emmy/ps1/ps1.ipynb"), ["ps1"])
    ('ada', 'emmy')
    """
    stem = re.sub(r"( ?\(\d+\)|-Copy\d+)$", "", path.stem)  # a browser's or JupyterLab's copy
    names = "|".join(map(re.escape, sets))
    rest = re.sub(rf"(^|[-_ ]+)({names})(?=[-_ ]|$)", "", stem, flags=re.IGNORECASE).strip("-_ ")
    if rest:
        return rest
    folder = Path(os.path.abspath(path)).parent
    return folder.parent.name if folder.name.lower() == stem.lower() else folder.name


def load_masters(folder: str | Path) -> dict[str, NotebookNode]:
    """Read the masters, ``NAME/NAME.ipynb``.

    Returns
    -------
    dict of str to NotebookNode

    Raises
    ------
    ValueError
        If there are none, a problem in one has the name of a column, or nbgrader is not installed.
    """
    if importlib.util.find_spec("nbgrader") is None:
        raise ValueError("nbgrader is not installed; expected it: pip install 'wavescore-lite[course]'")
    import nbformat

    folder = Path(folder)
    paths = {path.stem: path for path in sorted(folder.glob("*/*.ipynb")) if path.parent.name == path.stem}
    if not paths:
        raise ValueError(f"there are no masters in {folder}; expected NAME/NAME.ipynb, such as ps1/ps1.ipynb")
    masters = {name: nbformat.read(path, as_version=4) for name, path in paths.items()}
    for name, master in masters.items():
        names = filter(None, map(grade_id, master.cells))
        taken = [given for given in names if problem_of(given) in COLUMNS]
        if taken:
            raise ValueError(f"{name} has the grade_id {taken[0]}; expected one such as p1-{taken[0]}")
    return masters


def grade(
    path: str | Path,
    masters: dict[str, NotebookNode],
    limits: Limits | None = None,
    stop: threading.Event | None = None,
) -> Graded:
    """Run one submission and count its points. Whatever it does is a remark, not an error.

    Parameters
    ----------
    path : path
        A notebook.
    masters : dict
        See `load_masters`.
    limits : Limits, optional
    stop : threading.Event, optional
        Ends the run when it is set.

    Returns
    -------
    Graded
    """
    limits, graded = limits or Limits(), Graded(Path(path), student_of(Path(path), masters))
    try:
        submission = read_notebook(graded.path)
    except (OSError, ValueError) as reason:
        graded.remarks.append(f"not a notebook: {reason}")
        return graded
    common = {name: len({*names_of(submission, master)} - {None}) for name, master in masters.items()}
    likeliest = max(common, key=lambda name: common[name])
    if not common[likeliest]:
        graded.remarks.append(f"it has no cell of any problem set ({', '.join(masters)})")
        return graded
    graded.problem_set = likeliest
    notebook, remarks, empty = merge(submission, masters[likeliest])
    graded.remarks += [*remarks, *_words(notebook, empty)]
    executed, ending = run(witnessed(notebook), limits, stop)
    bent, unsure = heard(executed)
    late = [grade_id(cell) or "a cell that was added" for cell in executed.cells if cell.metadata[STATE] == "timeout"]
    graded.remarks += [ending] if ending else []
    graded.remarks += [BENT] if bent else []
    graded.remarks += [f"more than {limits.cell_seconds:g} s in {', '.join(late)}"] if late else []
    for cell in executed.cells:
        name = grade_id(cell)
        if name and settings(cell).get("grade"):
            _count(graded, name, cell, name in empty, BENT if bent else UNSURE if name in unsure else "")
    return graded


def _words(notebook: NotebookNode, empty: set[str]) -> list[str]:
    """A remark on each cell of a student that has words which no answer needs."""
    students = [cell for cell in notebook.cells if not settings(cell).get("locked") and grade_id(cell) not in empty]
    found = [(grade_id(cell), watched(cell.source)) for cell in students if cell.cell_type == "code"]
    return [f"{name or 'a cell that was added'} has {', '.join(words)}: read it" for name, words in found if words]


def _count(graded: Graded, name: str, cell: NotebookNode, is_empty: bool, doubt: str) -> None:
    """Enter the points of a graded cell, and why it lost them."""
    from nbgrader.utils import determine_grade

    state = cell.metadata[STATE]
    graded.out_of[name] = float(settings(cell)["points"])
    if settings(cell)["solution"] or cell.cell_type != "code":
        points = 0.0 if is_empty else None
    elif doubt or state != "ok":
        points = 0.0
    else:
        try:
            points, _ = determine_grade(cell)
        except ValueError:  # a result above the points, which no test shows by itself
            points = 0.0
    graded.points[name] = points
    if points == 0:
        error = _message(cell, state)
        graded.messages[name] = "no answer" if is_empty else doubt if doubt == BENT or state == "ok" else error


def _message(cell: NotebookNode, state: str) -> str:
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            return re.sub(r"\s+", " ", f"{output.ename}: {output.evalue}").strip(": ")[:300]
    if any(output.get("name") == "stderr" for output in cell.get("outputs", [])):
        return "it printed to standard error, a warning perhaps"
    return {"timeout": "it took too long", "ok": "it showed a result of its own"}.get(state, "it was not reached")
