"""Run a notebook within limits: its kernel in a process, a folder and an environment of its own.

That stops loops and hunger for memory; it is no wall. A command that makes one can be put around the kernel: see
`limits`. What a kernel sees of this machine is then the folder, in which a copy of the package lies. Cells are sent to
it one by one, and what it answers is kept outside, so that there is no file with tests to read or results to change.
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
import threading
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from .limits import Limits

if TYPE_CHECKING:
    from nbformat import NotebookNode

WORKER = Path(__file__).with_name("run_notebook.py")
PACKAGE = Path(__file__).parents[1]
KERNEL = ("-m", "ipykernel_launcher", "-f", "{connection_file}")
STATE = "wavescore"  # key of a cell's metadata: how it ended
LARGEST = 64 * 2**20  # bytes of a file that is handed in
LONGEST = 4 * 2**20  # bytes of a notebook without its outputs
GIBIBYTE = 2**30
POLL = 0.1  # seconds
GRACE = 30.0  # seconds to tell results, once the kernel was stopped
PASSED_ON = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV")  # of the environment
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook that somebody else wrote, in whatever editor, without outputs and attachments.

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
        size = len(nbformat.writes(notebook).encode())
    except Exception as error:
        raise ValueError(str(error).partition("\n")[0][:200]) from error
    if size > LONGEST:
        raise ValueError(f"it has {size:,} bytes without its outputs; expected at most {LONGEST:,}")
    return notebook


def _completed(text: str) -> str:
    """A notebook as JSON, with what some editors leave out of code cells, without outputs, line ends of one kind."""
    notebook = json.loads(text)
    for cell in notebook.get("cells", []):
        if cell.get("cell_type") == "code":
            cell |= {"execution_count": None, "outputs": []}
        cell.pop("attachments", None)
        cell.setdefault("metadata", {})
        cell["source"] = "".join(cell["source"]).replace("\r\n", "\n").replace("\r", "\n")
    return json.dumps(notebook)


def run(notebook: NotebookNode, limits: Limits, stop: threading.Event | None = None) -> tuple[NotebookNode, str]:
    """Execute a notebook within limits.

    Parameters
    ----------
    notebook : NotebookNode
    limits : Limits
    stop : threading.Event, optional
        Ends the run when it is set, as a limit does.

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
    place = tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True)
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as told:  # files without a name
        with contextlib.suppress(RecursionError), place as folder:  # folders may be nested without end
            shutil.copytree(PACKAGE, Path(folder, "package", PACKAGE.name))
            shutil.copytree(matplotlib.get_cachedir(), Path(folder, "matplotlib"), dirs_exist_ok=True)
            asked.write(nbformat.writes(notebook).encode())
            asked.seek(0)
            inside = [word.replace("{folder}", folder) for word in shlex.split(limits.inside)]
            command = [str(limits.cell_seconds), str(int(limits.memory * GIBIBYTE)), *inside, sys.executable, *KERNEL]
            ending = _watch([sys.executable, "-P", str(WORKER), *command], folder, asked, told, limits, stop)
        results = _results(told, len(notebook.cells))
    for cell, (state, outputs) in zip(notebook.cells, results, strict=True):
        cell.metadata[STATE] = state
        if cell.cell_type == "code":
            cell.outputs = [nbformat.from_dict(output) for output in outputs]
    return notebook, ending


def _results(told: IO[bytes], count: int) -> list[tuple[str, list[Any]]]:
    """How each cell ended, and its outputs; nothing of a worker that was ended before it had told all."""
    told.seek(0)
    try:
        return [(str(state), outputs) for state, outputs in json.load(told)]
    except ValueError:
        return [("not run", [])] * count


def check_that_it_runs(limits: Limits) -> None:
    """Raise a ValueError if not even an empty notebook can be run here."""
    import nbformat

    executed, ending = run(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pass")]), limits)
    if executed.cells[0].metadata[STATE] != "ok":
        within = f" within {limits.inside!r}" if limits.inside else ""
        raise ValueError(f"an empty notebook could not be run{within}: {ending or 'it failed'}; expected that it can")


def _watch(
    command: list[str], folder: str, asked: IO[bytes], told: IO[bytes], limits: Limits, stop: threading.Event | None
) -> str:
    """Run a command; end what it started when that is over a limit, and say which. It then has time to tell results."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | ONE_THREAD
    environment |= dict.fromkeys(("HOME", "TMPDIR"), folder)
    environment |= {"MPLCONFIGDIR": f"{folder}/matplotlib", "WAVESCORE_OFFLINE": "1"}
    started, ending = time.monotonic(), ""
    streams: dict[str, Any] = {"stdin": asked, "stdout": told, "stderr": subprocess.DEVNULL}
    # A session of its own: Ctrl-C is for the grader, which then ends it.
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams)
    seen: dict[int, psutil.Process] = {}
    try:
        parent = psutil.Process(process.pid)
        while process.poll() is None and not ending:
            below = _children(parent)
            seen |= {child.pid: child for child in below}
            if stop is not None and stop.is_set():
                ending = "stopped"
            elif time.monotonic() - started > limits.seconds:
                ending = f"stopped after {limits.seconds:g} s"
            elif sum(_resident(child) for child in [parent, *seen.values()]) > limits.memory * GIBIBYTE:
                ending = f"stopped at {limits.memory:g} GiB of memory"
            else:
                time.sleep(POLL)
        stopped = time.monotonic()
        while process.poll() is None and time.monotonic() - stopped < GRACE:
            _kill(_children(parent))
            time.sleep(POLL)
    finally:
        process.kill()
        process.wait()
        _kill(seen.values())
    return ending or ("its process ended early" if process.returncode else "")


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


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
