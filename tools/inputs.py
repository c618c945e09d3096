"""What the outputs of a chapter depend on, and what of it has changed since they were made."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from nbformat import NotebookNode

from tools.imports import Package
from tools.notebooks import code_cells
from tools.syntax import short_sha256, strings

CODE = "its code"
# Files of numbers that modules read, beside the package: who reaches the module depends on them.
FILES = {
    "wavescore_lite.networks.files": ("wavescore_lite/networks/weights/*.csv",),  # with checksums of the weights
    "wavescore_lite.study.results": ("results/*-*.csv",),
}
MOST_TOLD = 5


def inputs(notebook: NotebookNode, path: Path, package: Package | None = None) -> dict[str, str]:
    """A digest of each thing that the outputs of the chapter at `path` depend on.

    These are its own code, to the letter; each module of the package that it reaches, by what the module does and not
    by what it says (`syntax.bare`); the files that such modules read, see `FILES`; and other chapters' records that it
    reads. Images are not among them: those of MNIST are checked when they are read.

    Parameters
    ----------
    notebook : NotebookNode
    path : Path
        Where it lies; records lie beside it.
    package : Package, optional
        That of this checkout, as it was when it was first asked for.

    Raises
    ------
    SyntaxError
        If a cell is not plain Python; it names the cell.
    """
    package = package or this_package()
    tree = _parsed(notebook)
    modules = package.reached(tree)
    root = package.folder.parent
    found = {CODE: short_sha256(repr([cell.source for cell in code_cells(notebook)]).encode())}
    found |= {package.files[module].relative_to(root).as_posix(): package.code(module).digest for module in modules}
    for module in sorted(modules & FILES.keys()):
        files = (file for pattern in FILES[module] for file in sorted(root.glob(pattern)))
        found |= {file.relative_to(root).as_posix(): short_sha256(file.read_bytes()) for file in files}
    for chapter in records_read(notebook, path):
        record = path.parent / "records" / f"{chapter}.json"
        found[f"{path.parent.name}/records/{record.name}"] = short_sha256(record.read_bytes())
    return dict(sorted(found.items()))


def records_read(notebook: NotebookNode, path: Path) -> set[str]:
    """The other chapters whose records a chapter reads.

    They are those that ``Record("chapter", ...)`` names, and, where it is a variable that names them, all that stand as
    a string in the code.
    """
    tree = _parsed(notebook)
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    chapters = [call.args[0] for call in calls if ast.unparse(call.func).split(".")[-1] == "Record"]
    by_name = all(isinstance(chapter, ast.Constant) for chapter in chapters)
    named = {name for chapter in chapters for name in strings(chapter)} if by_name else strings(tree)
    return named & {record.stem for record in path.parent.glob("records/*.json")} - {path.stem}


def why_stale(notebook: NotebookNode, path: Path, package: Package | None = None) -> str:
    """Why the outputs of a chapter are not those that it would give today; empty if they are."""
    made = notebook.metadata.get("wavescore", {})
    if "inputs" not in made:
        return "nothing says what its outputs were made from"
    try:
        changed = list(_changes(made["inputs"], inputs(notebook, path, package)))
    except SyntaxError as error:
        return f"{error.filename} is not plain Python: {error.msg}"
    told = changed[:MOST_TOLD]
    if more := len(changed) - len(told):
        told.append(f"{more} more")
    return f"changed since its outputs were made: {', '.join(told)}" if told else ""


@cache
def this_package() -> Package:
    """The package of this checkout, read once."""
    return Package()


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*before, *after}, key=lambda name: (name != CODE, name)):
        if name not in after:
            yield f"{name} (not used any more)"
        elif name not in before:
            yield f"{name} (not used before)"
        elif before[name] != after[name]:
            yield name


def _parsed(notebook: NotebookNode) -> ast.Module:
    cells = enumerate(code_cells(notebook), start=1)
    return ast.Module([line for n, cell in cells for line in ast.parse(cell.source, f"code cell {n}").body], [])
