"""What earns points: the tests of the master, whatever a submission does to its own."""

import ast
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from tests.problem_sets import MASTERS, SETS, SOURCE, graded, small_master
from wavescore_lite.course import grading, merging, sandbox, witness
from wavescore_lite.course.check import check
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


ATTACKS = {  # each earned full marks once; none of them answers anything
    "reads the master": """
import wavescore_lite
from pathlib import Path
root = Path(wavescore_lite.__file__).parents[1]
for master in root.glob("assignments/source/*/*.ipynb"):
    a = b = 1
""",
    "drops tests": """
def drop(lines):
    return [] if "assert " in "".join(lines) and "import" not in "".join(lines) else lines
get_ipython().input_transformers_cleanup.append(drop)
""",
    "drops the tests of a problem": """
get_ipython().input_transformers_cleanup.append(lambda lines: [] if "assert a" in "".join(lines) else lines)
""",
    "takes assert out": """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass() if "is not one" in ast.unparse(node) else node
get_ipython().ast_transformers.append(Drop())
""",
    "forges results at exit": """
import atexit, json, os
from pathlib import Path

def forge():
    for place in Path.cwd().glob("*.ipynb"):
        notebook = json.loads(place.read_text())
        for cell in notebook["cells"]:
            cell["metadata"]["wavescore"] = "ok"
            if cell["cell_type"] == "code":
                cell["outputs"] = [output for output in cell["outputs"] if output["output_type"] == "stream"]
        place.write_text(json.dumps(notebook))
    for place in Path(f"/proc/{parent}/fd").glob("[01]"):
        place.write_text(json.dumps([["ok", []]] * 8))

parent = os.getppid()
atexit.register(forge)
""",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_earn_nothing_and_are_named(tmp_path, attack):
    result = graded(tmp_path, ATTACKS[attack], "raise NotImplementedError()")
    assert result.total == 0
    assert set(result.out_of.values()) == {2}
    assert result.remarks[0].startswith("p1-a has ")
    assert result.remarks[0].endswith(": read it")


def test_nothing_of_the_masters_lies_where_answers_run(tmp_path):
    """Neither tests that are still to come nor solutions: not in the folder, nor on the way up from the package."""
    look = """
import wavescore_lite
from pathlib import Path
package = Path(wavescore_lite.__file__).parent
a = 1 if package.parent.parent == Path.cwd() else 0
b = sum(path.is_file() and b"b is not" + b" one" in path.read_bytes() for path in Path.cwd().rglob("*")) + 1
"""
    assert graded(tmp_path, look, "").total == 4


def test_a_worker_that_was_killed_has_told_nothing(tmp_path):
    result = graded(tmp_path, "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    assert result.points == {"p1-a-test": 0, "p2-b-test": 0}
    assert result.out_of == {"p1-a-test": 2, "p2-b-test": 2}
    assert "its process ended early" in result.remarks


def test_every_test_has_a_copy_that_must_fail():
    """Full marks for the masters show that these fail when they run."""
    for master in MASTERS.values():
        for cell in master.cells:
            if grading.settings(cell)["grade"] and cell.cell_type == "code":
                wrong = witness.must_fail(cell.source)
                ast.parse(wrong)
                assert wrong != cell.source
                assert wrong.count("check(") >= cell.source.count("check(")


@pytest.mark.parametrize(
    ("test", "n", "message"),
    [
        ("check('n', n, 3)", 3, "n: it is 7; expected 3"),
        ("check('n', n, [[-1.0, 0.0], [2.0, -3.0]], rtol=0.06)", np.array([[-1.0, 0.0], [2.0, -3.0]]), "n: "),
        ("check('é', n if n else 0, -2.0), check('n', (m := n), -2)", -2, "é: it is 1; expected -2"),
        ("for k in (0, 1):\n    assert (n ==\n        3 or\n        k), f'{n} is {k}'", 3, "3 is 0"),
        ("assert n if n == 3 else 0, 'no'", 3, "no"),
    ],
)
def test_a_check_that_must_fail_does_where_the_test_passes(test, n, message):
    exec(test, {"n": n, "check": check})
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}"):
        exec(witness.must_fail(test), {"n": n, "check": check})


def test_what_has_no_comparison_ends_with_one():
    assert witness.must_fail("n = 3") == "n = 3\nassert []"
    assert witness.must_fail("%matplotlib inline") is None


def test_canaries_stand_at_random_places_under_random_names():
    made = [witness.witnessed(small_master()) for _ in range(20)]
    places = {tuple(place for place, cell in enumerate(one.cells) if "word" in cell.metadata) for one in made}
    assert len(places) > 3  # a place of seven each, so that all alike has odds of 7 to the power of -16
    assert len({cell.source for one in made for cell in one.cells if "word" in cell.metadata}) == 40


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
    assert result.remarks[-1] == grading.BENT
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


def five_mebibytes(notebook):
    text = {"output_type": "stream", "name": "stdout", "text": "x" * 5 * 2**20}
    notebook["cells"][0]["outputs"] = [text]
    return json.dumps(notebook).encode()


def an_answer_without_name(notebook):
    notebook["cells"][0]["metadata"] = {}
    return json.dumps(notebook).encode()


def a_test_without_name(notebook):
    notebook["cells"][1]["metadata"] = {}
    return json.dumps(notebook).encode()


def an_answer_deleted(notebook):
    del notebook["cells"][0]
    return json.dumps(notebook).encode()


LOST = "cells without a name count where p1-a"
WRITTEN = {  # what nbgrader 0.9.6 gives, None where it refuses the file, and our remark
    byte_order_mark: (None, ""),
    windows_line_ends: (4, ""),
    as_pycharm_writes: (4, ""),
    five_mebibytes: (4, ""),
    an_answer_without_name: (4, f"{LOST} had lost its name"),
    a_test_without_name: (4, ""),
    an_answer_deleted: (2, f"{LOST} was missing"),
}


def test_what_other_editors_write_earns_what_nbgrader_gives(tmp_path):
    """Answers of two lines, so that line ends matter. Files that nbgrader refuses earn what they are worth."""
    course = tmp_path / "course"
    (course / "source" / "small").mkdir(parents=True)
    nbformat.write(small_master(), course / "source" / "small" / "small.ipynb")
    shutil.copy(SOURCE.parent / "nbgrader_config.py", course)
    notebook = grading.released(small_master())
    notebook.cells[0].source, notebook.cells[2].source = "a = 0\na = 1", "b = 0\nb = 1"
    paths = {}
    for write in WRITTEN:
        paths[write] = course / "submitted" / write.__name__ / "small" / "small.ipynb"
        paths[write].parent.mkdir(parents=True)
        paths[write].write_bytes(write(json.loads(nbformat.writes(notebook))))
    with ThreadPoolExecutor(2) as pool:
        ours = dict(
            zip(paths, pool.map(lambda path: grade(path, {"small": small_master()}), paths.values()), strict=True)
        )
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for command in (["generate_assignment", "--force"], ["autograde"]):
        program = [sys.executable, "-m", "nbgrader", *command, "small"]
        subprocess.run(program, cwd=course, env=environment, capture_output=True)
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        theirs = {one.student_id: one.score for one in gradebook.assignment_submissions("small")}
    done = {path.parent.parent.name for path in (course / "autograded").glob("*/small/small.ipynb")}
    for write, (points, remark) in WRITTEN.items():
        assert (theirs[write.__name__] if write.__name__ in done else None) == points, write
        assert ours[write].total == (4 if points is None else points), write
        assert "; ".join(ours[write].remarks) == remark


def test_an_answer_for_a_person_that_lost_its_name_is_found_in_its_place(tmp_path):
    """And one that is not there is an empty one."""
    [place] = [k for k, cell in enumerate(MASTERS["ps1"].cells) if grading.grade_id(cell) == "p1-proof-answer"]
    notebook = grading.released(MASTERS["ps1"])
    notebook.cells[place].source, notebook.cells[place].metadata = "Because.", {}
    merged, remarks, empty = grading.merge(notebook, MASTERS["ps1"])
    assert [cell.source for cell in merged.cells if grading.grade_id(cell) == "p1-proof-answer"] == ["Because."]
    assert remarks == ["cells without a name count where p1-proof-answer had lost its name"]
    assert "p1-proof-answer" not in empty
    del notebook.cells[place]
    merged, remarks, empty = grading.merge(notebook, MASTERS["ps1"])
    assert remarks == ["cells without a name count where p1-proof-answer was missing"]
    assert "p1-proof-answer" in empty


def test_a_notebook_that_lost_all_names_is_known_by_its_tests():
    notebook = grading.released(MASTERS["ps2"])
    for cell in notebook.cells:
        cell.metadata = {}
        cell.source = cell.source.replace("raise NotImplementedError()", "pass")
    found = merging.names_of(notebook, MASTERS["ps2"])
    locked = [grading.grade_id(cell) if grading.settings(cell)["locked"] else None for cell in MASTERS["ps2"].cells]
    assert found == locked
    known = {name: sum(map(bool, merging.names_of(notebook, master))) for name, master in MASTERS.items()}
    assert max(known, key=known.get) == "ps2"


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        (b"", "not a notebook"),
        (b"PK\x03\x04 not JSON", "not a notebook"),
        (b"{}", "not a notebook"),
        (b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "it has no cell of any problem set"),
        (b" " * (sandbox.LARGEST + 1), "it has 67,108,865 bytes; expected at most 67,108,864"),
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
