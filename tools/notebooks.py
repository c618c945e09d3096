"""The chapters: which they are, in the order of the table of contents, what is kept of an executed one, and copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from tools.imports import ROOT as ROOT
from wavescore_lite.support.storage import whole_file

STAGED = ("_config.yml", "_toc.yml", "book", "results", "tools/sphinx_ext")
KEPT_NOTEBOOK_METADATA = ("kernelspec", "language_info", "mystnb", "wavescore")
KEPT_CELL_METADATA = ("tags", "mystnb")
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}


def pages(root: Path = ROOT) -> list[Path]:
    """Source files of all pages in ``_toc.yml``, in reading order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [_source(root, name) for name in _names(toc)]


def chapters(root: Path = ROOT) -> list[Path]:
    """The pages that are notebooks."""
    return [page for page in pages(root) if page.suffix == ".ipynb"]


def _names(entry: object) -> Iterator[str]:
    if isinstance(entry, list):
        for item in entry:
            yield from _names(item)
    elif isinstance(entry, dict):
        for key, value in entry.items():
            if key in ("root", "file"):
                yield value
            else:
                yield from _names(value)


def _source(root: Path, name: str) -> Path:
    candidates = [root / name, root / f"{name}.ipynb", root / f"{name}.md"]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"_toc.yml names {name!r}, but there is neither {name}.ipynb nor {name}.md.")


def read(path: Path) -> NotebookNode:
    """The notebook at `path`, in format 4."""
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write the notebook in its normal form; a file already there is replaced at once or not at all."""
    text = nbformat.writes(normalise(notebook))
    with whole_file(path) as file:
        file.write((text + "\n").encode())


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Drop what depends on the machine and the hour: widget state, timestamps, versions and standard error."""
    metadata = {key: value for key, value in notebook.metadata.items() if key in KEPT_NOTEBOOK_METADATA}
    notebook.metadata = nbformat.from_dict(metadata | {"kernelspec": KERNELSPEC, "language_info": LANGUAGE_INFO})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key in KEPT_CELL_METADATA}
        )
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def standard_error(notebook: NotebookNode) -> str:
    """What the cells wrote to standard error."""
    return "".join(
        output.text for cell in code_cells(notebook) for output in cell.outputs if output.get("name") == "stderr"
    )


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that hold any code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def stage(target: Path, root: Path = ROOT) -> Path:
    """Copy what the chapters and the site are made from into `target`, anew."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    unwanted = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "_build", "*.part")
    for name in STAGED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=unwanted)
        elif source.is_file():
            shutil.copy2(source, target / name)
    return target


def main() -> None:
    """Print the path of each chapter, for tools that take files as arguments."""
    for path in chapters():
        print(os.path.relpath(path))


if __name__ == "__main__":
    main()
