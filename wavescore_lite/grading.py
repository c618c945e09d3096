"""Grade submissions of the problem sets: each notebook runs in a process of its own, with the tests of the master.

What counts is the master: its tests, the hidden ones too, take the place of whatever the submission has there, and only
answers are taken over, with any cells that were added. The masters are in nbgrader's format, and points are counted as
nbgrader does, so that `nbgrader autograde` comes to the same result.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import psutil
from tqdm import tqdm

from .storage import read_rows, whole_file, write_rows

GIBIBYTE = 2**30
LARGEST = 20 * 2**20  # bytes of a notebook, handed in or run
POLL = 0.1  # seconds
WORKER = Path(__file__).with_name("run_notebook.py")
IN, OUT = "submission.ipynb", "graded.ipynb"
STATE = "wavescore"  # key of a cell's metadata: how it ended
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")  # of the environment
CANARY = """import sys
def _differ():
    import numpy
    assert not numpy.allclose(1.0, 2.0)
    yield lambda: numpy.testing.assert_allclose(1.0, 2.0)
    if "wavescore_lite.coursework" in sys.modules:
        yield lambda: sys.modules["wavescore_lite.coursework"].check("", 1.0, 2.0)
for _test in _differ():
    try:
        _test()
    except AssertionError:
        continue
    raise SystemError"""  # ends well only where comparisons can still fail


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes
    ----------
    seconds, cell_seconds : float
        For all of it, and for one cell.
    memory : float
        In GiB: for each process, and for all of them together.
    inside : str
        A command to run it within, such as one that makes a sandbox; ``{folder}`` in it stands for its folder.
    """

    seconds: float = 600.0
    cell_seconds: float = 120.0
    memory: float = 4.0
    inside: str = ""

    def __post_init__(self) -> None:
        for name in ("seconds", "cell_seconds", "memory"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name):g}; expected a number > 0")
        program = (shlex.split(self.inside) or [sys.executable])[0]
        if shutil.which(program) is None:
            raise ValueError(f"inside is {self.inside!r}; expected a command, and there is no {program}")


@dataclass
class Graded:
    """What a submission earned.

    Attributes
    ----------
    path : Path
    problem_set : str
        Name of the master that it answers, "" if none.
    points : dict of str to float or None
        Of each graded cell, by its grade_id; None where a person is to read the answer.
    out_of : dict of str to float
    messages : dict of str to str
        Why a cell lost its points.
    remarks : list of str
        What the grader should know: edited tests, limits that were reached, a file that is no notebook.
    """

    path: Path
    problem_set: str = ""
    points: dict[str, float | None] = field(default_factory=dict)
    out_of: dict[str, float] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        """Points of the tests, and zeros of empty answers."""
        return sum(points for points in self.points.values() if points is not None)

    @property
    def by_hand(self) -> float:
        """Points that a person still has to give."""
        return sum(self.out_of[name] for name, points in self.points.items() if points is None)

    def row(self) -> dict[str, str]:
        """A line of the table: student, set, points, out_of, by_hand, remarks, file, points of each problem."""
        problems = Counter()
        for name, points in self.points.items():
            problems[problem_of(name)] += points or 0
        return {
            "student": student_of(self.path, self.problem_set),
            "set": self.problem_set,
            "points": f"{self.total:g}",
            "out_of": f"{sum(self.out_of.values()):g}",
            "by_hand": f"{self.by_hand:g}",
            "remarks": "; ".join(self.remarks),
            "file": str(self.path),
            **{problem: f"{points:g}" for problem, points in sorted(problems.items())},
        }


def problem_of(grade_id: str) -> str:
    """The problem that a cell belongs to: the first word of its grade_id.

    Examples
    --------
    >>> problem_of("p2-step-matrix-hidden")
    'p2'
    """
    return grade_id.partition("-")[0]


