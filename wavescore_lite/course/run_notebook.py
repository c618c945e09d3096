"""Execute the notebook of a submission: the script that `sandbox.run` starts; it imports nothing of ours.

    python run_notebook.py CELL_SECONDS MEMORY COMMAND...

It reads the notebook from standard input, and has its cells executed by a kernel that COMMAND starts; in COMMAND
``{connection_file}`` stands for the file that tells the kernel where its messages go. Students' code runs in the kernel
alone, where the folder ``package`` of this one's is searched for packages. When the kernel and all that it started have
ended, and not before, the results go to standard output, as JSON: a list with a pair for each cell, how it ended ("ok",
"error", "timeout" or "not run") and its outputs. MEMORY is in bytes, and holds for each process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import nbformat
import psutil
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

TIMEOUT = {"ename": "CellTimeoutError", "evalue": "", "traceback": []}
LONGEST = 10_000  # characters kept of an output
SET_PDEATHSIG, SET_DUMPABLE, SET_CHILD_SUBREAPER = 1, 4, 36  # of prctl
PATIENCE = 10.0  # seconds for processes that were killed to end


class Commanded(KernelSpecManager):
    """Knows one kernel, which a command starts.

    It is interrupted by a message: a signal would reach what stands around it.
    """

    command: tuple[str, ...] = ()

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The one kernel, whatever its name."""
        return KernelSpec(argv=list(self.command), language="python", interrupt_mode="message")


def limit_memory(size: int) -> None:
    """Let this process, and those that it starts, have at most `size` bytes of address space each."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (ImportError, ValueError):  # Windows; macOS, or a lower limit there already: the watch from outside remains
        return


def stand_apart() -> None:
    """Let no other process of this user look into this one; keep those whose parents ended where the watch finds them.

    The superuser can look all the same. When the grader is killed, nbclient ends the kernel on a signal.
    """
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        prctl(SET_DUMPABLE, 0, 0, 0, 0)
        prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all_below() -> None:
    """End all processes that this one started, and those that they started."""
    deadline = time.monotonic() + PATIENCE
    while (below := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for process in below:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(below, timeout=1)


def shorten(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An output without its bulk: what decides on points, and the message."""
    if output.output_type == "error":
        return nbformat.v4.new_output("error", ename=output.ename[:LONGEST], evalue=output.evalue[:LONGEST])
    if output.output_type == "stream":
        return nbformat.v4.new_output("stream", name=output.name, text=output.text[:LONGEST])
    shown = {kind: text[:LONGEST] for kind, text in output.data.items() if kind == "text/plain"}
    return nbformat.v4.new_output("execute_result", data=shown, execution_count=output.execution_count)


def execute(notebook: nbformat.NotebookNode, cell_seconds: float, command: list[str]) -> tuple[list[Any], bool]:
    """Run all cells, those after an error too: how each ended, its outputs, and whether the kernel lived to the end."""
    results: list[Any] = [("not run", []) for _ in notebook.cells]

    def note(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict[str, Any] | None) -> None:
        content = (execute_reply or {"content": TIMEOUT})["content"]
        ending = "timeout" if content.get("ename") == TIMEOUT["ename"] else content["status"]
        cell.outputs = [shorten(output) for output in cell.outputs if output.output_type != "display_data"]
        results[cell_index] = (ending, cell.outputs)

    transport = "tcp" if sys.platform == "win32" else "ipc"  # sockets that are files pass through a sandbox
    options: dict[str, Any] = {"ip": "kernel", "transport": transport} if transport == "ipc" else {}
    specs = Commanded()
    specs.command = tuple(command)
    connection = os.path.abspath("connection.json")
    manager = AsyncKernelManager(kernel_spec_manager=specs, connection_file=connection, **options)
    rules: dict[str, Any] = {"interrupt_on_timeout": True, "error_on_timeout": TIMEOUT, "allow_errors": True}
    client = NotebookClient(
        notebook, manager, timeout=cell_seconds, on_cell_executed=note, shutdown_kernel="immediate", **rules
    )
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    environment = os.environ | {"PYTHONPATH": os.path.abspath("package")}
    try:
        client.execute(cleanup_kc=True, independent=True, env=environment, **streams)
    except Exception:  # whatever the kernel did: what was noted before counts
        return results, False
    return results, True


if __name__ == "__main__":
    cell_seconds, memory, *command = sys.argv[1:]
    grader = os.getppid()
    stand_apart()
    limit_memory(int(memory))
    results, lived = execute(nbformat.reads(sys.stdin.read(), as_version=4), float(cell_seconds), command)
    end_all_below()
    print(json.dumps(results))
    if os.getppid() != grader:  # it was killed, and removes this folder no more
        shutil.rmtree(os.getcwd(), ignore_errors=True)
    sys.exit(not lived)
