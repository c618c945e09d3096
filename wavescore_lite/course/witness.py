"""Witnesses of a run: checks that must fail, and words in answers that a grader should read.

Tests and students' code run in one process, where the second can bend what the first call, or drop them unrun. A check
that must fail, and does not, tells. It is as hard to recognise as can be had cheaply: a copy of a test with other
numbers, or a cell of random names.
"""

from __future__ import annotations

import ast
import copy
import re
import secrets
from typing import TYPE_CHECKING

from .merging import grade_id, settings
from .sandbox import STATE

if TYPE_CHECKING:
    from nbformat import NotebookNode

WITNESS, WORD = "witness_of", "word"  # keys of the metadata of cells that are put between
WATCHED = re.compile(
    r"\b(?:get_ipython|atexit|__file__|open(?= *\()|read_text|read_bytes|__code__|__globals__|_getframe|sys\.modules"
    r"|ctypes|importlib|inspect|subprocess)\b|(?:input|ast)_transformers|^[ \t]*(?:!|%%?(?:sx|system|bash|sh|run)\b)",
    re.MULTILINE,
)
CANARY = """def NAME():
    import numpy
    assert not numpy.allclose(FIRST, SECOND)
    yield lambda: numpy.testing.assert_allclose(FIRST, SECOND)
    if "check" in globals():
        yield lambda: check("NAME", FIRST, SECOND)
    if "run_test" in globals():
        yield lambda: run_test(lambda: numpy.testing.assert_allclose(FIRST, SECOND))
for NAME in NAME():
    try:
        NAME()
    except AssertionError:
        continue
    raise SystemError
try:
    assert False
except AssertionError:
    print("WORD")"""
WRONG = '(lambda e: e + abs(e) + 1)(__import__("numpy").asarray({}))'  # finite, of the same shape, everywhere off


def canary() -> tuple[str, str]:
    """Code that tries comparisons which must fail, and the word that it prints where they can.

    Returns
    -------
    source, word : str
        Drawn anew at each call.

    Examples
    --------
    >>> import contextlib, io
    >>> source, word = canary()
    >>> with contextlib.redirect_stdout(io.StringIO()) as said:
    ...     exec(source, {})
    >>> said.getvalue().strip() == word
    True
    """
    word, first = secrets.token_hex(), 1 + secrets.randbelow(1000)
    drawn = {"NAME": f"_{secrets.token_hex(4)}", "FIRST": f"{first}.0", "SECOND": f"{first + 1}.0", "WORD": word}
    return re.sub("|".join(drawn), lambda found: drawn[found[0]], CANARY), word


def must_fail(source: str) -> str | None:
    """A copy of a test in which every comparison is wrong, and which is hard to tell from it.

    What `check` gets are numbers that differ from those expected, and an ``assert`` is of what is false. Expressions
    that stood there are still to be read, and are not evaluated. A test that has neither ends with a false one.

    Parameters
    ----------
    source : str
        Of the cell.

    Returns
    -------
    str or None
        None where the cell is no plain Python.

    Examples
    --------
    >>> must_fail("n = 3\\nassert f(n) == 6, 'f is wrong'")
    "n = 3\\nassert f(n) == 6 if [] else False, 'f is wrong'"
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return None
    text, changes = source.encode(), list[tuple[int, int, str, str]]()
    starts = [0, *(found.end() for found in re.finditer(b"\n", text))]
    for node in nodes:
        if isinstance(node, ast.Assert):
            changes.append(_instead(node.test, "False", starts))
        elif isinstance(node, ast.Call) and _is_check(node):
            start, stop, *_ = _instead(node.args[2], "", starts)
            changes.append(_instead(node.args[1], WRONG.format(text[start:stop].decode()), starts))
    made, end = list[bytes](), 0
    for start, stop, before, after in sorted(changes):
        if start >= end:  # else it lies within one that is changed already
            made += [text[end:start], before.encode(), text[start:stop], after.encode()]
            end = stop
    return b"".join([*made, text[end:], b"" if changes else b"\nassert []"]).decode()


def _is_check(call: ast.Call) -> bool:
    given = call.args[:3]
    named = isinstance(call.func, ast.Name) and call.func.id == "check"
    return named and len(given) == 3 and not any(isinstance(one, ast.Starred) for one in given)


def _instead(node: ast.expr, other: str, starts: list[int]) -> tuple[int, int, str, str]:
    """Where an expression is, by first byte and the first after it, and what to put before and after it for another.

    `starts` are the first bytes of the lines. The expression stays, and is not evaluated.
    """
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    start, stop = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
    loose = isinstance(node, (ast.IfExp, ast.Lambda, ast.NamedExpr))
    return start, stop, "(" * loose, f"{')' * loose} if [] else {other}"


def watched(source: str) -> list[str]:
    """Words in code that no answer needs: ways to files, to the kernel, and to how tests work inside.

    Parameters
    ----------
    source : str
        Of a cell.

    Returns
    -------
    list of str

    Examples
    --------
    >>> watched("import atexit\\nx = open('p', 'w')\\n!ls"), watched("opened = 'open'")
    (['atexit', 'open', '!'], [])
    """
    return list(dict.fromkeys(found.strip() for found in WATCHED.findall(source)))


def witnessed(notebook: NotebookNode) -> NotebookNode:
    """A notebook with a copy of each test that must fail beside it, and canaries at a random place and at its end.

    Parameters
    ----------
    notebook : NotebookNode
        Of a master, with answers.

    Returns
    -------
    NotebookNode
        A copy, whose added cells `heard` knows by their metadata. Each stands before or after its test, by chance.
    """
    from nbformat.v4 import new_code_cell

    notebook = copy.deepcopy(notebook)
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        pair = [cell]
        if settings(cell).get("grade") and cell.cell_type == "code" and (wrong := must_fail(cell.source)):
            pair.append(new_code_cell(wrong, metadata={WITNESS: grade_id(cell)}))
        cells += pair if secrets.randbelow(2) else reversed(pair)
    for place in (secrets.randbelow(len(cells)), len(cells) + 1):
        source, word = canary()
        cells.insert(place, new_code_cell(source, metadata={WORD: word}))
    notebook.cells = cells
    return notebook


def heard(executed: NotebookNode) -> tuple[bool, set[str]]:
    """Take the witnesses out of a notebook that was run, and ask them.

    Parameters
    ----------
    executed : NotebookNode
        What `witnessed` made, with outputs and states. It is changed.

    Returns
    -------
    bent : bool
        Whether something passed that must fail.
    unsure : set of str
        grade_id of the tests beside which nothing failed as it must, if only because it was not reached.
    """
    tests = {grade_id(cell): cell for cell in executed.cells}
    bent, unsure = False, set[str]()
    for cell in executed.cells:
        state = cell.metadata[STATE]
        if WORD in cell.metadata:
            bent |= state in ("ok", "error") and cell.metadata[WORD] not in str(cell.outputs)
        elif WITNESS in cell.metadata and "AssertionError" not in {output.get("ename") for output in cell.outputs}:
            bent |= state == tests[cell.metadata[WITNESS]].metadata[STATE] == "ok"
            unsure.add(cell.metadata[WITNESS])
    executed.cells = [cell for cell in executed.cells if not {WORD, WITNESS} & set(cell.metadata)]
    return bent, unsure
