"""Answers of a submission, put into the notebook of its master.

Cells are known by the names that nbgrader keeps in their metadata.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode


def settings(cell: NotebookNode) -> dict[str, Any]:
    """What nbgrader keeps in the metadata of a cell; nothing where a student put something else there."""
    found = cell.metadata.get("nbgrader")
    return found if isinstance(found, dict) else {}


def grade_id(cell: NotebookNode) -> str | None:
    """The name of a cell, None if it has none."""
    name = settings(cell).get("grade_id")
    return name if isinstance(name, str) else None


def released(master: NotebookNode) -> NotebookNode:
    """The master as students get it: without solutions and hidden tests, by nbgrader itself."""
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    notebook, resources = copy.deepcopy(master), dict[str, Any]()
    for step in (ClearSolutions(), ClearHiddenTests()):
        notebook, resources = step.preprocess(notebook, resources)
    return notebook


def merge(submission: NotebookNode, master: NotebookNode) -> tuple[NotebookNode, list[str], set[str]]:
    """Put the answers of a submission into the master.

    Cells that students added stay behind the cell of the master that they followed; of a cell that was doubled the last
    one counts, as for nbgrader. A cell that lost its name, as editors drop metadata, counts as one that was added, and
    nothing is put in the place of an answer in code that is missing, as for nbgrader; so what it defines is there. An
    answer that a person reads is looked for among the cells where it should be.

    Returns
    -------
    notebook : NotebookNode
        Without outputs.
    remarks : list of str
        On locked cells that the submission had changed, and on those that it lacks.
    empty : set of str
        grade_id of the answers that are as they were released.
    """
    stubs = {grade_id(cell): cell.source for cell in released(master).cells if grade_id(cell)}
    names = names_of(submission, master)
    final = {name: place for place, name in enumerate(names)}
    answers: dict[str, str] = {}
    added: dict[str | None, list[NotebookNode]] = {None: []}
    last = None
    for place, (cell, name) in enumerate(zip(submission.cells, names, strict=True)):
        if name and final[name] == place:
            last = name
            answers[name] = cell.source
        else:
            added.setdefault(last, []).append(_plain(cell))
    notebook = copy.deepcopy(master)
    cells, changed, lost, empty = [*added[None]], list[str](), list[str](), set[str]()
    before, present = None, set(answers)
    for cell in notebook.cells:
        name = grade_id(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if name is None:
            cells.append(cell)
            continue
        locked, here = settings(cell)["locked"], added.get(before, [])
        if name in answers:
            if locked and answers[name].strip() != stubs[name].strip():
                changed.append(f"{name} was changed")
        elif locked:
            changed.append(f"{name} was missing")
        else:
            alike = [other for other in here if other.cell_type == cell.cell_type]
            lost.append(f"{name} {'had lost its name' if alike else 'was missing'}")
            if alike and settings(cell)["grade"]:
                answers[name] = alike[-1].source
        if not locked:
            cell.source = answers.get(name, stubs[name])
            if cell.source.strip() == stubs[name].strip():
                empty.add(name)
        if name in answers or locked or settings(cell)["grade"]:
            cells.append(cell)
        cells += added.get(name, [])
        before = name if name in present else before
    notebook.cells = cells
    remarks = [f"the tests of the master were run where {', '.join(changed)}"] if changed else []
    remarks += [f"cells without a name count where {', '.join(lost)}"] if lost else []
    return notebook, remarks, empty


def names_of(submission: NotebookNode, master: NotebookNode) -> list[str | None]:
    """Which cell of the master each cell of a submission is.

    One without a name, as editors drop metadata, is known by its text if that is locked.

    Parameters
    ----------
    submission, master : NotebookNode

    Returns
    -------
    list of str or None
        The grade_id of each cell of the submission, None for one that was added or cannot be known.
    """
    known = {name: cell for cell in released(master).cells if (name := grade_id(cell))}
    names = [name if (name := grade_id(cell)) in known else None for cell in submission.cells]
    lost: dict[str, list[str]] = {}  # several may say the same: these are told apart by their order
    for name, cell in known.items():
        if settings(cell)["locked"] and name not in names:
            lost.setdefault(cell.source.strip(), []).append(name)
    for place, cell in enumerate(submission.cells):
        if names[place] is None and (alike := lost.get(cell.source.strip())):
            names[place] = alike.pop(0)
    return names


def _plain(cell: NotebookNode) -> NotebookNode:
    """A cell that a student added, without metadata, by which it could be skipped or graded."""
    import nbformat

    if cell.cell_type == "code":
        return nbformat.v4.new_code_cell(cell.source)
    return nbformat.v4.new_markdown_cell(cell.source)
