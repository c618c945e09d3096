"""The wheel holds the package and nothing else, and works where nothing of this checkout is."""

import csv
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tools.notebooks import ROOT

PACKAGE = ROOT / "wavescore_lite"
TREE = ("LICENSE", "README.md", "pyproject.toml", "assignments", "book", "results", "tests", "tools", PACKAGE.name)
LARGEST = 20 * 2**20  # bytes
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
README_LINES = """
import importlib, pkgutil, sys
import wavescore_lite as ws

for module in pkgutil.walk_packages(ws.__path__, "wavescore_lite."):
    importlib.import_module(module.name)
load = ws.load_images
ws.load_images = lambda name, **options: load("strokes", limit=300, **options)
exec(sys.argv[1])
assert samples.shape == (16, 32, 32)
ws.load_network("cnn", 32, "strokes").denoise(test, sigma=1.0)
print(ws.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: a build leaves files behind, and takes in what an older one left."""
    source, folder = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, source)
    subprocess.run(
        [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of programs of a new environment: of this one it sees the dependencies, and nothing of this checkout.

    A path in a .pth file is searched for packages; .pth files there, such as that of an editable install, are not read.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    paths = {"base": str(folder), "platbase": str(folder)}
    site_packages = Path(sysconfig.get_path("purelib", "venv", paths))
    seen = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(seen))
    subprocess.run(
        [*PIP, "--python", programs / "python", "install", "--no-deps", "--no-index", wheel],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return programs


@pytest.fixture
def call(installed, tmp_path):
    """Run a program of that environment in an empty folder, without MNIST, a cache or a network; what it prints."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "WAVESCORE_DATA")}
    environment = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "WAVESCORE_OFFLINE": "1"}

    def call(program, *arguments):
        command = [installed / program, *arguments]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return call


def test_it_holds_the_package_and_nothing_else(wheel):
    assert wheel.stat().st_size <= LARGEST
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        text = "".join(archive.read(name).decode() for name in names if not name.endswith(".safetensors"))
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".part"))
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
    assert {"wavescore_lite/py.typed", "wavescore_lite/__init__.pyi"} <= names
    tables = [PACKAGE / "networks" / folder / "table.csv" for folder in ("weights", "classifiers")]
    rows = [row for table in tables for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())]
    assert len(rows) == sum(name.endswith(".safetensors") for name in names) > 0
    assert "### BEGIN SOLUTION" not in text


def test_the_six_lines_of_the_readme_run(call, installed):
    [lines] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    errors, where = call("python", "-c", README_LINES, lines).splitlines()
    independent, wiener = map(float, errors.split())
    assert 0 < wiener < independent < 0.1
    assert Path(where).is_relative_to(installed.parent)


def test_the_demo_runs(call, tmp_path):
    said = call("wavescore", "demo", "--images", "500", "--size", "16")
    assert "strokes at 16 x 16: fitted on 500 training images" in " ".join(said.split())
    assert (tmp_path / "demo.png").is_file()


def test_the_program_knows_its_version(call, wheel):
    assert call("wavescore", "--version").split()[-1] == wheel.name.split("-")[1]
