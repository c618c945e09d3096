"""The problem sets, and a small one, for the tests of making, running and grading them."""

import ast
import contextlib
import functools
import io

import nbformat
import torch
from nbformat.v4 import new_code_cell, new_notebook

from tools.notebooks import ROOT
from wavescore_lite.course import grading

SOURCE = ROOT / "assignments" / "source"
SETS = ("ps1", "ps2", "ps3", "ps4")
MASTERS = grading.load_masters(SOURCE)
INSTRUCTORS = (ROOT / "book" / "instructors.md").read_text()


def source_of(notebook, name):
    """The source of a cell, by its grade_id."""
    [cell] = [cell for cell in notebook.cells if grading.grade_id(cell) == name]
    return cell.source


def code_cells(name, **wanted):
    """Pairs of grade_id and source of the code cells of a master, those with such settings."""
    cells = [cell for cell in MASTERS[name].cells if cell.cell_type == "code"]
    return [
        (grading.grade_id(cell), cell.source)
        for cell in cells
        if all(grading.settings(cell)[key] == value for key, value in wanted.items())
    ]


def functions(name):
    """The functions that a set asks for, each with the grade_id of its cell."""
    return {
        part.name: answer
        for answer, source in code_cells(name, solution=True)
        for part in ast.parse(source).body
        if isinstance(part, ast.FunctionDef) and answer != "p5-plot"
    }


def names_in(source):
    """All names that a cell reads."""
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def cells_testing(name, function):
    """The test cells of a set that are of one of its functions."""
    answer = functions(name)[function]
    return [
        (test, source)
        for test, source in code_cells(name, grade=True, solution=False)
        if function in names_in(source)
        and grading.problem_of(test) == grading.problem_of(answer)
        and (function != "make_cnn" or "train" not in test)
    ]


def run_cells(cells, names):
    """Run cells in one namespace; the names of those that fail, with their errors."""
    failed = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for name, source in cells:
            try:
                exec(compile(source, name, "exec"), names)
            except Exception as error:
                failed[name] = error
    return failed


@functools.cache
def _first_names(name):
    threads, names = torch.get_num_threads(), {}
    assert run_cells([cell for cell in code_cells(name) if cell[0] in ("setup", "data")], names) == {}
    torch.set_num_threads(threads)
    return names


def first_names(name):
    """The names that the first cells of a set, set-up and data, define."""
    return dict(_first_names(name))


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
