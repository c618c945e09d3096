"""The table of grades: what is graded anew, what stays in it, and what the command refuses."""

import csv
import json
import os
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from tests.problem_sets import SOURCE, graded, small_master
from wavescore_lite.cli import app
from wavescore_lite.course import gradebook, grading
from wavescore_lite.course.sandbox import Limits


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


@pytest.mark.parametrize("name", ["=cmd|'calc'!A0", "@SUM(1+1)", "+1", "-1", "\x1b[31mred\x1b[0m", "a\nb", "a\tb"])
def test_names_are_no_formulas_and_no_commands_of_a_terminal(tmp_path, monkeypatch, name):
    """As a student and as a file; and the row is found again."""
    monkeypatch.setattr(gradebook, "check_that_it_runs", lambda limits: None)
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(
        gradebook, "grade", lambda path, *_: asked.append(path) or grading.Graded(path, name, "ps1", remarks=[name])
    )
    Path(f"{name}_ps1.ipynb").write_text("no notebook")
    for _ in range(2):
        [row] = gradebook.grade_all([f"{name}_ps1.ipynb"], SOURCE, "grades.csv", "texts")
    assert len(asked) == 1
    for value in row.values():
        assert value.isprintable()
        assert not value.startswith(("=", "+", "-", "@"))
    assert "\x1b" not in Path("grades.csv").read_text()


def test_columns_are_in_the_order_of_the_problems(tmp_path):
    rows = {"a": dict.fromkeys(grading.COLUMNS, "x") | {"p10": "1", "p2": "2"}, "b": {"bonus": "3"}}
    gradebook._write_table(tmp_path / "grades.csv", rows)
    header, first, second = (tmp_path / "grades.csv").read_text().splitlines()
    assert header.split(",")[len(grading.COLUMNS) :] == ["bonus", "p2", "p10"]
    assert first.endswith(",2,1")
    assert second.endswith(",3,,")


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
