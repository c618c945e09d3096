"""Execute notebooks, each in a kernel of its own, as many at a time as there are cores."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools.imports import Package
from tools.inputs import inputs
from tools.notebooks import code_cells, read, standard_error, write

CELL_TIMEOUT = 300
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ChapterError(RuntimeError):
    """A chapter that did not run to its end, told with the chapter, the cell and the traceback."""


class Execution(NamedTuple):
    """What the execution of a chapter took, and what it wrote to standard error."""

    seconds: float
    standard_error: str


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def execute(path: Path, dataset: str, environment: Mapping[str, str]) -> Execution:
    """Execute the notebook at `path` in its own folder and store its outputs there, with what they were made from.

    `dataset` is only noted in the metadata; `environment` is what decides it.

    Raises
    ------
    ChapterError
        The notebook is left as it was.
    """
    notebook = read(path)
    try:
        made_from = inputs(notebook, path, Package())  # as they are before it runs, should one change meanwhile
    except SyntaxError as error:
        raise ChapterError(f"Chapter {path.stem}: {error.filename} is not plain Python.\n{error}") from error
    begun: list[int] = []
    kernel = AsyncKernelManager(kernel_name="python3")
    client = NotebookClient(notebook, km=kernel, timeout=CELL_TIMEOUT, record_timing=False, coalesce_streams=True)
    client.on_cell_execute = lambda cell, cell_index: begun.append(cell_index)
    start = time.perf_counter()
    done = False
    try:
        await kernel.start_kernel(
            extra_arguments=["--IPKernelApp.log_level=ERROR"], cwd=str(path.parent), env=dict(environment)
        )
        await client.async_execute()
        done = True
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError from None  # which nbclient takes for the death of the kernel
        cells = len(code_cells(notebook))
        raise ChapterError(f"Chapter {path.stem} stopped in code cell {len(begun)} of {cells}.\n{error}") from error
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
        await kernel.shutdown_kernel(now=not done)
    seconds = time.perf_counter() - start
    said = standard_error(notebook)
    notebook.metadata["wavescore"] = {
        "dataset": dataset,
        "inputs": made_from,
        "seconds": round(seconds, 1),
        "version": version("wavescore-lite"),
    }
    write(notebook, path)
    return Execution(seconds, said)


class Progress:
    """A line for each chapter whenever a run of it ends, and what was said on standard error, once."""

    def __init__(self, paths: Sequence[Path], workers: int, runs: int = 1) -> None:
        noun = "chapter" if len(paths) == 1 else "chapters"
        print(f"Running {len(paths)} {noun}, {workers} at a time", flush=True)
        self.executions = runs * len(paths)
        self.width = max((len(path.stem) for path in paths), default=0)
        self.ended = 0
        self.said: set[str] = set()

    async def follow(self, path: Path, dataset: str, environment: Mapping[str, str]) -> None:
        """Execute a chapter and say how it ended."""
        line = f"{path.stem:<{self.width}} on {dataset} ..."
        try:
            execution = await execute(path, dataset, environment)
        except ChapterError:
            print(f"{self._number()} {line} failed", flush=True)
            raise
        print(f"{self._number()} {line} {execution.seconds:5.1f} s", flush=True)
        for text in execution.standard_error.splitlines():
            if text not in self.said:
                print(text, file=sys.stderr, flush=True)
            self.said.add(text)

    def _number(self) -> str:
        self.ended += 1
        return f"[{self.ended:>{len(str(self.executions))}}/{self.executions}]"


def run_all(paths: Sequence[Path], dataset: str) -> None:
    """Execute the notebooks in place, see `at_once` and `Progress`.

    Raises
    ------
    ChapterError
        Of the first that fails; it stops the others.
    """
    workers = workers_for(paths)
    progress = Progress(paths, workers)
    environment = os.environ | (ONE_THREAD if workers > 1 else {})
    jobs = {path.stem: partial(progress.follow, path, dataset, environment) for path in longest_first(paths)}
    at_once(jobs, workers)


def workers_for(paths: Sequence[Path]) -> int:
    """How many chapters to execute at a time."""
    return max(1, min(cores(), len(paths)))


def longest_first(paths: Sequence[Path]) -> list[Path]:
    """The chapters in the order in which all are done soonest, by what their stored outputs took."""
    return sorted(paths, key=lambda path: -read(path).metadata.get("wavescore", {}).get("seconds", 0.0))


def at_once(
    jobs: Mapping[str, Callable[[], Coroutine[None, None, None]]],
    workers: int,
    after: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Run jobs in their order, `workers` at a time; the first error, or an interrupt, cancels the others.

    Parameters
    ----------
    jobs : mapping of str to callable
        Each gives a coroutine.
    workers : int
    after : mapping of str to collection of str, optional
        Which others a job waits for, if these are among the jobs.

    Raises
    ------
    graphlib.CycleError
        If jobs wait for each other.
    """
    waits = {name: [other for other in (after or {}).get(name, ()) if other in jobs] for name in jobs}
    TopologicalSorter(waits).prepare()
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(_all(jobs, workers, waits))


async def _all(
    jobs: Mapping[str, Callable[[], Coroutine[None, None, None]]], workers: int, waits: Mapping[str, Sequence[str]]
) -> None:
    free = asyncio.Semaphore(workers)
    done = {name: asyncio.Event() for name in jobs}

    async def one(name: str) -> None:
        for other in waits[name]:
            await done[other].wait()
        async with free:
            await jobs[name]()
        done[name].set()

    try:
        async with asyncio.TaskGroup() as group:
            for name in jobs:
                group.create_task(one(name))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that leaves signals to asyncio: nbclient would have each notebook take them from the others."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Refuse, in the way that nbclient expects outside the main thread."""
        raise RuntimeError("signals are not handled by this loop")
