"""What students may write: any names of their own, numbers in any form; and what they are told where that is wrong."""

import ast

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import sympy as sp
import torch
from nbformat.v4 import new_code_cell

from assignments.rehearsal import MARKER
from tests.problem_sets import (
    MASTERS,
    SETS,
    cells_testing,
    code_cells,
    first_names,
    functions,
    graded,
    names_in,
    run_cells,
)
from wavescore_lite.course import grading
from wavescore_lite.course.grading import grade_id, settings

pytestmark = [  # as in a notebook: a test fails on what is shown there
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
EVERY = [pytest.param(name, function, id=f"{name}-{function}") for name in SETS for function in functions(name)]
WITH_SIGMA = {  # training takes any noise level
    (name, part.name): source
    for name in SETS
    for _, source in code_cells(name, solution=True)
    for part in ast.parse(source).body
    if isinstance(part, ast.FunctionDef) and "sigma" in [given.arg for given in part.args.args]
    if part.name != "train_cnn"
}


@pytest.fixture(autouse=True)
def no_pictures_stay():
    yield
    plt.close("all")


def solution(name, function):
    """The cell that answers, as it stands in the master."""
    return [cell for cell in code_cells(name, solution=True) if cell[0] == functions(name)[function]]


# Names


def bound(body):
    """The names that statements bind where they stand."""
    names = set()
    for part in body:
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            names.add(part.name)
        elif isinstance(part, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in part.names}
        elif isinstance(part, ast.Delete):
            names -= {target.id for target in part.targets}
        else:
            names |= {node.id for node in ast.walk(part) if isinstance(node, ast.Name | ast.MatchAs) and stored(node)}
            names |= bound([*getattr(part, "body", []), *getattr(part, "orelse", [])])
    return names


def stored(node):
    return isinstance(node, ast.MatchAs) or isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize("name", SETS)
def test_tests_run_in_functions_and_leave_no_name(name):
    for test, source in code_cells(name, grade=True, solution=False):
        function = "test_" + test.removesuffix("-test").replace("-", "_")
        definition, removal = ast.parse(source).body
        assert isinstance(definition, ast.FunctionDef), test
        assert [ast.unparse(decorator) for decorator in definition.decorator_list] == ["run_test"], test
        assert (definition.name, ast.unparse(removal)) == (function, f"del {function}")
        assert bound([definition, removal]) == set()
        assert not [node for node in ast.walk(definition) if isinstance(node, ast.Global)], test


@pytest.mark.parametrize("name", SETS)
def test_what_else_is_bound_is_named_in_the_introduction(name):
    text = MASTERS[name].cells[0].source
    assert "leave these names as they are" in " ".join(text.split())
    for cell, source in code_cells(name, locked=True):
        if cell not in ("setup", "data"):
            for found in bound(ast.parse(source).body):
                assert f"`{found}`" in text, f"{found} in {cell}"


def keeping(name):
    """The right answers to a set, by a student whose functions rely on all names that tests and pictures use within."""
    own = {"_w", "_x", "_nodes", "_rng", "_h", "_A", "levels", "sigmas", "weights", "nodes", "phi", "errors"}
    for cell, source in code_cells(name, locked=True):
        if cell not in ("setup", "data"):
            own |= {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name) and stored(node)}
            own -= bound(ast.parse(source).body)
    own = sorted(own - first_names(name).keys() - functions(name).keys() - {"_"})
    notebook = nbformat.from_dict(MASTERS[name])
    look = ast.parse(f"assert all(globals()[name] == 'kept' for name in {own})").body
    for cell in notebook.cells:
        if settings(cell)["solution"] and cell.cell_type == "code":
            answer = ast.parse(MARKER.sub("", cell.source))
            for part in answer.body:
                if isinstance(part, ast.FunctionDef):
                    part.body = [*look, *part.body]
            cell.source = ast.unparse(answer)
    place = [grade_id(cell) for cell in notebook.cells].index("setup")
    notebook.cells.insert(place + 1, new_code_cell(f"globals().update(dict.fromkeys({own}, 'kept'))"))
    return notebook, len(own)


def test_names_that_a_student_keeps_cost_nothing_when_graded(tmp_path):
    notebook, count = keeping("ps1")
    assert count > 40
    nbformat.write(notebook, tmp_path / "ada_ps1.ipynb")
    earned = grading.grade(tmp_path / "ada_ps1.ipynb", MASTERS)
    assert earned.messages == {}
    assert (earned.total, earned.by_hand) == (30, 8)


