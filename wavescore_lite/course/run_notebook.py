"""Execute the notebook of a submission within limits: the script that `sandbox.run` starts; it imports nothing of ours.

    python run_notebook.py IN OUT STATE CELL_SECONDS MEMORY

After each cell it writes OUT, where the metadata of the cell says under the key STATE how it ended: "ok", "error" or
"timeout". MEMORY is in bytes, and holds for each process.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

TIMEOUT = {"ename": "CellTimeoutError", "evalue": "", "traceback": []}
LONGEST = 10_000  # characters kept of an output
SET_CHILD_SUBREAPER = 36  # of prctl


def limit_memory(size: int) -> None:
    """Let this process, and those that it starts, have at most `size` bytes of address space each."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (ImportError, ValueError):  # Windows; macOS, or a lower limit there already: the watch from outside remains
        return


def adopt_orphans() -> None:
    """Keep processes whose parents ended below this one, where the watch finds them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def shorten(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An output without its bulk: what decides on points, and the message."""
    if output.output_type == "error":
        return nbformat.v4.new_output("error", ename=output.ename[:LONGEST], evalue=output.evalue[:LONGEST])
    if output.output_type == "stream":
        return nbformat.v4.new_output("stream", name=output.name, text=output.text[:LONGEST])
    shown = {kind: text[:LONGEST] for kind, text in output.data.items() if kind == "text/plain"}
    return nbformat.v4.new_output("execute_result", data=shown, execution_count=output.execution_count)


def execute(path: Path, out: Path, state: str, cell_seconds: float) -> None:
    """Run all cells, those after an error too; exit with 1 if the kernel died."""
    notebook = nbformat.read(path, as_version=4)

    def note(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict[str, Any] | None) -> None:
        content = (execute_reply or {"content": TIMEOUT})["content"]
        cell.metadata[state] = "timeout" if content.get("ename") == TIMEOUT["ename"] else content["status"]
        cell.outputs = [shorten(output) for output in cell.outputs if output.output_type != "display_data"]
        partial = out.with_suffix(".part")
        partial.write_text(nbformat.writes(notebook), encoding="utf-8")
        os.replace(partial, out)

    options: dict[str, Any] = {"interrupt_on_timeout": True, "error_on_timeout": TIMEOUT, "allow_errors": True}
    client = NotebookClient(notebook, timeout=cell_seconds, on_cell_executed=note, **options)
    try:
        client.execute()
    except DeadKernelError:
        sys.exit(1)


if __name__ == "__main__":
    path, out, state, cell_seconds, memory = sys.argv[1:]
    adopt_orphans()
    limit_memory(int(memory))
    execute(Path(path), Path(out), state, float(cell_seconds))
