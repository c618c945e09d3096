"""Problem sets: masters earn full marks, releases none, and wrong answers lose the points that they should."""

import ast
import os
import re
import shutil
import sys
import time
import tomllib
import traceback
import zipfile
from collections import Counter
from itertools import pairwise

import nbformat
import numpy as np
import pytest
import sympy as sp
import torch

from assignments import make
from tests.planted_errors import PLANTED
from tests.problem_sets import INSTRUCTORS, MASTERS, SETS, SOURCE, code_cells, first_names, run_cells, source_of
from tools.notebooks import ROOT
from wavescore_lite.course import grading, sandbox
from wavescore_lite.course.grading import grade, grade_id, settings
from wavescore_lite.coursework import check, entries, numbers, run_test

PLAN = {"ps1": (38, 8), "ps2": (41, 10), "ps3": (42, 8), "ps4": (36, 16)}  # points in all, and by hand
REGION = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END (?:SOLUTION|HIDDEN TESTS)", re.DOTALL)


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
    """The last one takes half a minute on a busy core: it draws its images anew, and trains networks."""
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
    [wheel] = release.glob("*.whl")
    with zipfile.ZipFile(release / f"{name}.zip") as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{name}/{file}" for file in ("README.txt", f"{name}.ipynb", wheel.name)
        )
        assert archive.read(f"{name}/{wheel.name}") == wheel.read_bytes()
        readme, text = (archive.read(f"{name}/{file}").decode() for file in ("README.txt", f"{name}.ipynb"))
    assert f"install ./{wheel.name} jupyterlab" in readme
    assert "repository" not in readme
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


def test_the_package_that_students_get_holds_no_solution(release):
    [wheel] = release.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    folders = {name.split("/")[0] for name in files}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"wavescore_lite"}
    assert "wavescore_lite/course/check.py" in files
    assert not [name for name in files if name.endswith(".ipynb")]
    everything = b"\n".join(files.values())
    for master in MASTERS.values():
        for cell in master.cells:
            for region in REGION.findall(cell.source):
                assert region.strip().encode() not in everything, grade_id(cell)
    assert b"class WaveletScore" in everything, "it would be seen if it were there"


def test_a_set_needs_no_more_than_the_package_brings():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brought = {"wavescore_lite", "pywt"} | {re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]}
    for name in SETS:
        for cell, source in code_cells(name):
            for part in ast.walk(ast.parse(source)):
                if isinstance(part, ast.Import | ast.ImportFrom):
                    module = getattr(part, "module", None) or part.names[0].name
                    assert module.split(".")[0] in brought | sys.stdlib_module_names, (name, cell, module)


