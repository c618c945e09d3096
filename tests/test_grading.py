"""What earns points: the tests of the master, whatever a submission does to its own."""

import copy
import json
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from tests.problem_sets import MASTERS, SETS, SOURCE, graded, small_master
from wavescore_lite.course import grading, sandbox
from wavescore_lite.course.grading import grade


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("ada_ps1.ipynb", "ada"),
        ("ps1-ada.ipynb", "ada"),
        ("ada/ps1 (1).ipynb", "ada"),
        ("ada/PS1-Copy1.ipynb", "ada"),
        ("submitted/ada/ps1/ps1.ipynb", "ada"),
        ("ada lovelace.ipynb", "ada lovelace"),
    ],
)
def test_students_are_known_by_their_files(path, student):
    assert grading.student_of(Path(path), SETS) == student


def test_the_small_master_itself(tmp_path):
    result = graded(tmp_path)
    assert result.points == {"p1-a-test": 2, "p2-b-test": 2}
    assert result.remarks == []


def test_points_cannot_be_forged(tmp_path):
    forge = (
        "import json, os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"
        f"notebook = json.load(open('{sandbox.OUT}'))\n"
        "for cell in notebook['cells']:\n"
        f"    cell['metadata']['{sandbox.STATE}'] = 'ok'\n"
        "    if 'points' in cell['metadata'].get('nbgrader', {}): cell['metadata']['nbgrader']['points'] = 1000\n"
        f"json.dump(notebook, open('{sandbox.OUT}', 'w'))\nos._exit(0)"
    )
    result = graded(tmp_path, "a = 2", forge)
    assert result.total == 0
    assert result.out_of == {"p1-a-test": 2, "p2-b-test": 2}
    assert grading.BENT in result.remarks


def test_a_result_above_the_points_earns_none(tmp_path):
    trick = (
        "class A:\n    def __eq__(self, other):\n        get_ipython().displayhook(1000)\n        return True\na = A()"
    )
    result = graded(tmp_path, trick)
    assert result.points == {"p1-a-test": 0, "p2-b-test": 2}


def test_cells_with_strange_metadata_are_added_ones(tmp_path):
    def change(notebook):
        for strange in ([], None, {"grade_id": ["p1-a"]}, {"grade_id": None}):
            notebook.cells.insert(0, new_code_cell("one = 1 + globals().get('one', 0)", metadata={"nbgrader": strange}))

    assert graded(tmp_path, "a = one - 3", change=change).total == 4


def test_of_a_doubled_answer_the_last_counts(tmp_path):
    def change(notebook):
        notebook.cells.insert(1, new_code_cell("a = 1", metadata=copy.deepcopy(notebook.cells[0].metadata)))

    assert graded(tmp_path, "raise NotImplementedError()", change=change).total == 4


@pytest.mark.parametrize(
    "trick",
    [
        "from wavescore_lite.coursework import check\ncheck.__code__ = (lambda *a: None).__code__\na = 1",
        "check = lambda *a, **k: None\na = 1",
        "a = 1\nget_ipython().input_transformers_cleanup.append(lambda lines: [])",
        "import numpy\nnumpy.allclose = lambda *a, **k: True\na = 1",
    ],
)
def test_comparisons_that_were_bent_void_all_points(tmp_path, trick):
    result = graded(tmp_path, trick)
    assert result.total == 0
    assert result.remarks == [grading.BENT]
    assert set(result.messages.values()) == {grading.BENT}


def test_edited_and_removed_tests_are_put_back(tmp_path):
    def change(notebook):
        notebook.cells[1].source = "pass"
        notebook.cells[1].metadata.nbgrader["points"] = 100
        del notebook.cells[3]

    result = graded(tmp_path, "a = 2", "b = 2", change=change)
    assert result.points == {"p1-a-test": 0, "p2-b-test": 0}
    assert result.out_of == {"p1-a-test": 2, "p2-b-test": 2}
    [remark] = result.remarks
    assert remark == "the tests of the master were run where p1-a-test was changed, p2-b-test was missing"


def test_cells_cannot_be_skipped_doubled_or_made_graded(tmp_path):
    def change(notebook):
        for cell in notebook.cells:
            cell.metadata["tags"] = ["skip-execution", "raises-exception"]
        extra = new_code_cell("b = 1", metadata=copy.deepcopy(notebook.cells[3].metadata))
        notebook.cells += [extra, new_markdown_cell("Done.")]
        mine = new_code_cell(
            "pass", metadata={"nbgrader": notebook.cells[1].metadata.nbgrader | {"grade_id": "p9-gift"}}
        )
        notebook.cells.append(mine)

    result = graded(tmp_path, "a = 1", "b = 2", change=change)
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}


def test_added_cells_stay_where_they_were(tmp_path):
    def change(notebook):
        notebook.cells.insert(0, new_code_cell("one = 1"))
        notebook.cells.insert(2, new_code_cell("a = a * one"))

    result = graded(tmp_path, "a = one", change=change)
    assert result.total == 4


def byte_order_mark(notebook):
    return b"\xef\xbb\xbf" + json.dumps(notebook).encode()


def windows_line_ends(notebook):
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    return json.dumps(notebook).encode()


def as_pycharm_writes(notebook):
    for cell in notebook["cells"]:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    return json.dumps(notebook).replace("\n", "\r\n").encode()


@pytest.mark.parametrize("written", [byte_order_mark, windows_line_ends, as_pycharm_writes])
def test_what_other_editors_write_is_graded_alike(tmp_path, written):
    """Answers of two lines, so that line ends matter."""
    graded(tmp_path, "a = 0\na = 1", "b = 0\nb = 1")
    path = tmp_path / "eve.ipynb"
    path.write_bytes(written(json.loads(path.read_text())))
    assert sandbox.read_notebook(path).cells[0].source == "a = 0\na = 1"  # as it is compared with the master
    result = grade(path, {"small": small_master()})
    assert (result.total, result.remarks) == (4, [])


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        (b"", "not a notebook"),
        (b"PK\x03\x04 not JSON", "not a notebook"),
        (b"{}", "not a notebook"),
        (b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "it has no cell of any problem set"),
        (b" " * (sandbox.LARGEST + 1), "it has 4,194,305 bytes; expected at most 4,194,304"),
    ],
)
def test_what_is_no_notebook_is_a_remark(tmp_path, content, remark):
    (tmp_path / "eve.ipynb").write_bytes(content)
    result = grade(tmp_path / "eve.ipynb", MASTERS)
    assert (result.total, result.problem_set) == (0, "")
    assert remark in result.remarks[0]


def test_without_nbgrader_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(grading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"nbgrader is not installed; expected it: pip install 'wavescore-lite\[course\]'"
    ):
        grading.load_masters(SOURCE)
