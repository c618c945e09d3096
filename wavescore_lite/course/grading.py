"""Grade submissions of the problem sets: each notebook runs with the tests of its master.

What counts is the master: its tests, the hidden ones too, take the place of whatever the submission has there, and only
answers are taken over, with any cells that were added. The masters are in nbgrader's format, and points are counted as
nbgrader does, so that `nbgrader autograde` comes to the same result.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .graded import Graded, problem_of
from .limits import Limits
from .sandbox import STATE, read_notebook, run

if TYPE_CHECKING:
    from nbformat import NotebookNode

COLUMNS = ("student", "set", "points", "out_of", "by_hand", "remarks", "file", "checksum")  # beside the problems
CANARY = """def _differences():
    import numpy
    assert not numpy.allclose(1.0, 2.0)
    yield lambda: numpy.testing.assert_allclose(1.0, 2.0)
    if "check" in globals():
        yield lambda: check("", 1.0, 2.0)
    if "run_test" in globals():
        yield lambda: run_test(lambda: numpy.testing.assert_allclose(1.0, 2.0))
for _difference in _differences():
    try:
        _difference()
    except AssertionError:
        continue
    raise SystemError
try:
    assert False
except AssertionError:
    print("WORD")"""  # said only where comparisons can still fail
BENT = "comparisons can no longer fail there: read it, its points are void"


def settings(cell: NotebookNode) -> dict[str, Any]:
    """What nbgrader keeps in the metadata of a cell; nothing where a student put something else there."""
    found = cell.metadata.get("nbgrader")
    return found if isinstance(found, dict) else {}


def grade_id(cell: NotebookNode) -> str | None:
    """The name of a cell, None if it has none."""
    name = settings(cell).get("grade_id")
    return name if isinstance(name, str) else None


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


def released(master: NotebookNode) -> NotebookNode:
    """The master as students get it: without solutions and hidden tests, by nbgrader itself."""
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    notebook, resources = copy.deepcopy(master), dict[str, Any]()
    for step in (ClearSolutions(), ClearHiddenTests()):
        notebook, resources = step.preprocess(notebook, resources)
    return notebook


def merge(submission: NotebookNode, master: NotebookNode) -> tuple[NotebookNode, list[str], set[str]]:
    """Put the answers of a submission into the master.

    Cells that students added stay behind the cell of the master that they followed; of a cell that was doubled the last
    one counts, as for nbgrader.

    Returns
    -------
    notebook : NotebookNode
        Without outputs.
    changed : list of str
        Locked cells that the submission had changed or lacks.
    empty : set of str
        grade_id of the answers that are as they were released.
    """
    stubs = {grade_id(cell): cell.source for cell in released(master).cells if grade_id(cell)}
    final = {grade_id(cell): place for place, cell in enumerate(submission.cells)}
    answers: dict[str, str] = {}
    added: dict[str | None, list[NotebookNode]] = {None: []}
    last = None
    for place, cell in enumerate(submission.cells):
        name = grade_id(cell)
        if name and name in stubs and final[name] == place:
            last = name
            answers[name] = cell.source
        else:
            added.setdefault(last, []).append(_plain(cell))
    notebook = copy.deepcopy(master)
    cells, changed, empty = added.pop(None), list[str](), set[str]()
    for cell in notebook.cells:
        name = grade_id(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if name and not settings(cell)["locked"]:
            cell.source = answers.get(name, stubs[name])
            if cell.source.strip() == stubs[name].strip():
                empty.add(name)
        elif name and answers.get(name, "").strip() != stubs[name].strip():
            changed.append(f"{name} was {'changed' if name in answers else 'missing'}")
        cells += [cell, *added.get(name, [])] if name else [cell]
    notebook.cells = cells
    return notebook, changed, empty


def grade(path: str | Path, masters: dict[str, NotebookNode], limits: Limits | None = None) -> Graded:
    """Run one submission and count its points. Whatever it does is a remark, not an error.

    Parameters
    ----------
    path : path
        A notebook.
    masters : dict
        See `load_masters`.
    limits : Limits, optional

    Returns
    -------
    Graded
    """
    import nbformat

    limits, graded = limits or Limits(), Graded(Path(path), student_of(Path(path), masters))
    try:
        submission = read_notebook(graded.path)
    except (OSError, ValueError) as reason:
        graded.remarks.append(f"not a notebook: {reason}")
        return graded
    ids = {grade_id(cell) for cell in submission.cells} - {None}
    common = {name: len(ids & {grade_id(cell) for cell in master.cells}) for name, master in masters.items()}
    likeliest = max(common, key=lambda name: common[name])
    if not common[likeliest]:
        graded.remarks.append(f"it has no cell of any problem set ({', '.join(masters)})")
        return graded
    graded.problem_set = likeliest
    notebook, changed, empty = merge(submission, masters[likeliest])
    if changed:
        graded.remarks.append(f"the tests of the master were run where {', '.join(changed)}")
    word = secrets.token_hex()
    notebook.cells.append(nbformat.v4.new_code_cell(CANARY.replace("WORD", word)))
    executed, ending = run(notebook, limits)
    canary = executed.cells.pop()
    bent = canary.metadata[STATE] in ("ok", "error") and word not in str(canary.outputs)
    late = [grade_id(cell) or "a cell that was added" for cell in executed.cells if cell.metadata[STATE] == "timeout"]
    graded.remarks += [ending] if ending else []
    graded.remarks += [BENT] if bent else []
    graded.remarks += [f"more than {limits.cell_seconds:g} s in {', '.join(late)}"] if late else []
    for cell in executed.cells:
        name = grade_id(cell)
        if name and settings(cell).get("grade"):
            _count(graded, name, cell, empty, bent)
    return graded


def _count(graded: Graded, name: str, cell: NotebookNode, empty: set[str], bent: bool) -> None:
    """Enter the points of a graded cell, and why it lost them."""
    from nbgrader.utils import determine_grade

    state = cell.metadata[STATE]
    graded.out_of[name] = float(settings(cell)["points"])
    if settings(cell)["solution"] or cell.cell_type != "code":
        points = 0.0 if name in empty else None
    elif bent or state != "ok":
        points = 0.0
    else:
        try:
            points, _ = determine_grade(cell)
        except ValueError:  # a result above the points, which no test shows by itself
            points = 0.0
    graded.points[name] = points
    if points == 0:
        graded.messages[name] = "no answer" if name in empty else BENT if bent else _message(cell, state)


def _message(cell: NotebookNode, state: str) -> str:
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            return re.sub(r"\s+", " ", f"{output.ename}: {output.evalue}").strip(": ")[:300]
    if any(output.get("name") == "stderr" for output in cell.get("outputs", [])):
        return "it printed to standard error, a warning perhaps"
    return {"timeout": "it took too long", "ok": "it showed a result of its own"}.get(state, "it was not reached")


def _plain(cell: NotebookNode) -> NotebookNode:
    """A cell that a student added, without metadata, by which it could be skipped or graded."""
    import nbformat

    if cell.cell_type == "code":
        return nbformat.v4.new_code_cell(cell.source)
    return nbformat.v4.new_markdown_cell(cell.source)
