"""The README's example runs, and its table is the measured one."""

import re
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

import wavescore_lite as ws

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_example_runs(monkeypatch, capsys):
    load = ws.load_images
    monkeypatch.setattr(ws, "load_images", lambda name, **options: load("strokes", limit=300, **options))
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(example, names)
    independent, wiener = map(float, capsys.readouterr().out.split())
    assert 0 < wiener < independent < 0.1
    assert names["samples"].shape == (16, 32, 32)


@pytest.mark.parametrize(
    ("sentence", "dataset", "tolerance"),
    [
        (r"begin with (\S+) and (\S+) on MNIST, as in the table", "mnist", 5e-5),
        (r"with (\S+) and (\S+) on the\s+package's own digits", "strokes", 3e-4),  # two standard errors
    ],
)
def test_what_the_example_prints_is_what_was_measured(sentence, dataset, tolerance):
    results = ws.Results(dataset, 32, ROOT / "results")
    said = [float(number) for number in re.search(sentence, README).groups()]
    measured = [results.mse(name, [1.0]).item() for name in ("independent D=3 per-wavelet", "Wiener")]
    assert_allclose(said, measured, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("mean image", "mean image"),
        ("independent wavelets, degree 1", "independent D=1 per-wavelet"),
        ("independent wavelets, degree 3", "independent D=3 per-wavelet"),
        ("band-tied wavelets, degree 3", "band_tied D=3 per-wavelet"),
        ("local wavelets, radius 1, degree 3", "local_coupled D=3 r=1 per-wavelet"),
        ("full linear (Wiener)", "Wiener"),
        ("joint, independent, degree 3", "independent D=3 joint"),
        ("joint, band-tied, degree 3", "band_tied D=3 joint"),
        ("joint, local, radius 1, degree 3", "local_coupled D=3 r=1 joint"),
        ("exact posterior mean over the training images", "posterior mean"),
        ("trained CNN", "cnn"),
        ("trained U-Net, with attention", "unet-attention"),
    ],
)
def test_table_is_the_measured_one(row, name):
    results = ws.Results("mnist", 32, ROOT / "results")
    printed = re.search(rf"\| {re.escape(row)} \| (.*) \|", README).group(1).split(" | ")
    assert printed == [f"{error:.4f}" for error in results.mse(name)]
