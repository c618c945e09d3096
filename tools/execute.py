"""Renew committed chapters, on MNIST and in place: ``python -m tools.execute`` those that are stale."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tools.imports import Package
from tools.inputs import records_read, why_stale
from tools.kernels import ONE_THREAD, ChapterError, Progress, at_once, longest_first, workers_for
from tools.notebooks import ROOT, chapters, read, stage
from wavescore_lite.support.storage import whole_file

ALL = "all"


def stale(paths: Sequence[Path]) -> dict[str, str]:
    """The chapters whose outputs are not those that they would give today, by name, each with the reason."""
    package = Package()
    reasons = {path.stem: why_stale(read(path), path, package) for path in paths}
    return {name: reason for name, reason in reasons.items() if reason}


def renew(paths: Sequence[Path], root: Path = ROOT) -> None:
    """Execute committed chapters on both datasets; outputs (of MNIST) and records are replaced when both ran.

    A chapter that reads the record of another one waits for it. Each has one thread, however many run, so that the last
    digits of a record do not depend on that.
    """
    workers = workers_for(paths)
    progress = Progress(paths, workers, runs=2)
    try:
        after = {path.stem: records_read(read(path), path) for path in paths}
    except SyntaxError as error:
        raise ChapterError(f"{error.filename} is not plain Python: {error.msg}; expected no magic commands") from error
    jobs = {path.stem: partial(_renew, path, root, progress) for path in longest_first(paths)}
    at_once(jobs, workers, after)


async def _renew(path: Path, root: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix="wavescore-") as scratch:
        staged = stage(Path(scratch) / "source", root)
        copy = staged / path.relative_to(root)
        record = copy.parent / "records" / f"{path.stem}.json"
        record.unlink(missing_ok=True)
        recording = {"WAVESCORE_RECORD": "1"} | ONE_THREAD
        await progress.follow(copy, "mnist", os.environ | recording)
        executed = copy.rename(Path(scratch) / path.name)
        shutil.copyfile(path, copy)
        await progress.follow(copy, "strokes", without_mnist() | recording)  # may read what was recorded on MNIST
        committed_record = path.parent / "records" / record.name
        if record.is_file():
            _replace(record, committed_record)
        else:
            committed_record.unlink(missing_ok=True)
        _replace(executed, path)


def without_mnist() -> dict[str, str]:
    """This process's environment, changed so that no MNIST is found and none is fetched."""
    environment = {key: value for key, value in os.environ.items() if key != "WAVESCORE_DATA"}
    return environment | {"XDG_CACHE_HOME": str(ROOT / "_build" / "cache"), "WAVESCORE_OFFLINE": "1"}


def _replace(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as file:
        file.write(source.read_bytes())


def main() -> None:
    """Say which chapters are stale and why, and renew those, or the ones named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.execute",
        description="Execute chapters on MNIST, in place, and record their numbers on MNIST and on strokes.",
    )
    known = {path.stem: path for path in chapters()}
    parser.add_argument(
        "chapters",
        nargs="*",
        metavar="CHAPTER",
        help=f"of: {', '.join(known)}; or {ALL}; default: those that are stale",
    )
    parser.add_argument("--list", action="store_true", help="only say which chapters are stale, and why")
    arguments = parser.parse_args()
    names = list(known) if ALL in arguments.chapters else arguments.chapters
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no such chapter: {', '.join(unknown)} (there are: {', '.join(known)})")
    found = _tell(known)
    if arguments.list or not (names or found):
        return
    require_mnist()
    try:
        if names:
            renew([known[name] for name in names])
            _tell(known)
        while not names and found:  # a new record makes those stale that read it
            renew([known[name] for name in found])
            found = _tell(known)
    except ChapterError as error:
        sys.exit(f"{error}\nThis chapter and its record are unchanged, and so are those that were stopped.")


def _tell(known: Mapping[str, Path]) -> dict[str, str]:
    """Print which chapters are stale, and why."""
    found = stale(list(known.values()))
    width = max(map(len, known))
    for name, reason in found.items():
        print(f"{name:<{width}}  {reason}")
    print(f"{len(found)} of {len(known)} chapters are stale", flush=True)
    return found


def require_mnist() -> None:
    """Stop here if the dataset at hand is not the one that committed outputs are made on."""
    import wavescore_lite as ws

    found = ws.resolve_dataset("auto")
    if found != "mnist":
        sys.exit(
            f"Committed outputs are made on MNIST, and the dataset found is {found!r}. "
            "Point WAVESCORE_DATA to the folder that holds MNIST/raw; `wavescore data` says where it looks."
        )


if __name__ == "__main__":
    main()