def student_of(path: Path, problem_set: str) -> str:
    """Who handed a file in: the name of the file without that of the set, or the folder in nbgrader's layout.

    Examples
    --------
    >>> student_of(Path("ps1/ada_ps1.ipynb"), "ps1"), student_of(Path("submitted/emmy/ps1/ps1.ipynb"), "ps1")
    ('ada', 'emmy')
    """
    if path.stem != problem_set:
        return re.sub(rf"[-_ ]*\b{problem_set}\b|[-_ ]+{problem_set}$", "", path.stem) if problem_set else path.stem
    folder = path.absolute().parent
    return folder.parent.name if folder.name == problem_set else folder.name


def load_masters(folder: str | Path) -> dict[str, dict]:
    """Read the masters, ``NAME/NAME.ipynb``.

    Returns
    -------
    dict of str to NotebookNode

    Raises
    ------
    ValueError
        If there are none, or nbgrader is not installed.
    """
    if importlib.util.find_spec("nbgrader") is None:
        raise ValueError("nbgrader is not installed; expected it: pip install 'wavescore-lite[course]'")
    import nbformat

    folder = Path(folder)
    paths = {path.stem: path for path in sorted(folder.glob("*/*.ipynb")) if path.parent.name == path.stem}
    if not paths:
        raise ValueError(f"there are no masters in {folder}; expected NAME/NAME.ipynb, such as ps1/ps1.ipynb")
    return {name: nbformat.read(path, as_version=4) for name, path in paths.items()}


def released(master: dict) -> dict:
    """The master as students get it: without solutions and hidden tests, by nbgrader itself."""
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    notebook, resources = copy.deepcopy(master), {}
    for step in (ClearSolutions(), ClearHiddenTests()):
        notebook, resources = step.preprocess(notebook, resources)
    return notebook


def merge(submission: dict, master: dict) -> tuple[dict, list[str], set[str]]:
    """Put the answers of a submission into the master.

    Cells that students added stay behind the cell of the master that they followed.

    Returns
    -------
    notebook : NotebookNode
        Without outputs.
    remarks : list of str
        Locked cells that the submission had changed or lacks.
    empty : set of str
        grade_id of the answers that are as they were released.
    """
    stubs = {_id(cell): cell.source for cell in released(master).cells if _id(cell)}
    answers, added, last = {}, {None: []}, None
    for cell in submission.cells:
        if _id(cell) not in stubs:
            added.setdefault(last, []).append(_plain(cell))
        elif _id(cell) not in answers:
            last = _id(cell)
            answers[last] = cell.source
    notebook = copy.deepcopy(master)
    cells, changed, empty = added.pop(None), [], set()
    for cell in notebook.cells:
        name = _id(cell)
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if name and not _settings(cell)["locked"]:
            cell.source = answers.get(name, stubs[name])
            if cell.source.strip() == stubs[name].strip():
                empty.add(name)
        elif name and answers.get(name, "").strip() != stubs[name].strip():
            changed.append(f"{name} was {'changed' if name in answers else 'missing'}")
        cells += [cell, *added.get(name, [])] if name else [cell]
    notebook.cells = cells
    return notebook, changed, empty


