"""What a type checker tells a reader of the package, through the lazy face."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy comes with the extra dev")

ROOT = Path(__file__).parents[1]
SCRIPT = """
import wavescore_lite as ws
from wavescore_lite import closed_form

images = ws.load_images("strokes", size=16, limit=100)
basis = ws.WaveletBasis(16, wavelet="db2")
model = ws.WaveletScore(basis, ws.independent(degree=3)).fit(images)
reveal_type(images)
reveal_type(basis.analyze(images))
reveal_type(model)
reveal_type(model.denoise(images, sigma=1.0))
reveal_type(ws.denoising_mse(model, images, sigma=1.0))
reveal_type(closed_form.compiled(3))
ws.denoising_mse(images, images, sigma=1.0)
ws.WaveletScoer
"""
REVEALED = [
    "torch._tensor.Tensor",
    "torch._tensor.Tensor",
    "wavescore_lite.scores.WaveletScore",
    "torch._tensor.Tensor",
    "float",
    "wavescore_lite.closed_form.evaluation.ClosedForm",
]
REFUSED = ["arg-type", "attr-defined"]


def test_a_users_script_is_typed(tmp_path):
    """Takes some 15 s where `make lint` has not run before: torch's types are read, and kept in the same cache."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = subprocess.run([sys.executable, "-m", "mypy", script], cwd=ROOT, capture_output=True, text=True)
    lines = [line for line in run.stdout.splitlines() if "script.py" in line]
    revealed = [line.split('"')[1] for line in lines if "Revealed type is" in line]
    refused = [line.rsplit("[", 1)[1].rstrip("]") for line in lines if ": error:" in line]
    assert revealed == REVEALED, run
    assert refused == REFUSED, run
