"""Make the student release: ``python -m assignments.make`` writes a notebook and a zip file for each problem set."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory

HERE = Path(__file__).resolve().parent
SOURCE, RELEASE = HERE / "source", HERE / "release"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same masters make the same zip files
README = """{name} of wavescore

You need Python 3.11 or newer, and a copy of the repository of the book. In that copy, `make setup` makes an environment
.venv with the versions that the problem sets were tested with; or take an environment of your own:

    pip install "FOLDER[course]"     where FOLDER is that copy

Then open {name}.ipynb in Jupyter (`FOLDER/.venv/bin/jupyter lab`). No data is needed: the package draws its own.

Write where it says YOUR CODE HERE or YOUR ANSWER HERE. A warning in the output of a test costs its points, as an error
does. Before you hand in, restart the kernel and run all cells.
Hand in {name}.ipynb under this name.
"""


class ReleaseError(RuntimeError):
    """nbgrader refused a master; the message holds its log."""


def make(source: Path, release: Path) -> list[Path]:
    """Write ``NAME/NAME.ipynb`` and ``NAME.zip`` of every master in `source` to `release`, in place of older ones.

    Returns
    -------
    list of Path
        The zip files.

    Raises
    ------
    ReleaseError
        If nbgrader refuses a master; `release` is left as it was.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # for alembic
    logging.getLogger("alembic").setLevel(logging.WARNING)
    names = sorted(path.name for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder)
        shutil.copytree(source, course / "source", ignore=shutil.ignore_patterns(".*"))
        api = NbGraderAPI(CourseDirectory(root=folder))
        for name in names:
            result = api.generate_assignment(name)
            if not result["success"]:
                raise ReleaseError(f"nbgrader refused {name}:\n{result.get('log', '')}\n{result.get('error', '')}")
            _zip(course / "release" / name, course / "release" / f"{name}.zip")
        for name in names:
            shutil.rmtree(release / name, ignore_errors=True)
        shutil.copytree(course / "release", release, dirs_exist_ok=True)
    return [release / f"{name}.zip" for name in names]


def _zip(folder: Path, path: Path) -> None:
    """Pack a folder, and a README, under the name of the folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    contents = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    contents["README.txt"] = README.format(name=folder.name).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(f"{folder.name}/{name}", EPOCH), content, zipfile.ZIP_DEFLATED)


def main() -> None:
    """Make the release, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m assignments.make", description=__doc__)
    parser.add_argument("--output", type=Path, default=RELEASE, help="folder (default: assignments/release)")
    output = parser.parse_args().output
    try:
        archives = make(SOURCE, output)
    except ReleaseError as error:
        sys.exit(f"{error}\nNothing was released.")
    for archive in archives:
        print(archive)


if __name__ == "__main__":
    main()
