"""The problem sets, and a small one, for the tests of making, running and grading them."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from tools.notebooks import ROOT
from wavescore_lite.course import grading

SOURCE = ROOT / "assignments" / "source"
SETS = ("ps1", "ps2", "ps3", "ps4")
MASTERS = grading.load_masters(SOURCE)
INSTRUCTORS = (ROOT / "book" / "instructors.md").read_text()


def small_master():
    """A set of two answers in code, with a test each."""

    def cell(make_cell, name, source, **changes):
        base = {"grade_id": name, "grade": False, "solution": False, "locked": True, "task": False, "schema_version": 3}
        base["cell_type"] = "code" if make_cell is new_code_cell else "markdown"
        return make_cell(source, metadata={"nbgrader": base | changes})

    answer, test = {"solution": True, "locked": False}, {"grade": True, "points": 2}
    solution = "### BEGIN SOLUTION\n{} = 1\n### END SOLUTION"
    return new_notebook(
        cells=[
            cell(new_code_cell, "p1-a", solution.format("a"), **answer),
            cell(new_code_cell, "p1-a-test", "assert a == 1, 'a is not one'", **test),
            cell(new_code_cell, "p2-b", solution.format("b"), **answer),
            cell(new_code_cell, "p2-b-test", "assert b == 1, 'b is not one'", **test),
        ]
    )


def graded(tmp_path, first="a = 1", second="b = 1", limits=None, change=lambda notebook: None):
    """What two answers to the small set earn; `change` is done to the notebook before it is handed in."""
    notebook = grading.released(small_master())
    notebook.cells[0].source, notebook.cells[2].source = first, second
    change(notebook)
    nbformat.write(notebook, tmp_path / "eve.ipynb")
    return grading.grade(tmp_path / "eve.ipynb", {"small": small_master()}, limits)
