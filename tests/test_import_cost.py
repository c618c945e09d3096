"""What an import brings with it, and what it costs beside torch, in fresh processes.

Modules are counted. Time is too, in CPU seconds, where a limit is several times what was measured: load changes it.
"""

import subprocess
import sys

import pytest

LIBRARY = "import wavescore_lite"
MODEL = "import wavescore_lite as ws; ws.WaveletScore, ws.JointScore, ws.Wiener, ws.sample, ws.load_images"
HELP = """
import sys
from wavescore_lite.cli import app
sys.argv = ["wavescore", "--help"]
try:
    app()
except SystemExit as end:
    assert not end.code
"""
REPEATS = 3

OF_COMMANDS = {"typer", "tabulate", "rich", "pandas"}
OF_THE_COURSE = {"IPython", "ipykernel", "nbclient", "nbformat", "nbgrader"}
OF_FIGURES_AND_FORMULAS = {"matplotlib", "sympy"}
OF_NUMBERS = {"torch", "numpy", "scipy", "pywt"}
OF_NETWORKS = {"torchvision", "safetensors", "PIL"}
SLOW_PARTS = {f"scipy.{name}" for name in ("stats", "signal", "optimize", "ndimage")}
OTHER_ROOMS = {
    f"wavescore_lite.{name}"
    for name in ("closed_form", "similarity", "metrics", "probes", "plots", "networks", "study", "benchmarks", "course")
}


def last_line(code):
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return result.stdout.splitlines()[-1]


def cpu_seconds(code):
    """The least of some runs, from the start of the interpreter on."""
    return min(float(last_line(f"{code}\nimport time; print(time.process_time())")) for _ in range(REPEATS))


@pytest.fixture(scope="module")
def torch_seconds():
    return cpu_seconds("import torch")


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (LIBRARY, OF_NUMBERS | OF_FIGURES_AND_FORMULAS | OF_COMMANDS | OF_THE_COURSE),
        (MODEL, OF_FIGURES_AND_FORMULAS | OF_COMMANDS | OF_THE_COURSE | OF_NETWORKS | SLOW_PARTS | OTHER_ROOMS),
        (HELP, OF_NUMBERS | OF_FIGURES_AND_FORMULAS | OF_THE_COURSE | {"tabulate", "pandas"}),
    ],
    ids=["library", "model", "help"],
)
def test_nothing_is_imported_before_it_is_used(code, unwanted):
    loaded = last_line(f"{code}\nimport sys; print(*sys.modules)").split()
    assert unwanted & set(loaded) == set()


def test_the_import_costs_little_beside_torch(torch_seconds):
    """A fiftieth of torch, when it was measured."""
    assert cpu_seconds(LIBRARY) < 0.2 * torch_seconds


def test_help_takes_half_a_second(torch_seconds):
    """Where torch is imported in a second; in proportion on slower machines. It took an eighth of a second."""
    assert cpu_seconds(HELP) < 0.5 * max(1.0, torch_seconds)
