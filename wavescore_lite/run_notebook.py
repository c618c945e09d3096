"""Execute the notebook of a submission within limits: the script that `grading.run` starts; it imports nothing of ours.

    python run_notebook.py IN OUT STATE CELL_SECONDS MEMORY

After each cell it writes OUT, where the metadata of the cell says under the key STATE how it ended: "ok", "error" or
"timeout". MEMORY is in bytes, and holds for each process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

TIMEOUT = {"ename": "CellTimeoutError", "evalue": "", "traceback": []}


def limit_memory(size: int) -> None:
    """Let this process, and those that it starts, have at most `size` bytes of address space each."""
    try:
        import resource
    except ImportError:  # on Windows, where only the watch from outside limits memory
        return
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def execute(path: Path, out: Path, state: str, cell_seconds: float) -> None:
    """Run all cells, those after an error too; exit with 1 if the kernel died."""
    notebook = nbformat.read(path, as_version=4)

    def note(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict | None) -> None:
        content = (execute_reply or {"content": TIMEOUT})["content"]
        cell.metadata[state] = "timeout" if content.get("ename") == TIMEOUT["ename"] else content["status"]
        partial = out.with_suffix(".part")
        partial.write_text(nbformat.writes(notebook), encoding="utf-8")
        os.replace(partial, out)

    options = {"interrupt_on_timeout": True, "error_on_timeout": TIMEOUT, "allow_errors": True}
    client = NotebookClient(notebook, timeout=cell_seconds, on_cell_executed=note, **options)
    try:
        client.execute()
    except DeadKernelError:
        sys.exit(1)


if __name__ == "__main__":
    path, out, state, cell_seconds, memory = sys.argv[1:]
    limit_memory(int(memory))
    execute(Path(path), Path(out), state, float(cell_seconds))