@pytest.mark.parametrize("place", ["file/release", "locked"])
def test_where_nothing_can_be_written_one_line_says_so(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o555)
    if place == "locked" and os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    monkeypatch.setattr(sys, "argv", ["make", "--output", str(tmp_path / place)])
    monkeypatch.setattr(make, "NbGraderAPI", lambda *_: pytest.fail("it went to work"))
    with pytest.raises(SystemExit) as ending:
        make.main()
    assert re.fullmatch(r"Nothing was released: .*(release|locked) cannot be written to \(.+\); .*", ending.value.code)


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


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        pytest.param(name, planted, id=f"{name}-{planted[0]}-{planted[1]}".replace(" ", "-"))
        for name in SETS
        for planted in PLANTED[name]
    ],
)
@pytest.mark.filterwarnings("default")
def test_planted_errors_cost_points(name, planted):
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
    names = first_names(name)
    tests = {grade_id(cell) for cell in MASTERS[name].cells if settings(cell)["grade"]}
    for cell in cells:
        failed = run_cells([cell], names)
        if failed:
            break
    else:
        pytest.fail("all tests pass")
    [(where, error)] = failed.items()
    assert where in tests, f"{where}: {error!r}"
    raised_in = [
        frame.filename for frame in traceback.extract_tb(error.__traceback__) if frame.filename in (answer, where)
    ]
    assert isinstance(error, AssertionError) or raised_in[-1] == answer, f"no message, but {error!r}"
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
        ("five", 5.0, "is 'five', of type str; expected real numbers"),
        ("5", 5.0, "is '5', of type str; expected real numbers"),
        (sp.Symbol("y") ** 2, 1.0, r"is y\*\*2, of type Pow; expected real numbers"),
        ({8: 1.0}, 1.0, r"is \{8: 1.0\}, of type dict; expected real numbers"),
        ([[1.0], [2.0, 3.0]], [1.0], "there are rows of 1 to 2 entries; expected real numbers, all rows of one length"),
        (
            [np.ones(3), np.ones(5)],
            np.ones(3),
            "there are rows of 3 to 5 entries; expected real numbers, all rows of one",
        ),
        (
            [torch.ones((), requires_grad=True)],
            [1.0],
            r"is \[tensor\(1., requires_grad=True\)\], of type list; expected",
        ),
        (1j, 1.0, "is complex; expected real numbers"),
        (np.array([1.0, 2j]), [1.0, 2.0], "is complex; expected real numbers"),
        (torch.tensor([1j]), [1.0], "is complex; expected real numbers"),
        (np.matrix([1.0, 2.0]), [1.0, 2.0], r"the shape is \(1, 2\); expected \(2,\)$"),
        (np.float32([1.0, 2.0, 0.01]), [1.0, 2.0, 0.02], "1 of 3 entries are wrong, the worst at index 2: 0.01"),
        (
            np.float32(12.3894 + 1e-4),
            12.3894,
            r"it is off by 8e-06 of the largest entry, in float32: compute in float64",
        ),
        (12.3894 + 1e-4, 12.3894, r"it is 12\.3895; expected 12\.3894"),
        (12.38944, 12.38936, r"it is 12\.38944; expected 12\.38936$"),
        ([3.0 + 3e-5, 6.0 + 6e-5], [3.0, 6.0], r"it is off by a factor: 1\.00001 times what is expected"),
        ([0.1 + 1e-8, 0.2], [0.1, 0.2], "it is right to single precision only; expected double"),
        (np.float32(2.5), 2.0, "it is 2.5; expected 2"),
        (np.ones((2, 3)), np.ones((3, 2)), r"the shape is \(2, 3\); expected \(3, 2\): is it transposed\?"),
        ([1.0], [1.0, 2.0], r"the shape is \(1,\); expected \(2,\)$"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2 entries are not finite; expected finite numbers"),
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
    check("a tensor with a gradient", torch.tensor([0.1, 0.2], requires_grad=True), [0.1, 0.2])
    check("single precision", np.float32([1 / 3, 1e-9]), [1 / 3, 0.0])
    check("single precision, about nothing", np.float32([1e-7, 0.0]), [0.0, 0.0])
    check("half precision", torch.tensor([1.0, 0.5], dtype=torch.bfloat16), [1.0, 0.5])
    for one in (
        [2.0],
        [[2.0]],
        np.matrix(2.0),
        np.float32(2.0),
        torch.tensor(2.0),
        sp.Integer(2),
        2,
        np.array([[2.0]]),
    ):
        check("one number", one, 2.0)
    with pytest.raises(AssertionError, match="single precision only"):
        check("not quite", 1.0 + 1e-6, 1.0)
    with pytest.raises(AssertionError, match="is off by 1e-05 of the largest entry, in float32: compute in float64"):
        check("not quite in single precision either", np.float32(1.00001), 1.0)
    with pytest.raises(AssertionError, match=r"it is 1\.001; expected 1"):
        check("nor here", np.float32(1.001), 1.0)


@pytest.mark.parametrize(
    ("got", "wanted", "message"),
    [
        (None, 2, r"is None: is a return missing\?; expected a list of 2 entries"),
        (1.0, 2, "is 1.0, of type float; expected a list of 2 entries"),
        ("ab", 2, "is 'ab', of type str; expected a list of 2 entries"),
        ([1.0], 2, "there are 1 entries; expected 2"),
        (None, (4, 8), r"is None: is a return missing\?; expected a dictionary with the keys 4, 8"),
        ([1.0, 2.0], (4, 8), r"is \[1.0, 2.0\], of type list; expected a dictionary with the keys 4, 8"),
        ({}, (4, 8), "the keys are none; expected 4, 8"),
        ({4: 1.0, 16: 2.0}, (4, 8), "the keys are 4, 16; expected 4, 8"),
    ],
)
def test_entries_says_what_is_wrong(got, wanted, message):
    with pytest.raises(AssertionError, match=f"^the answer:? {message}$"):
        entries("the answer", got, wanted)


def test_entries_come_in_order():
    assert entries("a dictionary", {8: 1.0, np.int64(4): 2.0}, (4, 8)) == [2.0, 1.0]
    for two in ([1.0, 2.0], (1.0, 2.0), np.array([1.0, 2.0]), torch.tensor([1.0, 2.0])):
        assert entries("two", two, 2) == [1.0, 2.0]


def test_numbers_keep_to_single_precision():
    for single in (np.float32([1.0]), torch.tensor([1.0]), np.float16([1.0])):
        assert numbers("one", single, (1,)).dtype == np.float32
    for double in ([1], np.array([True]), [sp.Rational(1, 3)], torch.ones(1, dtype=torch.float64)):
        assert numbers("one", double).dtype == np.float64
    assert isinstance(numbers("one", np.matrix(1.0), ()) + 1, np.floating)


@pytest.mark.filterwarnings("default")
def test_a_test_says_that_it_passed_or_quotes_the_warning(capsys):
    @run_test
    def nothing():
        check("one", 1.0, 1.0)

    assert capsys.readouterr().out == "passed\n"
    with pytest.raises(
        AssertionError, match=r"there is a warning, and .*: RuntimeWarning: divide by zero .*\(at: np\.log\(0\.0\)\)$"
    ):

        @run_test
        def warns():
            np.log(0.0)

    with pytest.raises(AssertionError, match=r"^two: it is 1; expected 2$"):
        run_test(lambda: check("two", 1.0, 2.0))
    with pytest.raises(AssertionError, match="1 of 1 entries are not finite") as failed:
        run_test(lambda: check("two", np.log(0.0), 2.0))
    [note] = failed.value.__notes__
    assert note.startswith("Before it there was a warning: RuntimeWarning: divide by zero")
    with pytest.raises(ZeroDivisionError):
        run_test(lambda: 1 / 0)
    assert capsys.readouterr() == ("", "")


def test_the_page_for_instructors_sums_up_the_sets():
    for name, (total, by_hand) in PLAN.items():
        assert re.search(rf"\| {name[2]} .*\| {total - by_hand} \+ {by_hand} \|", INSTRUCTORS), name
    total, by_hand = map(sum, zip(*PLAN.values(), strict=True))
    assert f"{by_hand} of {total} points" in INSTRUCTORS
    assert sum(map(len, PLANTED.values())) > 100
