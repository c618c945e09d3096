"""Problem sets: masters earn full marks, releases none, wrong answers what they deserve; hostile ones do no harm."""

import contextlib
import copy
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import psutil
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from assignments import make, rehearsal
from tests.planted_errors import PLANTED
from tools.notebooks import ROOT
from wavescore_lite.cli import app
from wavescore_lite.course import gradebook, grading, sandbox
from wavescore_lite.course.grading import grade, grade_id, settings
from wavescore_lite.course.sandbox import Limits
from wavescore_lite.coursework import check

SOURCE = ROOT / "assignments" / "source"
SETS = ("ps1", "ps2", "ps3", "ps4")
MASTERS = grading.load_masters(SOURCE)
PLAN = {"ps1": (38, 8), "ps2": (41, 10), "ps3": (42, 8), "ps4": (36, 16)}  # points in all, and by hand
INSTRUCTORS = (ROOT / "book" / "instructors.md").read_text()
[SANDBOX] = re.findall(r"--inside \"(bwrap [^\"]*)\"", INSTRUCTORS.replace("\\\n", ""))
REGION = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END (?:SOLUTION|HIDDEN TESTS)", re.DOTALL)


def source_of(notebook, name):
    [cell] = [cell for cell in notebook.cells if grade_id(cell) == name]
    return cell.source


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The release, made by nbgrader."""
    folder = tmp_path_factory.mktemp("course") / "release"
    make.make(SOURCE, folder)
    return folder


# The masters


@pytest.mark.parametrize("name", SETS)
def test_masters_are_in_the_form_that_nbgrader_takes(name):
    master = MASTERS[name]
    assert master.metadata.kernelspec.name == "python3"
    ids = [grade_id(cell) for cell in master.cells]
    assert len(set(ids)) == len(ids)
    assert all(ids), "a cell without grade_id could be changed unseen"
    for cell in master.cells:
        assert not cell.get("outputs"), grade_id(cell)
        assert cell.get("execution_count") is None, grade_id(cell)
        assert settings(cell)["locked"] != settings(cell)["solution"]
        assert settings(cell)["solution"] == ("### BEGIN SOLUTION" in cell.source), grade_id(cell)
        assert settings(cell)["grade"] == ("points" in settings(cell)), grade_id(cell)
    total, by_hand = PLAN[name]
    assert sum(settings(cell).get("points", 0) for cell in master.cells) == total
    assert sum(settings(cell).get("points", 0) for cell in master.cells if cell.cell_type == "markdown") == by_hand


@pytest.mark.parametrize("name", SETS)
def test_the_heading_says_goals_time_and_points(name):
    total, by_hand = PLAN[name]
    heading = " ".join(MASTERS[name].cells[0].source.split())
    assert heading.startswith(f"# Problem set {name[2]}: ")
    assert "**What you will be able to do.**" in heading
    assert "**Expected time:**" in heading
    assert f"**Points:** {total}, of which {total - by_hand} are given by tests and {by_hand} by hand" in heading


@pytest.mark.parametrize("name", SETS)
def test_the_headings_of_problems_say_their_points(name):
    points = Counter()
    for cell in MASTERS[name].cells:
        points[grading.problem_of(grade_id(cell))] += settings(cell).get("points", 0)
    text = "\n".join(cell.source for cell in MASTERS[name].cells)
    headings = re.findall(r"^## Problem (\d+)\..* \((\d+) points\)$", text, re.MULTILINE)
    assert {f"p{number}": int(said) for number, said in headings} == {p: n for p, n in points.items() if n}


@pytest.mark.parametrize("name", SETS)
def test_every_answer_has_tests_and_every_problem_a_hint_or_a_rubric(name):
    cells = MASTERS[name].cells
    for before, cell in pairwise(cells):
        if settings(before)["solution"] and before.cell_type == "code":
            assert settings(cell)["grade"] or cell.metadata.nbgrader.grade_id.endswith("answer"), grade_id(before)
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    by_hand = [cell for cell in cells if settings(cell)["grade"] and cell.cell_type == "markdown"]
    assert text.count("*Rubric:*") == len(by_hand)
    assert text.count("<details><summary>Hint") >= 3
    assert text.count("<details>") == text.count("</details>")


@pytest.mark.parametrize("name", SETS)
def test_masters_earn_full_marks_in_time(name):
    started = time.monotonic()
    graded = grade(SOURCE / name / f"{name}.ipynb", MASTERS)
    total, by_hand = PLAN[name]
    assert graded.problem_set == name
    assert (graded.total, graded.by_hand) == (total - by_hand, by_hand), graded.messages
    assert not graded.messages
    assert time.monotonic() - started < 240


# The release


@pytest.mark.parametrize("name", SETS)
def test_nothing_of_the_solutions_is_released(release, name):
    with zipfile.ZipFile(release / f"{name}.zip") as archive:
        assert sorted(archive.namelist()) == [f"{name}/README.txt", f"{name}/{name}.ipynb"]
        text = archive.read(f"{name}/{name}.ipynb").decode()
    assert text == (release / name / f"{name}.ipynb").read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    everything = "\n".join(cell.source for cell in notebook.cells)
    for word in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS"):
        assert word not in text
    kept = {line.strip() for line in everything.splitlines()}
    secrets = [
        line.strip()
        for cell in MASTERS[name].cells
        for region in REGION.findall(cell.source)
        for line in region.split("\n")
    ]
    assert len(secrets) > 60
    shared = {line for line in secrets if len(line) > 12} & kept
    visible = {line.strip() for cell in MASTERS[name].cells for line in REGION.sub("", cell.source).splitlines()}
    assert shared <= visible, shared
    assert len(shared) < 12


@pytest.mark.parametrize("name", SETS)
def test_submissions_are_compared_with_what_was_released(release, name):
    notebook = nbformat.read(release / name / f"{name}.ipynb", as_version=4)
    ours = grading.released(MASTERS[name])
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in ours.cells]


def test_a_master_that_nbgrader_refuses_releases_nothing(tmp_path):
    shutil.copytree(SOURCE / "ps1", tmp_path / "source" / "ps1")
    path = tmp_path / "source" / "ps1" / "ps1.ipynb"
    path.write_text(path.read_text().replace("### END SOLUTION", "### THE END"))
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "older").touch()
    with pytest.raises(make.ReleaseError, match="nbgrader refused ps1"):
        make.make(tmp_path / "source", tmp_path / "release")
    assert [path.name for path in (tmp_path / "release").iterdir()] == ["older"]


@pytest.mark.parametrize("name", SETS)
def test_a_release_runs_to_its_end_and_earns_nothing(release, name, monkeypatch):
    runs, run = [], sandbox.run
    monkeypatch.setattr(grading, "run", lambda *given: runs.append(run(*given)) or runs[-1])
    graded = grade(release / name / f"{name}.ipynb", MASTERS)
    assert (graded.total, graded.by_hand, graded.remarks) == (0, 0, [])
    assert set(graded.points.values()) == {0}
    [(executed, _)] = runs
    for cell in executed.cells:
        if cell.cell_type == "code":
            errors = {output.ename for output in cell.outputs if output.output_type == "error"}
            assert errors <= {"NotImplementedError", "AssertionError"}, grade_id(cell)
            assert cell.metadata[sandbox.STATE] == ("error" if errors else "ok"), grade_id(cell)
            assert not errors or not grade_id(cell).startswith(("setup", "data")), grade_id(cell)


# Wrong answers


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


@pytest.fixture(scope="module")
def prepared():
    """For each set the names that its first cells, set-up and data, define."""
    threads, names = torch.get_num_threads(), {}
    for name in SETS:
        names[name] = {}
        first = [(grade_id(c), c.source) for c in MASTERS[name].cells if grade_id(c) in ("setup", "data")]
        assert run_cells(first, names[name]) == {}
    yield names
    torch.set_num_threads(threads)
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        pytest.param(name, planted, id=f"{name}-{planted[0]}-{planted[1]}".replace(" ", "-"))
        for name in SETS
        for planted in PLANTED[name]
    ],
)
@pytest.mark.filterwarnings("default")
def test_planted_errors_cost_points(prepared, name, planted):
    answer, _, right, wrong = planted
    problem, source = grading.problem_of(answer), source_of(MASTERS[name], answer)
    assert source.count(right) >= 1, "there is nothing to change"
    cells = [
        (grade_id(cell), cell.source.replace(right, wrong) if grade_id(cell) == answer else cell.source)
        for cell in MASTERS[name].cells
        if cell.cell_type == "code"
        and grading.problem_of(grade_id(cell)) == problem
        and (settings(cell)["grade"] or settings(cell)["solution"])
    ]
    names = dict(prepared[name])
    tests = {grade_id(cell) for cell in MASTERS[name].cells if settings(cell)["grade"]}
    for cell in cells:
        failed = run_cells([cell], names)
        if failed:
            break
    else:
        pytest.fail("all tests pass")
    [(where, error)] = failed.items()
    assert where in tests, f"{where}: {error!r}"
    assert str(error)


def test_every_answer_in_code_has_three_planted_errors():
    for name in SETS:
        answers = [grade_id(c) for c in MASTERS[name].cells if settings(c)["solution"] and c.cell_type == "code"]
        planted = [answer for answer, *_ in PLANTED[name]]
        for answer in set(answers) - {"p5-plot"}:
            assert planted.count(answer) >= 3, (name, answer)


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        (None, [1.0], "is None; expected numbers: is a return missing?"),
        ("five", 5.0, "is of type str; expected real numbers"),
        ([[1.0], [2.0, 3.0]], [1.0], "is of type list; expected real numbers"),
        (1j, 1.0, "is of type complex; expected real numbers"),
        (np.ones((2, 3)), np.ones((3, 2)), r"the shape is \(2, 3\); expected \(3, 2\): is it transposed\?"),
        ([1.0], [1.0, 2.0], r"the shape is \(1,\); expected \(2,\)$"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2 entries are not finite"),
        (2.5, 2.0, "it is 2.5; expected 2"),
        (-2.5, 2.5, "the sign is wrong"),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 3.0], [2.0, 4.0]], "it is transposed"),
        ([2.0, 4.0, 8.0], [1.0, 2.0, 4.0], "it is off by a factor: 2 times what is expected"),
        ([1.0, 2.0, 4.0], [4.0, 2.0, 1.0], "the order along axis 0 is reversed"),
        ([4.0, 1.0, 2.0, 9.0], [1.0, 2.0, 9.0, 4.0], "it is shifted by one along axis 0"),
        ([0.0, 0.0], [1.0, 2.0], "2 of 2 entries are wrong, the worst at index 1: 0, expected 2"),
        ([[1.0, 2.0], [3.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]], "1 of 4 entries are wrong, the worst at index 1, 1: 5"),
    ],
)
def test_check_says_what_is_wrong(got, expected, message):
    with pytest.raises(AssertionError, match=f"^the answer:? {message}"):
        check("the answer", got, expected)


def test_check_passes_what_is_right():
    check("a tensor", torch.tensor([1.0, 2.0]), [1.0, 2.0])
    check("nearly", 1.0 + 1e-10, 1.0)
    with pytest.raises(AssertionError):
        check("not quite", 1.0 + 1e-6, 1.0)


# A class


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
    "bela": (4, 0, 2, 1, 6),
    "cleo": (3, 4, 0, 0, 0),
    "emil": (0, 0, 0, 0, 0),
    "mallory": (3, 0, 0, 0, 0),
}


@pytest.fixture(scope="module")
def graded_class(class_of_five):
    """The table that the command makes of them, in the rows of their students."""
    paths = [str(path) for path in sorted(class_of_five.glob("*.ipynb"))]
    output, feedback = class_of_five / "grades.csv", class_of_five / "feedback"
    options = ["--source", str(SOURCE), "--output", str(output), "--feedback", str(feedback), "--cell-seconds", "30"]
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


def test_the_page_for_instructors_sums_up_the_sets():
    for name, (total, by_hand) in PLAN.items():
        assert re.search(rf"\| {name[2]} .*\| {total - by_hand} \+ {by_hand} \|", INSTRUCTORS), name
    total, by_hand = map(sum, zip(*PLAN.values(), strict=True))
    assert f"{by_hand} of {total} points" in INSTRUCTORS
    assert sum(map(len, PLANTED.values())) > 100


def test_the_malicious_one_is_named(graded_class):
    remarks = graded_class["mallory"]["remarks"]
    assert "more than 30 s in p2-step" in remarks
    assert "p1-highpass-test was changed" in remarks
    assert "p5-padded-test was changed" in remarks
    assert "p5-more was missing" in remarks


def test_feedback_says_why_points_were_lost(graded_class, class_of_five):
    assert {path.name for path in (class_of_five / "feedback").iterdir()} == {f"{s}-ps1.txt" for s in EARNED}
    text = (class_of_five / "feedback" / "bela-ps1.txt").read_text()
    assert "0 of 2  p2-step-test  AssertionError: step_matrix for n = 6: it is transposed" in text
    assert "to be read of 4  p1-proof-answer" in text
    assert "p3-analyze-test  NameError: name 'analyze'" in (class_of_five / "feedback" / "mallory-ps1.txt").read_text()


def test_grading_goes_on_where_it_was_stopped(graded_class, class_of_five, monkeypatch):
    monkeypatch.setattr(grading, "run", lambda *_: pytest.fail("it was graded again"))
    paths = sorted(class_of_five.glob("*.ipynb"))
    rows = gradebook.grade_all(paths, SOURCE, class_of_five / "grades.csv", limits=Limits(cell_seconds=30))
    assert len(rows) == 5
    assert [row["points"] for row in rows] == [graded_class[row["student"]]["points"] for row in rows]


def test_what_changed_is_graded_again(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(gradebook, "check_that_it_runs", lambda limits: None)
    monkeypatch.setattr(gradebook, "grade", lambda path, *_: asked.append(path) or grading.Graded(path, "eve", "small"))
    (tmp_path / "source" / "small").mkdir(parents=True)
    nbformat.write(small_master(), tmp_path / "source" / "small" / "small.ipynb")
    submission = grading.released(small_master())
    for limits, source, times in (
        (Limits(), "a = 1", 1),
        (Limits(), "a = 1", 1),
        (Limits(60), "a = 1", 2),
        (Limits(60), "a = 2", 3),
    ):
        submission.cells[0].source = source
        nbformat.write(submission, tmp_path / "eve.ipynb")
        gradebook.grade_all([tmp_path / "eve.ipynb"], tmp_path / "source", tmp_path / "grades.csv", limits=limits)
        assert len(asked) == times


def test_rows_on_other_files_stay_and_namesakes_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gradebook, "check_that_it_runs", lambda limits: None)
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    table, texts = tmp_path / "grades.csv", tmp_path / "texts"
    for folder in ("1", "2"):
        (tmp_path / folder / "ada_ps1.ipynb").write_text("no notebook")
        [row] = gradebook.grade_all([tmp_path / folder / "ada_ps1.ipynb"], SOURCE, table, texts)
    assert row["remarks"].endswith(f"there is also {tmp_path / '1' / 'ada_ps1.ipynb'}")
    with open(table, newline="") as file:
        assert [row["student"] for row in csv.DictReader(file)] == ["ada", "ada"]
    assert len(list(texts.iterdir())) == 2


def test_columns_are_in_the_order_of_the_problems(tmp_path):
    rows = {"a": dict.fromkeys(grading.COLUMNS, "x") | {"p10": "1", "p2": "2"}, "b": {"bonus": "3"}}
    gradebook._write_table(tmp_path / "grades.csv", rows)
    header, first, second = (tmp_path / "grades.csv").read_text().splitlines()
    assert header.split(",")[len(grading.COLUMNS) :] == ["bonus", "p2", "p10"]
    assert first.endswith(",2,1")
    assert second.endswith(",3,,")


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


def test_another_table_is_not_overwritten(tmp_path):
    (tmp_path / "grades.csv").write_text("assignment,score\nps1,3\n")
    with pytest.raises(ValueError, match="has the columns assignment, score; expected a table that this command wrote"):
        gradebook.grade_all([], SOURCE, tmp_path / "grades.csv")


def test_a_machine_that_cannot_run_a_notebook_grades_nobody(tmp_path):
    (tmp_path / "ada_ps1.ipynb").write_text("{}")
    with pytest.raises(ValueError, match="an empty notebook could not be run within 'false': its process ended early"):
        gradebook.grade_all([tmp_path / "ada_ps1.ipynb"], SOURCE, tmp_path / "g.csv", limits=Limits(inside="false"))
    assert not (tmp_path / "g.csv").exists()


def test_a_name_that_is_no_text_is_graded_all_the_same(tmp_path):
    path = tmp_path / os.fsdecode(b"M\xfcller_ps1.ipynb")
    path.write_text("no notebook")
    [row] = gradebook.grade_all([path], SOURCE, tmp_path / "grades.csv", tmp_path / "texts")
    assert row["student"] == "M\ufffdller"


def test_nbgrader_comes_to_the_same_points(graded_class, class_of_five, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(SOURCE / "ps1", course / "source" / "ps1")
    shutil.copy(SOURCE.parent / "nbgrader_config.py", course)
    for student in ("ada", "bela", "cleo", "emil"):
        (course / "submitted" / student / "ps1").mkdir(parents=True)
        shutil.copy(class_of_five / f"{student}_ps1.ipynb", course / "submitted" / student / "ps1" / "ps1.ipynb")
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join([bin_folder, os.environ["PATH"]])}
    make.make(SOURCE, course / "release")  # as `make assignments` leaves it
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


# What a submission may try


def small_master():
    """Two answers in code with a test each."""

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
    notebook = grading.released(small_master())
    notebook.cells[0].source, notebook.cells[2].source = first, second
    change(notebook)
    nbformat.write(notebook, tmp_path / "eve.ipynb")
    return grade(tmp_path / "eve.ipynb", {"small": small_master()}, limits)


def running(mark):
    """Command lines of this machine's processes that have `mark` among their arguments."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if mark in line]