def grade(path: str | Path, masters: dict[str, dict], limits: Limits | None = None) -> Graded:
    """Run one submission and count its points. Whatever it does is a remark, not an error.

    Parameters
    ----------
    path : path
        A notebook.
    masters : dict
        See `load_masters`.
    limits : Limits, optional

    Returns
    -------
    Graded
    """
    import nbformat
    from nbgrader.utils import determine_grade

    limits, graded = limits or Limits(), Graded(Path(path))
    try:
        submission = _read(graded.path)
    except (OSError, ValueError) as reason:
        graded.remarks.append(f"not a notebook: {reason}")
        return graded
    ids = {_id(cell) for cell in submission.cells}
    common = {name: len(ids & {_id(cell) for cell in master.cells if _id(cell)}) for name, master in masters.items()}
    graded.problem_set = max(common, key=common.get)
    if not common[graded.problem_set]:
        graded.problem_set = ""
        graded.remarks.append(f"it has no cell of any problem set ({', '.join(masters)})")
        return graded
    notebook, changed, empty = merge(submission, masters[graded.problem_set])
    if changed:
        graded.remarks.append(f"the tests of the master were run where {', '.join(changed)}")
    notebook.cells.append(nbformat.v4.new_code_cell(CANARY, metadata={STATE: "canary"}))
    executed, ending = run(notebook, limits)
    graded.remarks += [ending] if ending else []
    canary = executed.cells.pop()
    if canary.metadata[STATE] == "error":
        graded.remarks.append("comparisons can no longer fail there: read it, its points are void")
    late = [str(number) for number, cell in enumerate(executed.cells, 1) if cell.metadata.get(STATE) == "timeout"]
    if late:
        graded.remarks.append(f"more than {limits.cell_seconds:g} s in cell {', '.join(late)}")
    for cell in executed.cells:
        if not _settings(cell).get("grade"):
            continue
        name, state = _id(cell), cell.metadata.get(STATE)
        points, graded.out_of[name] = determine_grade(cell)
        if _settings(cell)["solution"] or cell.cell_type != "code":
            points = 0.0 if name in empty else None
        elif state != "ok" or canary.metadata[STATE] == "error":
            points = 0.0
        graded.points[name] = points
        if points == 0:
            graded.messages[name] = "no answer" if name in empty else _message(cell, state)
    return graded


def run(notebook: dict, limits: Limits) -> tuple[dict, str]:
    """Execute a notebook within limits, in a process, a folder and an environment of its own.

    Returns
    -------
    notebook : NotebookNode
        With outputs as far as it came; the metadata of each cell has under STATE "ok", "error", "timeout" or "not run".
    ending : str
        Why it was stopped, "" if it was not.
    """
    import nbformat

    for cell in notebook.cells:
        cell.metadata[STATE] = "not run"
    with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as folder:
        nbformat.write(notebook, Path(folder, IN))
        nbformat.write(notebook, Path(folder, OUT))
        shutil.copytree(matplotlib.get_cachedir(), Path(folder, "matplotlib"), dirs_exist_ok=True)
        command = [word.replace("{folder}", folder) for word in shlex.split(limits.inside)]
        command += [sys.executable, str(WORKER), IN, OUT, STATE, str(limits.cell_seconds)]
        command.append(str(int(limits.memory * GIBIBYTE)))
        ending = _watch(command, folder, limits)
        try:
            executed = _read(Path(folder, OUT))
            if [cell.source for cell in executed.cells] != [cell.source for cell in notebook.cells]:
                raise ValueError("its cells are others")
        except (OSError, ValueError) as reason:
            return notebook, f"it damaged its results: {reason}"
        return executed, ending


