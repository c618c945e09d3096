"""A class of five hands in problem set 1: each earns what it should, in nbgrader too, and a hostile one is named."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from typer.testing import CliRunner

from assignments import make, rehearsal
from tests.problem_sets import INSTRUCTORS, MASTERS, SOURCE
from wavescore_lite.cli import app
from wavescore_lite.course import gradebook, grading
from wavescore_lite.course.sandbox import Limits


@pytest.fixture(scope="module")
def class_of_five(tmp_path_factory):
    """Submissions of problem set 1, by student: full, with slips, half-way, empty, hostile."""
    folder = tmp_path_factory.mktemp("class")
    for student, notebook in rehearsal.submissions(MASTERS["ps1"]).items():
        if student == "cleo":
            notebook.cells.insert(3, new_code_cell("helper = 1 / 0"))
        nbformat.write(notebook, folder / f"{student}_ps1.ipynb")
    return folder


EARNED = {  # by problem
    "ada": (7, 4, 8, 5, 6),
    "bela": (4, 0, 4, 2, 6),
    "cleo": (3, 4, 0, 0, 0),
    "emil": (0, 0, 0, 0, 0),
    "mallory": (3, 0, 0, 0, 0),
}


@pytest.fixture(scope="module")
def graded_class(class_of_five):
    """The table that the command makes of them, in the rows of their students.

    It takes half a minute: five kernels, and a loop that is stopped after twenty seconds, which the slowest cell of the
    others must not need on a slow and busy machine.
    """
    paths = [str(path) for path in sorted(class_of_five.glob("*.ipynb"))]
    output, feedback = class_of_five / "grades.csv", class_of_five / "feedback"
    options = ["--source", str(SOURCE), "--output", str(output), "--feedback", str(feedback), "--cell-seconds", "20"]
    result = CliRunner().invoke(app, ["grade", *paths, *options], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "these 5 submissions" in result.output
    with open(output, newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("student", EARNED)
def test_submissions_earn_what_they_should(graded_class, student):
    row = graded_class[student]
    assert row["set"] == "ps1"
    assert tuple(int(row[f"p{number}"]) for number in range(1, 6)) == EARNED[student]
    assert float(row["points"]) == sum(EARNED[student])
    assert row["by_hand"] == {"ada": "8", "bela": "8", "cleo": "4", "emil": "0", "mallory": "0"}[student]
    assert row["out_of"] == "38"
    if student != "mallory":
        assert row["remarks"] == ""


def test_the_page_for_instructors_shows_these_points(graded_class):
    shown = [line.split() for line in INSTRUCTORS.splitlines() if line.split()[1:2] == ["ps1"]]
    assert {line[0] for line in shown} == set(EARNED)
    for student, _, points, out_of, by_hand, *rest in shown:
        row = graded_class[student]
        assert (points, out_of, by_hand) == (row["points"], row["out_of"], row["by_hand"])
        assert tuple(map(int, rest[-5:])) == EARNED[student]


def test_the_class_is_written_in_the_layout_of_nbgrader(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rehearsal", "--output", str(tmp_path)])
    rehearsal.main()
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [f"{s}/ps1/ps1.ipynb" for s in EARNED]
    for path in paths:
        nbformat.validate(nbformat.read(path, as_version=4))
        assert grading.student_of(path, MASTERS) == path.parts[-3]


def test_the_malicious_one_is_named(graded_class):
    remarks = graded_class["mallory"]["remarks"]
    assert "more than 20 s in p2-step" in remarks
    assert "p1-highpass-test was changed" in remarks
    assert "p5-padded-test was changed" in remarks
    assert "p5-padded-more was missing" in remarks


def test_feedback_says_why_points_were_lost(graded_class, class_of_five):
    assert {path.name for path in (class_of_five / "feedback").iterdir()} == {f"{s}-ps1.txt" for s in EARNED}
    text = (class_of_five / "feedback" / "bela-ps1.txt").read_text()
    assert "0 of 2  p2-step-test  AssertionError: step_matrix for n = 6: it is transposed" in text
    assert "to be read of 4  p1-proof-answer" in text
    assert "p3-analyze-test  NameError: name 'analyze'" in (class_of_five / "feedback" / "mallory-ps1.txt").read_text()


def test_grading_goes_on_where_it_was_stopped(graded_class, class_of_five, monkeypatch):
    monkeypatch.setattr(grading, "run", lambda *_: pytest.fail("it was graded again"))
    paths = sorted(class_of_five.glob("*.ipynb"))
    rows = gradebook.grade_all(paths, SOURCE, class_of_five / "grades.csv", limits=Limits(cell_seconds=20))
    assert len(rows) == 5
    assert [row["points"] for row in rows] == [graded_class[row["student"]]["points"] for row in rows]


def test_nbgrader_comes_to_the_same_points(graded_class, class_of_five, tmp_path):
    """It takes half a minute on a busy core: two programs of nbgrader's, and a kernel for each student."""
    course = tmp_path / "course"
    shutil.copytree(SOURCE / "ps1", course / "source" / "ps1")
    shutil.copy(SOURCE.parent / "nbgrader_config.py", course)
    for student in ("ada", "bela", "cleo", "emil"):
        (course / "submitted" / student / "ps1").mkdir(parents=True)
        shutil.copy(class_of_five / f"{student}_ps1.ipynb", course / "submitted" / student / "ps1" / "ps1.ipynb")
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join([bin_folder, os.environ["PATH"]])}
    make.make(course / "source", course / "release")  # as `make assignments` leaves it
    for command in (["generate_assignment", "--force"], ["autograde"]):
        result = subprocess.run(
            [sys.executable, "-m", "nbgrader", *command, "ps1"],
            cwd=course,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        scores = {submission.student_id: submission.score for submission in gradebook.assignment_submissions("ps1")}
    assert scores == {student: float(graded_class[student]["points"]) for student in scores}
    assert len(scores) == 4
