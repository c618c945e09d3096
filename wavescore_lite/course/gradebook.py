"""Grades of a class: a table that grows submission by submission, texts for students, results for Gradescope."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from ..support.progress import progress
from ..support.storage import read_rows, whole_file, write_rows
from .graded import Graded
from .grading import COLUMNS, grade, load_masters
from .limits import Limits
from .sandbox import LARGEST, check_that_it_runs

FORMULA = ("=", "+", "-", "@")  # what begins one in a spreadsheet
ALSO = "there is also"  # in a remark on another file of the same student and set


def grade_all(
    paths: Iterable[str | Path],
    source: str | Path,
    output: str | Path,
    feedback: str | Path | None = None,
    limits: Limits | None = None,
) -> list[dict[str, str]]:
    """Grade submissions into a table, which is written after each.

    Rows on other files stay. A file that has its row is not run again, unless it, the masters, the limits or the
    package changed, or a text for the student is wanted that is not there.

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
        The rows on `paths`: student, set, points, out_of, by_hand, remarks, file, checksum, and points of each problem.

    Raises
    ------
    ValueError
        If there are no masters, `output` is another table, or not even an empty notebook can be run here.
    """
    masters, output, limits = load_masters(source), Path(output), limits or Limits()
    given = hashlib.sha256(repr((version("wavescore-lite"), limits, sorted(masters.items()))).encode()).digest()
    table, checked = {row["file"]: row for row in _rows(output)}, False
    named = {_printable(path): Path(path) for path in paths}
    for name, path in progress(named.items(), desc="graded"):
        checksum, row = _checksum(path, given), table.get(name)
        if row and row["checksum"] == checksum and (feedback is None or _text(feedback, row).exists()):
            continue
        if not checked:
            check_that_it_runs(limits)
            checked = True
        graded = grade(path, masters, limits)
        table[name] = _row(graded, name, checksum)
        _name_others(table, name)
        if feedback is not None:
            _write_feedback(graded, _text(feedback, table[name]))
        _write_table(output, table)
    return [table[name] for name in named]


def gradescope(graded: Graded) -> str:
    """The results as JSON in the format of Gradescope's autograder.

    Examples
    --------
    >>> print(gradescope(Graded(Path("ps1.ipynb"), "ada", "ps1", {"p1-test": 2.0}, {"p1-test": 2.0})))
    {"score": 2.0, "output": "", "tests": [{"name": "p1-test", "score": 2.0, "max_score": 2.0, "output": ""}]}
    """
    tests = [
        {"name": name, "score": points or 0.0, "max_score": graded.out_of[name]}
        | {"output": "to be read by a person" if points is None else graded.messages.get(name, "")}
        for name, points in graded.points.items()
    ]
    return json.dumps({"score": graded.total, "output": "; ".join(graded.remarks), "tests": tests})


def _row(graded: Graded, name: str, checksum: str) -> dict[str, str]:
    numbers = (graded.total, graded.maximum, graded.by_hand)
    told = (_printable(graded.student), graded.problem_set, *(f"{number:g}" for number in numbers))
    remarks = "; ".join(map(_printable, graded.remarks))
    row = dict(zip(COLUMNS, (*told, remarks, name, checksum), strict=True))
    return row | {problem: f"{points:g}" for problem, points in graded.problems.items()}


def _name_others(table: dict[str, dict[str, str]], name: str) -> None:
    """Remark on other files of the same student and set."""
    row = table[name]
    others = [o for o, r in table.items() if o != name and (r["student"], r["set"]) == (row["student"], row["set"])]
    if others:
        row["remarks"] = "; ".join(filter(None, [row["remarks"], f"{ALSO} {', '.join(others)}"]))


def _printable(text: str | Path) -> str:
    """What somebody else wrote, as it may stand in a table or on a terminal.

    Marks stand in place of bytes that are no text and of control characters, and what a spreadsheet would take for a
    formula begins with an apostrophe.
    """
    known = str(text).encode(errors="surrogateescape").decode(errors="replace")
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in known)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def _checksum(path: Path, given: bytes) -> str:
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except OSError:
        content = b""  # `grade` says why
    return hashlib.sha256(given + content).hexdigest()[:12]


def _rows(output: Path) -> list[dict[str, str]]:
    rows = read_rows(output)
    if rows and not set(COLUMNS) <= set(rows[0]):
        raise ValueError(f"{output} has the columns {', '.join(rows[0])}; expected a table that this command wrote")
    return rows


def _write_table(output: Path, table: dict[str, dict[str, str]]) -> None:
    problems = {name for row in table.values() for name in row} - set(COLUMNS)
    by_number = sorted(problems, key=lambda name: (int(*re.findall(r"^\D*(\d{1,9})$", name) or [0]), name))
    columns = [*COLUMNS, *by_number]
    write_rows(output, [{name: row.get(name, "") for name in columns} for row in table.values()])


def _text(feedback: str | Path, row: dict[str, str]) -> Path:
    """Where the text on a row goes: files of one student and set have one each."""
    mark = f"-{row['checksum']}" if ALSO in row["remarks"] else ""
    return Path(feedback, f"{row['student']}-{row['set'] or 'unknown'}{mark}.txt")


def _write_feedback(graded: Graded, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{path.stem}: {graded.total:g} points of {graded.maximum:g}, {graded.by_hand:g} to be given"]
    lines += ["", *graded.remarks, ""] if graded.remarks else [""]
    for name, points in graded.points.items():
        earned = "to be read" if points is None else f"{points:g}"
        lines.append(f"{earned:>10} of {graded.out_of[name]:g}  {name}  {graded.messages.get(name, '')}".rstrip())
    with whole_file(path) as file:
        file.write("\n".join([*lines, ""]).encode(errors="replace"))
