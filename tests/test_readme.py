"""The README's example runs, and its table is the one that the chapter recorded."""

import json
import re
from pathlib import Path

import pytest

import wavescore_lite as ws
from wavescore_lite.storage import read_rows

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
    ("row", "key"),
    [
        ("mean image", "mean image"),
        ("independent wavelets, degree 1", "independent, D = 1"),
        ("independent wavelets, degree 3", "independent, D = 3"),
        ("full linear (Wiener)", "full linear (Wiener)"),
    ],
)
def test_table_is_the_record(row, key):
    record = json.loads((ROOT / "book" / "records" / "independent.json").read_text(encoding="utf-8"))["mnist"]
    printed = re.search(rf"\| {re.escape(row)} \| (.*) \|", README).group(1).split(" | ")
    assert printed == [f"{record[f'{key}, sigma {sigma}']:.4f}" for sigma in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("row", "family", "fit"),
    [
        ("band-tied wavelets, degree 3", "band_tied", "per-wavelet"),
        ("local wavelets, radius 1, degree 3", "local_coupled", "per-wavelet"),
        ("joint, independent, degree 3", "independent", "joint"),
        ("joint, band-tied, degree 3", "band_tied", "joint"),
        ("joint, local, radius 1, degree 3", "local_coupled", "joint"),
    ],
)
def test_table_is_the_reference(row, family, fit):
    rows = read_rows(ROOT / "results" / "reference_mnist.csv")
    errors = [float(r["mse"]) for r in rows if (r["family"], r["degree"], r["fit"]) == (family, "3", fit)]
    printed = re.search(rf"\| {re.escape(row)} \| (.*) \|", README).group(1).split(" | ")
    assert printed == [f"{error:.4f}" for error in errors]
