"""Run a notebook within limits, in a process, a folder and an environment of its own.

That stops loops and hunger for memory; it is no wall. A command that makes one can be put around: see `limits`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from .limits import Limits

if TYPE_CHECKING:
    from nbformat import NotebookNode

WORKER = Path(__file__).with_name("run_notebook.py")
IN, OUT = "submission.ipynb", "graded.ipynb"
STATE = "wavescore"  # key of a cell's metadata: how it ended
LARGEST = 4 * 2**20  # bytes of a notebook, handed in or run
GIBIBYTE = 2**30
POLL = 0.1  # seconds
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")  # of the environment


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook that somebody else wrote, in whatever editor.

    Raises
    ------
    ValueError
        If it is missing, too large, or no notebook that can be read and written.
    """
    import nbformat

    if path.is_symlink() or not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has {path.stat().st_size:,} bytes; expected at most {LARGEST:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubled ids of cells, which nbformat mends
            notebook = nbformat.reads(_completed(path.read_text(encoding="utf-8-sig")), as_version=4)
            nbformat.validate(notebook, relax_add_props=True)
        nbformat.writes(notebook).encode()
    except Exception as error:
        raise ValueError(str(error).partition("\n")[0][:200]) from error
    return notebook


def _completed(text: str) -> str:
    """A notebook as JSON, with what some editors leave out of code cells, and with line ends of one kind."""
    notebook = json.loads(text)
    for cell in notebook.get("cells", []):
        if cell.get("cell_type") == "code":
            cell.setdefault("execution_count", None)
            cell.setdefault("outputs", [])
        cell["source"] = "".join(cell["source"]).replace("\r\n", "\n").replace("\r", "\n")
    return json.dumps(notebook)


def run(notebook: NotebookNode, limits: Limits) -> tuple[NotebookNode, str]:
    """Execute a notebook within limits.

    Parameters
    ----------
    notebook : NotebookNode
    limits : Limits

    Returns
    -------
    notebook : NotebookNode
        A copy with outputs as far as it came, shortened, without pictures. The metadata of each cell has under STATE
        "ok", "error", "timeout" or "not run". Nothing else is taken over from what the run left behind.
    ending : str
        Why it was stopped, "" if it was not.
    """
    import matplotlib
    import nbformat

    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        cell.metadata[STATE] = "not run"
    place = tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True)
    with contextlib.suppress(RecursionError), place as folder:  # folders may be nested without end
        nbformat.write(notebook, Path(folder, IN))
        nbformat.write(notebook, Path(folder, OUT))
        shutil.copytree(matplotlib.get_cachedir(), Path(folder, "matplotlib"), dirs_exist_ok=True)
        command = [word.replace("{folder}", folder) for word in shlex.split(limits.inside)]
        command += [sys.executable, str(WORKER), IN, OUT, STATE, str(limits.cell_seconds)]
        ending = _watch([*command, str(int(limits.memory * GIBIBYTE))], folder, limits)
        try:
            executed = read_notebook(Path(folder, OUT))
            if [cell.source for cell in executed.cells] != [cell.source for cell in notebook.cells]:
                raise ValueError("its cells are others")
        except (OSError, ValueError) as reason:
            ending = f"it damaged its results: {reason}"
        else:
            for cell, done in zip(notebook.cells, executed.cells, strict=True):
                cell.metadata[STATE] = str(done.metadata.get(STATE))
                if cell.cell_type == "code":
                    cell.outputs = done.get("outputs", [])
    return notebook, ending


def check_that_it_runs(limits: Limits) -> None:
    """Raise a ValueError if not even an empty notebook can be run here."""
    import nbformat

    executed, ending = run(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pass")]), limits)
    if executed.cells[0].metadata[STATE] != "ok":
        within = f" within {limits.inside!r}" if limits.inside else ""
        raise ValueError(f"an empty notebook could not be run{within}: {ending or 'it failed'}; expected that it can")


def _watch(command: Sequence[str], folder: str, limits: Limits) -> str:
    """Run a command; stop it and all that it started when it is over, or over a limit, and say which."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": folder, "MPLCONFIGDIR": f"{folder}/matplotlib", "WAVESCORE_OFFLINE": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    nowhere, seen = subprocess.DEVNULL, dict[int, psutil.Process]()
    started, ending = time.monotonic(), ""
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            seen |= {child.pid: child for child in [parent, *_children(parent)]}
            if time.monotonic() - started > limits.seconds:
                ending = f"stopped after {limits.seconds:g} s"
                break
            if sum(_resident(child) for child in seen.values()) > limits.memory * GIBIBYTE:
                ending = f"stopped at {limits.memory:g} GiB of memory"
                break
            time.sleep(POLL)
    finally:
        for child in seen.values():
            with contextlib.suppress(psutil.Error):
                child.kill()
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
