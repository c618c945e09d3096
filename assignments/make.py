"""Make the student release: ``python -m assignments.make`` writes a notebook and a zip file for each problem set.

A zip file holds the notebook, the package to install and a text on both, and nothing of the repository besides: the
masters with their solutions stay here.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory

HERE = Path(__file__).resolve().parent
SOURCE, RELEASE = HERE / "source", HERE / "release"
PACKAGE = ("wavescore_lite", "pyproject.toml", "README.md", "LICENSE")  # what a wheel is built from
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same masters and package make the same zip files
EPOCH_SECONDS = "315532800"
README = """{name} of wavescore

You need Python 3.11 or newer. In this folder, make an environment, and install into it the package that comes along,
and JupyterLab; then open the notebook:

    python3 -m venv .venv
    .venv/bin/python -m pip install ./{wheel} jupyterlab
    .venv/bin/jupyter lab {name}.ipynb

On Windows write .venv\\Scripts\\ for .venv/bin/, and py for python3. On Linux, PyTorch for CPUs saves a download of
gigabytes: begin the second line with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
The same environment does for all problem sets. No data is needed: the package draws its own.

Write where it says YOUR CODE HERE or YOUR ANSWER HERE. A test that is satisfied says "passed"; a warning costs its
points, as an error does. Before you hand in, restart the kernel and run all cells.
Hand in {name}.ipynb under this name.
"""


class ReleaseError(RuntimeError):
    """The release cannot be made; the message says why, with the log of what failed."""


def make(source: Path, release: Path) -> list[Path]:
    """Write ``NAME/NAME.ipynb`` and ``NAME.zip`` of every master in `source`, and the package, in place of older ones.

    Returns
    -------
    list of Path
        The zip files.

    Raises
    ------
    ReleaseError
        If nbgrader refuses a master, the package cannot be built, or nothing can be written to `release`, which is then
        left as it was.
    """
    _check_writable(release)
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
        wheel = build_wheel(course / "release")
        for name in names:
            _zip(course / "release" / name, wheel, course / "release" / f"{name}.zip")
        for older in (*(release / name for name in names), *release.glob("*.whl")):
            shutil.rmtree(older) if older.is_dir() else older.unlink(missing_ok=True)
        shutil.copytree(course / "release", release, dirs_exist_ok=True)
    return [release / f"{name}.zip" for name in names]


def build_wheel(folder: Path) -> Path:
    """Build the package for students into a folder, offline, and from a copy: a build leaves files where it works.

    Returns
    -------
    Path
        The wheel.

    Raises
    ------
    ReleaseError
        With pip's log, if it cannot be built.
    """
    with tempfile.TemporaryDirectory() as copy:
        unwanted = shutil.ignore_patterns("__pycache__", "*.part", ".*")
        for name in PACKAGE:
            if (HERE.parent / name).is_dir():
                shutil.copytree(HERE.parent / name, Path(copy, name), ignore=unwanted)
            else:
                shutil.copyfile(HERE.parent / name, Path(copy, name))
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"]
        offline = ["--no-deps", "--no-index", "--no-build-isolation"]
        environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH_SECONDS}
        command = [*pip, *offline, "--wheel-dir", str(folder), copy]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise ReleaseError(f"the package could not be built:\n{result.stdout}\n{result.stderr}")
    [wheel] = folder.glob("*.whl")
    return wheel


def _check_writable(folder: Path) -> None:
    """Raise a ReleaseError if no file can be made in a folder, before the work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise ReleaseError(
            f"{folder} cannot be written to ({error.strerror}); name another folder by --output"
        ) from error


def _zip(folder: Path, wheel: Path, path: Path) -> None:
    """Pack a folder, the package and a README, under the name of the folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    contents = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    contents["README.txt"] = README.format(name=folder.name, wheel=wheel.name).encode()
    contents[wheel.name] = wheel.read_bytes()
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
        sys.exit(f"Nothing was released: {error}")
    for archive in archives:
        print(archive)


if __name__ == "__main__":
    main()
