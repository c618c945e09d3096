"""A class to rehearse grading with: ``python -m assignments.rehearsal`` hands in problem set 1 for five students.

One has all answers right, one none; one has slips, one stopped half-way; and one loops, takes memory and edits tests.
"""

from __future__ import annotations

import argparse
import copy
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from assignments.make import HERE, SOURCE
from wavescore_lite.course.grading import grade_id, released, settings

SET = "ps1"
MARKER = re.compile(r"^ *### (?:BEGIN|END) SOLUTION\n?", re.MULTILINE)
SLIPS = {  # a sign, a transposed matrix, another, and a factor
    "p1-highpass": ("g[1::2] *= -1", "g[::2] *= -1"),
    "p2-step": ("return matrix", "return matrix.T"),
    "p3-analyze": ("matrix @ a @ matrix.T", "matrix.T @ a @ matrix"),
    "p4-parseval": ("sigma**2 * W", "sigma * W"),
}
EDITS = {
    "p1-highpass-test": "pass",
    "p2-step": "while True:\n    pass",
    "p3-analyze": "kept = [bytearray(10**8) for _ in range(60)]\nanalyze = len",
    "p5-padded-test": "assert True",
}


def submissions(master: NotebookNode) -> dict[str, NotebookNode]:
    """What five students make of problem set 1."""
    empty = released(master)
    answers = {
        name: MARKER.sub("", cell.source)
        for cell in master.cells
        if (name := grade_id(cell)) and settings(cell)["solution"]
    }
    slips = {name: answers[name].replace(*slip) for name, slip in SLIPS.items()}
    some = {name: answers[name] for name in ("p1-highpass", "p2-step", "p1-proof-answer")}
    hostile = _with(empty, {"p1-highpass": answers["p1-highpass"]} | EDITS)
    hostile.cells = [cell for cell in hostile.cells if grade_id(cell) != "p5-padded-more"]
    return {
        "ada": _with(empty, answers),
        "bela": _with(empty, answers | slips),
        "cleo": _with(empty, some),
        "emil": empty,
        "mallory": hostile,
    }


def _with(notebook: NotebookNode, sources: dict[str, str]) -> NotebookNode:
    """A copy with other sources in some cells."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        name = grade_id(cell)
        if name in sources:
            cell.source = sources[name]
    return notebook


def main() -> None:
    """Write the submissions in nbgrader's layout, and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m assignments.rehearsal", description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE / "submitted", help="default: assignments/submitted")
    folder = parser.parse_args().output
    for student, notebook in submissions(nbformat.read(SOURCE / SET / f"{SET}.ipynb", as_version=4)).items():
        path = folder / student / SET / f"{SET}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        print(path)


if __name__ == "__main__":
    main()