def assert_none_is_left(mark):
    """Within a minute, for what is killed ends when the system has taken back its memory."""
    deadline = time.monotonic() + 60
    while left := running(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_the_small_master_itself(tmp_path):
    result = graded(tmp_path)
    assert result.points == {"p1-a-test": 2, "p2-b-test": 2}
    assert result.remarks == []


def test_a_loop_costs_its_own_points_alone(tmp_path):
    result = graded(tmp_path, "while True:\n    pass", limits=Limits(cell_seconds=2))
    assert result.points == {"p1-a-test": 0, "p2-b-test": 2}
    assert result.remarks == ["more than 2 s in p1-a"]
    assert result.messages["p1-a-test"].startswith("NameError")


def test_a_loop_that_cannot_be_interrupted_is_stopped(tmp_path):
    stubborn = (
        "while True:\n    try:\n        while True:\n            pass\n    except KeyboardInterrupt:\n        pass"
    )
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    started = time.monotonic()
    result = graded(tmp_path, second=stubborn, limits=Limits(seconds=15, cell_seconds=4))
    assert time.monotonic() - started < 60
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert "stopped after 15 s" in result.remarks
    assert result.messages["p2-b-test"] in ("it was not reached", "it took too long")
    assert not {child.pid for child in psutil.Process().children(recursive=True)} - before


def test_memory_is_limited(tmp_path):
    result = graded(tmp_path, "import numpy\na = numpy.ones(10**9)", limits=Limits(memory=1))
    assert result.points == {"p1-a-test": 0, "p2-b-test": 2}
    assert sum(1 for message in result.messages.values() if "NameError" in message) == 1


def test_processes_count_together(tmp_path):
    mark = str(tmp_path)
    hungry = (
        "import subprocess, sys, time\n"
        "hold = 'import time; x = bytes([1]) * 3 * 10**8; time.sleep(300)'\n"
        "for _ in range(4):\n"
        f"    subprocess.Popen([sys.executable, '-c', hold, {mark!r}])\n"
        "time.sleep(100)"
    )
    result = graded(tmp_path, second=hungry, limits=Limits(memory=0.9))
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert result.remarks == ["stopped at 0.9 GiB of memory"]
    assert_none_is_left(mark)


def test_a_kernel_that_ends_itself_earns_nothing_more(tmp_path):
    result = graded(tmp_path, second="import os\nos._exit(0)")
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert result.remarks == ["its process ended early"]


@pytest.mark.parametrize(
    "damage",
    [
        "open(OUT, 'w').write('no notebook')",
        "os.remove(OUT); os.symlink('/dev/zero', OUT)",
        "os.remove(OUT); os.mkdir(OUT)",
    ],
)
def test_damage_to_its_own_results_is_named(tmp_path, damage):
    # The kernel ends, so that the results are not written once more.
    result = graded(tmp_path, second=f"import os\nOUT = '{sandbox.OUT}'\n{damage}\nos._exit(0)")
    assert result.total == 0
    assert result.remarks[0].startswith("it damaged its results: ")


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


def test_a_flood_of_output_costs_nothing(tmp_path):
    result = graded(tmp_path, "print('x' * 10**7)\na = 1")
    assert result.points == {"p1-a-test": 2, "p2-b-test": 2}
    assert result.remarks == []


def test_a_result_above_the_points_earns_none(tmp_path):
    trick = (
        "class A:\n    def __eq__(self, other):\n        get_ipython().displayhook(1000)\n        return True\na = A()"
    )
    result = graded(tmp_path, trick)
    assert result.points == {"p1-a-test": 0, "p2-b-test": 2}


def test_folders_without_end_do_not_stop_the_grader(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = graded(tmp_path, second="import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\nb = 1")
    assert result.total == 4
    subprocess.run(["rm", "-rf", *map(str, tmp_path.glob("grading-*"))], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are kept on Linux alone")
def test_orphans_are_ended(tmp_path):
    mark = str(tmp_path)
    orphan = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execlp(sys.executable, sys.executable, '-c', 'import time; time.sleep(300)', {mark!r})\n"
        "    os._exit(0)\n"
        "time.sleep(2)\nb = 1"
    )
    result = graded(tmp_path, second=orphan)
    assert result.total == 4
    assert_none_is_left(mark)


@pytest.mark.parametrize("strange", [[], None, {"grade_id": ["p1-a"]}, {"grade_id": None}])
def test_strange_metadata_are_an_added_cell(tmp_path, strange):
    def change(notebook):
        notebook.cells.insert(1, new_code_cell("c = 1", metadata={"nbgrader": strange}))

    assert graded(tmp_path, change=change).total == 4


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


def test_of_the_environment_the_package_alone_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PASSWORD", "secret")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    found = f"import os\na = 1 if 'MY_PASSWORD' not in os.environ else 0\nb = os.environ['PYTHONPATH'] == {str(ROOT)!r}"
    assert graded(tmp_path, found, "").total == 4


def test_a_submission_can_be_run_within_a_command_of_ones_own(tmp_path):
    limits = Limits(inside="env INSIDE={folder}")
    result = graded(tmp_path, "import os\na = 1 if os.environ['INSIDE'] == os.getcwd() else 0", limits=limits)
    assert result.total == 4


def test_in_a_sandbox_there_is_no_network_and_nothing_else_to_write_to(tmp_path):
    if (
        not shutil.which("bwrap")
        or subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]).returncode
    ):
        pytest.skip("bubblewrap cannot make a sandbox here")
    attempt = (
        "import socket\na, b = 0, 0\n"
        f"try:\n    open({str(tmp_path / 'spoilt')!r}, 'w')\nexcept OSError:\n    a = 1\n"
        "try:\n    socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError as error:\n    b = error.errno == 101"
    )
    result = graded(tmp_path, attempt, "", limits=Limits(inside=SANDBOX))
    assert result.total == 4, result.messages
    assert not (tmp_path / "spoilt").exists()


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