def _watch(command: Sequence[str], folder: str, limits: Limits) -> str:
    """Run a command; stop it and all that it started when it is over, or over a limit, and say which."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": folder, "MPLCONFIGDIR": f"{folder}/matplotlib", "WAVESCORE_OFFLINE": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    started, seen, ending = time.monotonic(), {}, ""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            seen |= {child.pid: child for child in [parent, *_children(parent)]}
            if time.monotonic() - started > limits.seconds:
                ending = f"stopped after {limits.seconds:g} s"
                break
            if sum(map(_resident, seen.values())) > limits.memory * GIBIBYTE:
                ending = f"stopped at {limits.memory:g} GiB of memory"
                break
            time.sleep(POLL)
    finally:
        for child in seen.values():
            try:
                child.kill()
            except psutil.Error:
                continue
        process.kill()
        process.wait()
    return ending or ("its process ended early" if process.returncode else "")


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def grade_all(
    paths: Iterable[str | Path],
    source: str | Path,
    output: str | Path,
    feedback: str | Path | None = None,
    limits: Limits | None = None,
) -> list[dict[str, str]]:
    """Grade submissions into a table, which is written after each; files that it has already are not run again.

    Parameters
    ----------
    paths : iterable of path
        Notebooks.
    source : path
        Folder of the masters.
    output : path
        The table, a CSV file.
    feedback : path, optional
        A folder, made if it is not there, for a text for each student: points, and why they were lost.
    limits : Limits, optional

    Returns
    -------
    list of dict
        Rows of the table, see `Graded.row`, each with a checksum of submission, masters and limits.
    """
    masters, output, limits = load_masters(source), Path(output), limits or Limits()
    version = hashlib.sha256(repr((sorted(masters.items()), limits)).encode()).digest()
    known = {(row["file"], row["checksum"]): row for row in read_rows(output)}
    rows = []
    for path in tqdm(list(dict.fromkeys(map(Path, paths))), desc="graded", disable=None):
        checksum = hashlib.sha256(version + (path.read_bytes() if path.is_file() else b"")).hexdigest()[:12]
        row = known.get((str(path), checksum))
        if row is None:
            graded = grade(path, masters, limits)
            row = graded.row() | {"checksum": checksum}
            if feedback is not None:
                _write_feedback(graded, row["student"], Path(feedback))
        rows.append(row)
        columns = sorted({name for row in rows for name in row if re.fullmatch(r"p\d+", name)})
        fixed = [name for name in rows[0] if name not in columns]
        rows = [{name: row.get(name, "") for name in [*fixed, *columns]} for row in rows]
        write_rows(output, rows)
    return rows


def gradescope(graded: Graded) -> str:
    """The results as JSON in the format of Gradescope's autograder.

    Examples
    --------
    >>> print(gradescope(Graded(Path("ps1.ipynb"), "ps1", {"p1-test": 2.0}, {"p1-test": 2.0})))
    {"output": "", "tests": [{"name": "p1-test", "score": 2.0, "max_score": 2.0, "output": ""}]}
    """
    tests = [
        {"name": name, "score": points or 0.0, "max_score": graded.out_of[name]}
        | {"output": "to be read by a person" if points is None else graded.messages.get(name, "")}
        for name, points in graded.points.items()
    ]
    return json.dumps({"output": "; ".join(graded.remarks), "tests": tests})


def _write_feedback(graded: Graded, student: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{student}, {graded.problem_set or 'no problem set'}", "", *graded.remarks]
    for name, points in graded.points.items():
        earned = "to be read" if points is None else f"{points:g}"
        lines.append(f"{earned:>10} of {graded.out_of[name]:g}  {name}  {graded.messages.get(name, '')}".rstrip())
    lines += ["", f"{graded.total:g} points of {sum(graded.out_of.values()):g}, {graded.by_hand:g} still to be given"]
    with whole_file(folder / f"{student}-{graded.problem_set or 'unknown'}.txt") as file:
        file.write("\n".join([*lines, ""]).encode())


def _read(path: Path) -> dict:
    import nbformat

    if path.is_symlink() or not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has {path.stat().st_size:,} bytes; expected at most {LARGEST:,}")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:
        raise ValueError(str(error).partition("\n")[0][:200]) from error
    return notebook


def _settings(cell: dict) -> dict:
    return cell.metadata.get("nbgrader", {})


def _id(cell: dict) -> str | None:
    return _settings(cell).get("grade_id")


def _plain(cell: dict) -> dict:
    """A cell that a student added, without metadata, by which it could be skipped or graded."""
    import nbformat

    make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    return make(cell.source)


def _message(cell: dict, state: str | None) -> str:
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    if state in ("timeout", "not run"):
        return {"timeout": "it took too long", "not run": "it was not reached"}[state]
    if errors:
        return re.sub(r"\s+", " ", f"{errors[0].ename}: {errors[0].evalue}").strip(": ")[:300]
    return "it printed to standard error"