@pytest.mark.parametrize("name", ["ps2", "ps3", "ps4"])
def test_names_that_a_student_keeps_pass_all_tests(name):
    """Without what takes a minute in the last set: its long training, and what needs it."""
    notebook, _ = keeping(name)
    skipped = ("setup", "data", "p3-table", "p5-train", "p5-plot") if name == "ps4" else ("setup",)
    cells = [(grade_id(cell) or "added", cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    assert run_cells([cell for cell in cells if cell[0] not in skipped], first_names(name)) == {}


# Points


@pytest.mark.parametrize("name", SETS)
def test_each_test_is_of_one_function_and_no_lump(name):
    for test, source in code_cells(name, grade=True, solution=False):
        of = names_in(source) & functions(name).keys()
        assert len(of) == 1 or of == {"make_cnn", "train_cnn"}, test
    for cell in MASTERS[name].cells:
        if settings(cell)["grade"] and cell.cell_type == "code":
            assert settings(cell)["points"] <= 3, grade_id(cell)
    for function in functions(name):
        hidden = [test for test, _ in cells_testing(name, function) if test.endswith("-more")]
        assert hidden or function == "make_cnn", function
        assert len(cells_testing(name, function)) > len(hidden), function


@pytest.mark.parametrize("slip", ["sigma = 1.0", "sigma = sigma**2"])
@pytest.mark.parametrize(("name", "function"), WITH_SIGMA)
def test_visible_tests_tell_noise_levels_apart(name, function, slip):
    answer = ast.parse(WITH_SIGMA[name, function])
    for part in answer.body:
        if isinstance(part, ast.FunctionDef) and part.name == function:
            part.body = [*ast.parse(slip).body, *part.body]
    visible = [cell for cell in cells_testing(name, function) if not cell[0].endswith("-more")]
    assert run_cells([("answer", ast.unparse(answer)), *visible], first_names(name)).keys() - {"answer"}


# Forms


@pytest.mark.parametrize(
    "wrong",
    [None, "text", 1j, [[1.0], [2.0, 3.0]], {"a": 1.0}, object(), [], sp.Symbol("q"), np.array(["a", "b"])],
    ids=lambda wrong: type(wrong).__name__,  # one that each worker of pytest-xdist makes alike
)
@pytest.mark.parametrize(("name", "function"), [every for every in EVERY if every.values[1] != "train_cnn"])
def test_what_is_no_number_is_told_in_a_sentence(name, function, wrong):
    names = first_names(name)
    assert run_cells(solution(name, function), names) == {}
    names[function] = lambda *_, **__: wrong
    failed = run_cells(cells_testing(name, function), names)
    assert failed.keys() == {test for test, _ in cells_testing(name, function)}
    for test, error in failed.items():
        assert isinstance(error, AssertionError), (test, error)
        assert "expected" in str(error), (test, error)
        assert "\n" not in str(error)


FORMS = {
    "single precision": np.float32,
    "a tensor": torch.tensor,
    "a tensor in single precision": lambda value: torch.tensor(np.float32(value)),
    "a list": lambda value: value.tolist(),
    "a matrix": np.asmatrix,
    "one by one": lambda value: value.reshape(1, 1) if value.size == 1 else value,
}


def in_form(value, form):
    """The numbers of an answer in another form; what is made of formulas, and networks, stay."""
    if isinstance(value, dict):
        return {key: in_form(part, form) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_form(part, form) for part in value)
    if isinstance(value, sp.Basic) or callable(value):
        return value
    return form(np.asarray(value, dtype=float))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "function"), [every for every in EVERY if "cnn" not in every.values[1]])
def test_numbers_may_come_in_any_form(name, function, form):
    """As a matrix, what is no matrix may be refused, in a sentence."""
    names = first_names(name)
    assert run_cells(solution(name, function), names) == {}
    right = names[function]
    names[function] = lambda *given, **named: in_form(right(*given, **named), FORMS[form])
    failed = run_cells(cells_testing(name, function), names)
    if form == "a matrix":
        assert all("the shape is (1, " in str(error) for error in failed.values()), failed
    else:
        assert failed == {}


def test_a_test_that_is_made_to_do_nothing_is_noticed(tmp_path):
    earned = graded(tmp_path, first="a = 1\nrun_test = lambda test: None")
    assert earned.total == 0
    assert grading.BENT in earned.remarks
