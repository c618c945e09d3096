"""Execute chapters: copies for the site, or, with ``python -m tools.execute``, the committed ones on MNIST."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools.notebooks import (
    ROOT,
    chapters,
    code_cells,
    read,
    source_sha256,
    standard_error,
    write,
)
from wavescore_lite.support.storage import whole_file

CELL_TIMEOUT = 300
STAGED = ("_config.yml", "_toc.yml", "book", "results", "tools/sphinx_ext")


class ChapterError(RuntimeError):
    """A chapter that did not run to its end, told with the chapter, the cell and the traceback."""


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


class Execution(NamedTuple):
    """What the execution of a chapter took, and what it wrote to standard error."""

    seconds: float
    standard_error: str


def run(path: Path, dataset: str, environment: Mapping[str, str] | None = None) -> Execution:
    """Execute the notebook at `path` in its own folder and store its outputs there.

    `dataset` is only noted in the metadata; `environment` is what decides it.
    """
    notebook = read(path)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    begun: list[int] = []
    client.on_cell_execute = lambda cell, cell_index: begun.append(cell_index)
    start = time.perf_counter()
    try:
        client.execute(env=dict(environment or os.environ))
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        cells = len(code_cells(notebook))
        raise ChapterError(f"Chapter {path.stem} stopped in code cell {len(begun)} of {cells}.\n{error}") from error
    seconds = time.perf_counter() - start
    said = standard_error(notebook)
    notebook.metadata["wavescore"] = {
        "dataset": dataset,
        "seconds": round(seconds, 1),
        "source_sha256": source_sha256(notebook),
        "version": version("wavescore-lite"),
    }
    write(notebook, path)
    return Execution(seconds, said)


def run_all(paths: Sequence[Path], dataset: str, environment: Mapping[str, str] | None = None) -> None:
    """Execute the notebooks in place, with a line of progress for each, and what was said on standard error, once."""
    said: set[str] = set()
    width = max((len(path.stem) for path in paths), default=0)
    for number, path in enumerate(paths, start=1):
        print(
            f"[{number}/{len(paths)}] {path.stem:<{width}} on {dataset} ...",
            end="",
            flush=True,
        )
        try:
            execution = run(path, dataset, environment)
        except ChapterError:
            print(" failed", flush=True)
            raise
        print(f" {execution.seconds:5.1f} s", flush=True)
        for line in execution.standard_error.splitlines():
            if line not in said:
                print(line, file=sys.stderr, flush=True)
            said.add(line)


def without_mnist() -> dict[str, str]:
    """This process's environment, changed so that no MNIST is found and none is fetched."""
    environment = {key: value for key, value in os.environ.items() if key != "WAVESCORE_DATA"}
    return environment | {
        "XDG_CACHE_HOME": str(ROOT / "_build" / "cache"),
        "WAVESCORE_OFFLINE": "1",
    }


def renew(path: Path, root: Path = ROOT) -> None:
    """Execute a committed chapter on both datasets; outputs (of MNIST) and records are replaced when both ran."""
    with tempfile.TemporaryDirectory(prefix="wavescore-") as scratch:
        staged = stage(Path(scratch) / "source", root)
        copy = staged / path.relative_to(root)
        record = copy.parent / "records" / f"{path.stem}.json"
        record.unlink(missing_ok=True)
        recording = {"WAVESCORE_RECORD": "1"}
        run_all([copy], "mnist", os.environ | recording)
        executed = copy.rename(Path(scratch) / path.name)
        shutil.copyfile(path, copy)
        run_all([copy], "strokes", without_mnist() | recording)  # may read what was recorded on MNIST
        committed_record = path.parent / "records" / record.name
        if record.is_file():
            _replace(record, committed_record)
        else:
            committed_record.unlink(missing_ok=True)
        _replace(executed, path)


def _replace(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as file:
        file.write(source.read_bytes())


def main() -> None:
    """Renew the chapters named on the command line, or all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.execute",
        description="Execute chapters on MNIST, in place, and record their numbers on MNIST and on strokes.",
    )
    known = {path.stem: path for path in chapters()}
    parser.add_argument(
        "chapters",
        nargs="*",
        metavar="CHAPTER",
        help=f"of: {', '.join(known)}; default all",
    )
    names = parser.parse_args().chapters or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no such chapter: {', '.join(unknown)} (there are: {', '.join(known)})")

    import wavescore_lite as ws

    found = ws.resolve_dataset("auto")
    if found != "mnist":
        sys.exit(
            f"Committed outputs are made on MNIST, and the dataset found is {found!r}. "
            "Point WAVESCORE_DATA to the folder that holds MNIST/raw; `wavescore data` says where it looks."
        )
    try:
        for name in names:
            renew(known[name])
    except ChapterError as error:
        sys.exit(f"{error}\nThe committed chapter and its record are unchanged.")


if __name__ == "__main__":
    main()
