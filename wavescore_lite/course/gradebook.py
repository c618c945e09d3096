"""Grades of a class: a table that grows submission by submission, texts for students, results for Gradescope."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path

from ..support.locks import locked
from ..support.progress import progress
from ..support.storage import clear_parts, read_rows, whole_file, write_rows
from .graded import Graded
from .grading import COLUMNS, grade, load_masters
from .limits import Limits
from .sandbox import LARGEST, check_that_it_runs

FORMULA = re.compile('(^|[;,"|]\\s*)(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])')  # where a spreadsheet would begin one
PATIENCE = 60.0  # seconds for another run on the same table to end
ALSO = "there is also"  # in a remark on another file of the same student and set


def grade_all(
    paths: Iterable[str | Path],
    source: str | Path,
    output: str | Path,
    feedback: str | Path | None = None,
    limits: Limits | None = None,
    jobs: int | None = None,
) -> list[dict[str, str]]:
    """Grade submissions into a table, as many at a time as there are cores; the table is written after each.

    Rows on other files stay. A file that has its row is not run again, unless it, the masters, the limits or the
    package changed, or a text for the student is wanted that is not there. New rows come in the order of `paths`,
    whichever is done first.

    Parameters
    ----------
    paths : iterable of path
        Notebooks.
    source : path
        Folder of the masters.
    output : path
        The table, a CSV file. While it is worked on no other run may: one that would waits a minute.
    feedback : path, optional
        A folder, made if it is not there, for a text for each student: points, and why they were lost.
    limits : Limits, optional
    jobs : int, optional
        How many at a time. Default: one a core.

    Returns
    -------
    list of dict
        The rows on `paths`: student, set, points, out_of, by_hand, remarks, file, checksum, and points of each problem.

    Raises
    ------
    ValueError
        If there are no masters, `output` is another table, not even an empty notebook can be run here, two names cannot
        be told apart in a table, or `jobs` is not positive.
    TimeoutError
        If another run is at work on `output`.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs is {jobs}; expected at least 1")
    masters, output, limits = load_masters(source), Path(output), limits or Limits()
    given = hashlib.sha256(repr((version("wavescore-lite"), limits, sorted(masters.items()))).encode()).digest()
    named: dict[str, Path] = {}
    for path in map(Path, paths):
        if named.setdefault(printable(path), path) != path:
            raise ValueError(
                f"two files would be {printable(path)} in the table; expected names that can be told apart"
            )
    with locked(output, PATIENCE):
        clear_parts(output.parent, f"{output.name}.")  # of runs that were killed, as no other is at work
        before = {row["file"]: row for row in _rows(output)}
        sums = {name: _checksum(path, given) for name, path in named.items()}
        class_ = _Class(output, feedback, before, [*named])
        wanted = {name: path for name, path in named.items() if not class_.has(name, sums[name])}
        if wanted:
            check_that_it_runs(limits)
        stop = threading.Event()
        with ThreadPoolExecutor(jobs or _cores()) as pool:
            runs = {pool.submit(grade, path, masters, limits, stop): name for name, path in wanted.items()}
            try:
                for done in progress(as_completed(runs), desc="graded", total=len(runs)):
                    class_.enter(runs[done], done.result(), sums[runs[done]])
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return [class_.table[name] for name in named]


class _Class:
    """The table, and texts beside it: the same whichever submission is done first.

    Of several files of one student and set the first has no remark, and each other names those before it.
    """

    def __init__(
        self, output: Path, feedback: str | Path | None, table: dict[str, dict[str, str]], names: list[str]
    ) -> None:
        self.output, self.feedback, self.table = output, feedback, table
        self.order = list(dict.fromkeys([*table, *names]))
        self.graded: dict[str, tuple[Graded, str]] = {}

    def has(self, name: str, checksum: str) -> bool:
        """Whether a file, as it is now, has its row, and its text if there are to be any."""
        row = self.table.get(name)
        return bool(row and row["checksum"] == checksum) and (
            self.feedback is None or _text(self.feedback, self.table[name]).exists()
        )

    def enter(self, name: str, graded: Graded, checksum: str) -> None:
        """Write what a submission earned, and once more what others of its student did that come after it."""
        self.graded[name] = graded, checksum
        self.table[name] = _row(graded, name, checksum)
        mine = (self.table[name]["student"], self.table[name]["set"])
        rows = [(other, self.table[other]) for other in self.order if other in self.table]
        alike = [other for other, row in rows if (row["student"], row["set"]) == mine]
        for place, other in enumerate(alike):
            if other in self.graded and place >= alike.index(name):
                graded, checksum = self.graded[other]
                row = _row(graded, other, checksum)
                also = f"{ALSO} {', '.join(alike[:place])}" if place else ""
                self.table[other] = row | {"remarks": "; ".join(filter(None, [row["remarks"], also]))}
                if self.feedback is not None:
                    _write_feedback(graded, _text(self.feedback, self.table[other]))
        _write_table(self.output, {other: self.table[other] for other in self.order if other in self.table})


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    told = (printable(graded.student), graded.problem_set, *(f"{number:g}" for number in numbers))
    remarks = "; ".join(map(printable, graded.remarks))
    row = dict(zip(COLUMNS, (*told, remarks, name, checksum), strict=True))
    return row | {problem: f"{points:g}" for problem, points in graded.problems.items()}


def printable(text: str | Path) -> str:
    """What somebody else wrote, as it may stand in a table or on a terminal.

    Marks stand in place of bytes that are no text and of control characters, and what a spreadsheet would take for a
    formula begins with an apostrophe, after a separator of another country's tables too.

    Examples
    --------
    >>> printable("=1+1"), printable("ada;@SUM(1)"), printable("2-1")
    ("'=1+1", "ada;'@SUM(1)", '2-1')
    """
    return FORMULA.sub(r"\1'", _shown(text))


def _shown(text: str | Path) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))


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
    lines += ["", *map(_shown, graded.remarks), ""] if graded.remarks else [""]
    for name, points in graded.points.items():
        earned = "to be read" if points is None else f"{points:g}"
        lines.append(
            f"{earned:>10} of {graded.out_of[name]:g}  {name}  {_shown(graded.messages.get(name, ''))}".rstrip()
        )
    with whole_file(path) as file:
        file.write("\n".join([*lines, ""]).encode(errors="replace"))