def test_results_for_gradescope(tmp_path):
    result = graded(tmp_path, "a = 2")
    told = json.loads(gradebook.gradescope(result))
    assert [test["score"] for test in told["tests"]] == [0, 2]
    assert [test["max_score"] for test in told["tests"]] == [2, 2]
    assert "a is not one" in told["tests"][0]["output"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.ipynb"], "there is no file missing.ipynb; expected notebooks"),
        (["here.ipynb", "--source", "."], "there are no masters in .; expected NAME/NAME.ipynb"),
        (["here.ipynb", "--output", "grades.xls"], "output is grades.xls; expected a .csv or .json file"),
        (["here.ipynb", "--output", "none/grades.csv"], "output is none/grades.csv; expected a .csv or .json file"),
        (["here.ipynb", "here.ipynb", "--output", "r.json"], "2 files were given; expected one of them for r.json"),
        (["here.ipynb", "--memory", "0"], "memory is 0; expected a finite number > 0"),
        (["here.ipynb", "--memory", "inf"], "memory is inf; expected a finite number > 0"),
        (["here.ipynb", "--inside", "no-such-wall x"], "inside is 'no-such-wall x'; expected a command"),
        ([], "Missing argument"),
    ],
)
def test_the_command_refuses_in_words(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("here.ipynb").touch()
    result = CliRunner().invoke(app, ["grade", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["here.ipynb"]


def test_without_nbgrader_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(grading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"nbgrader is not installed; expected it: pip install 'wavescore-lite\[course\]'"
    ):
        grading.load_masters(SOURCE)
