"""The table of grades: what is graded anew, what stays in it, and what the command refuses."""

import csv
import json
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from tests.problem_sets import SOURCE, graded, small_master
from wavescore_lite.cli import app
from wavescore_lite.course import gradebook, grading
from wavescore_lite.course.limits import Limits
from wavescore_lite.support.locks import locked
from wavescore_lite.support.storage import read_rows

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # what begins one in a spreadsheet


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


@pytest.fixture
def no_kernel(monkeypatch):
    monkeypatch.setattr(gradebook, "check_that_it_runs", lambda limits: None)


def three_files(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no notebook")
    return [tmp_path / name for name in names]


def test_as_many_as_there_are_cores_are_graded_at_a_time_in_the_order_that_was_given(tmp_path, monkeypatch, no_kernel):
    """The first is done last: it waits for the others, which it could not if they were graded after it."""
    others = threading.Semaphore(0)

    def grade(path, *_):
        if path.name.startswith("ada"):
            assert all(others.acquire(timeout=60) for _ in range(2))
        else:
            others.release()
        return grading.Graded(path, path.name[:3], "small", {"p1-test": 1.0}, {"p1-test": 1.0})

    monkeypatch.setattr(gradebook, "grade", grade)
    monkeypatch.setattr(gradebook.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    paths = three_files(tmp_path, "ada_ps1.ipynb", "bob_ps1.ipynb", "eve_ps1.ipynb")
    rows = gradebook.grade_all(paths, SOURCE, tmp_path / "grades.csv")
    assert [row["student"] for row in rows] == ["ada", "bob", "eve"]
    assert [row["student"] for row in read_rows(tmp_path / "grades.csv")] == ["ada", "bob", "eve"]


@pytest.mark.parametrize("first", ["1", "2"])
def test_namesakes_are_told_apart_whichever_is_done_first(tmp_path, monkeypatch, no_kernel, first):
    done = threading.Event()

    def grade(path, *_):
        if path.parent.name != first:
            assert done.wait(60)
        return grading.Graded(path, "ada", "ps1", remarks=[path.parent.name])

    class Told(gradebook._Class):
        def enter(self, name, *given):
            super().enter(name, *given)
            done.set()

    monkeypatch.setattr(gradebook, "grade", grade)
    monkeypatch.setattr(gradebook, "_Class", Told)
    paths = three_files(tmp_path, "1/ada_ps1.ipynb", "2/ada_ps1.ipynb")
    one, two = gradebook.grade_all(paths, SOURCE, tmp_path / "grades.csv", tmp_path / "texts", jobs=2)
    assert (one["remarks"], two["remarks"]) == ("1", f"2; there is also {paths[0]}")
    texts = {path.name: path.read_text().split("\n\n")[1] for path in (tmp_path / "texts").iterdir()}
    assert texts == {"ada-ps1.txt": "1", f"ada-ps1-{two['checksum']}.txt": "2"}


def test_two_runs_on_one_table_lose_no_row(tmp_path, monkeypatch, no_kernel):
    """Each reads the table before the other has written its own rows, unless it waits for it."""
    monkeypatch.setattr(gradebook, "grade", lambda path, *_: time.sleep(0.3) or grading.Graded(path, path.name))
    paths = three_files(tmp_path, *(f"{number}_ps1.ipynb" for number in range(6)))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(gradebook.grade_all, paths[k::2], SOURCE, tmp_path / "grades.csv") for k in (0, 1)]
        assert [len(run.result()) for run in runs] == [3, 3]
    assert {row["file"] for row in read_rows(tmp_path / "grades.csv")} == {str(path) for path in paths}


def test_a_table_that_another_run_keeps_is_left_alone(tmp_path, monkeypatch, no_kernel):
    monkeypatch.setattr(gradebook, "PATIENCE", 0.1)
    (path,) = three_files(tmp_path, "ada_ps1.ipynb")
    table = tmp_path / "grades.csv"
    with locked(table):
        result = CliRunner().invoke(app, ["grade", str(path), "--source", str(SOURCE), "--output", str(table)])
    assert result.exit_code == 2
    assert "another run is at work on" in " ".join(result.output.replace("│", " ").split())
    assert not table.exists()


def test_what_killed_runs_left_is_cleared(tmp_path, no_kernel):
    (tmp_path / "grades.csv.0123.part").touch()
    gradebook.grade_all(three_files(tmp_path, "ada_ps1.ipynb"), SOURCE, tmp_path / "grades.csv")
    assert not list(tmp_path.glob("*.part"))


def test_a_run_that_is_interrupted_stops_the_others_and_keeps_what_is_done(tmp_path, monkeypatch, no_kernel):
    def grade(path, masters, limits, stop):
        if path.name.startswith("ada"):
            return grading.Graded(path, "ada")
        if path.name.startswith("bob"):
            raise KeyboardInterrupt
        assert stop.wait(60)

    monkeypatch.setattr(gradebook, "grade", grade)
    paths = three_files(tmp_path, "ada_ps1.ipynb", "bob_ps1.ipynb", "eve_ps1.ipynb", "zoe_ps1.ipynb")
    gradebook.grade_all(paths[:1], SOURCE, tmp_path / "grades.csv")
    with pytest.raises(KeyboardInterrupt):
        gradebook.grade_all(paths, SOURCE, tmp_path / "grades.csv", jobs=2)
    assert [row["student"] for row in read_rows(tmp_path / "grades.csv")] == ["ada"]


def test_what_errors_say_is_no_command_of_the_graders_terminal(tmp_path, monkeypatch, no_kernel):
    """A text for a student may be shown on one."""
    graded = grading.Graded(
        Path("a"), "ada", "ps1", {"p1": 0.0}, {"p1": 1.0}, {"p1": "\x1b[2J\x9b31m"}, ["\x1b]0;x\x07"]
    )
    monkeypatch.setattr(gradebook, "grade", lambda *_: graded)
    gradebook.grade_all(three_files(tmp_path, "ada_ps1.ipynb"), SOURCE, tmp_path / "grades.csv", tmp_path / "texts")
    text = (tmp_path / "texts" / "ada-ps1.txt").read_text()
    assert text.replace("\n", "").isprintable()
    assert "[2J" in text


@pytest.mark.parametrize(
    "name",
    [
        *("=cmd|'calc'!A0", "@SUM(1+1)", "+1", "-1", "\x1b[31mred\x1b[0m", "a\nb", "a\tb"),
        *("a;=1+1", "a, +1", 'a"=1+1', "a|@SUM(1)", "\uff1d1+1", "\x9b31m"),
    ],
)
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
        assert not any(cell.strip().startswith(FORMULA) for cell in re.split('[;,"|]', value))
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


def test_names_that_would_be_one_in_the_table_are_refused(tmp_path):
    paths = three_files(tmp_path, *(os.fsdecode(name) for name in (b"M\xfcller_ps1.ipynb", b"M\xf6ller_ps1.ipynb")))
    with pytest.raises(ValueError, match=r"two files would be .*ller_ps1\.ipynb in the table; expected names"):
        gradebook.grade_all(paths, SOURCE, tmp_path / "grades.csv")


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
        (["here.ipynb", "--jobs", "0"], "jobs is 0; expected at least 1"),
        (["here.ipynb", "--sandbox", "--inside", "x"], "--sandbox and --inside were given; expected one of them"),
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
