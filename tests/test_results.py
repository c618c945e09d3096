"""The tables in results/ are what the code computes: made again here, and held against brute force."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from tests.brute_force import FAMILIES, SIGMAS, compare
from wavescore_lite import experiments
from wavescore_lite.datasets import where
from wavescore_lite.experiments import Trial, reference, trial_of

RESULTS = Path(__file__).parents[1] / "results"
TOLERANCE = 5e-3
LARGE = {("band_tied", 3), ("local_coupled", 3)}  # joint fits that take minutes


def recorded(dataset):
    return experiments.read(RESULTS / f"reference_{dataset}.csv")


@pytest.mark.parametrize("dataset", ["mnist", "strokes"])
def test_table_is_complete(dataset):
    """Every trial of the reference once at every noise level, and the errors in an order that theory asks for."""
    rows = recorded(dataset)
    expected = {(trial, sigma) for trial in reference(dataset) for sigma in experiments.SIGMAS}
    assert {(trial_of(row), float(row["sigma"])) for row in rows} == expected
    assert len(rows) == len(expected)
    error = {(r["family"], r["degree"], r["fit"], r["sigma"]): float(r["mse"]) for r in rows}
    for sigma in ("1.0", "2.0", "3.0", "4.0"):
        wiener = error["Wiener", "1", "per-wavelet", sigma]
        for family in FAMILIES:
            assert_allclose(error[family, "1", "joint", sigma], wiener, rtol=1e-4)
            assert error[family, "2", "joint", sigma] < wiener < error[family, "3", "per-wavelet", sigma]


def trials():
    for dataset in ("strokes", "mnist"):
        found = dataset == "strokes" or where()[0][2] == "found"
        mark = pytest.mark.skipif(not found, reason="needs real MNIST")
        for trial in reference(dataset):
            if trial.fit == "per-wavelet" or (trial.family, trial.degree) not in LARGE:
                yield pytest.param(trial, marks=mark, id=f"{dataset}-{trial.fit}-{trial.family}-{trial.degree}")


@pytest.mark.parametrize("trial", list(trials()))
def test_recorded_errors_are_made_again(trial):
    recorded_rows = {row["sigma"]: row for row in recorded(trial.dataset) if trial_of(row) == trial}
    for row in trial.rows():
        before = recorded_rows[str(row["sigma"])]
        assert_allclose(float(row["mse"]), float(before["mse"]), rtol=TOLERANCE)
        assert_allclose(float(row["standard_error"]), float(before["standard_error"]), rtol=10 * TOLERANCE)
        assert str(row["parameters"]) == before["parameters"]


def test_brute_force_agrees_on_every_number():
    """Regression on many noisy copies gives the numbers of the reference, on a subset of the images."""
    with open(RESULTS / "reference_check.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    cases = {(row["family"], int(row["degree"]), row["fit"], float(row["sigma"])) for row in rows}
    whole = {(f, d, fit, s) for f in FAMILIES for d in (1, 2, 3) for fit in experiments.FITS for s in SIGMAS}
    assert cases == whole
    for row in rows:
        assert_allclose(float(row["brute_force_mse"]), float(row["mse"]), rtol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fit", ["per-wavelet", "joint"])
def test_brute_force_here_and_now(family, fit):
    row = compare("strokes", 8, family, 2, fit, sigma=2.0, train=150, draws=100 if fit == "per-wavelet" else 800)
    assert abs(float(row["difference"])) < TOLERANCE


class TestRun:
    TRIALS = (Trial("strokes", 8, 60, 20, "mean image"), Trial("strokes", 8, 60, 20, "independent", 2))

    def test_goes_on_where_it_stopped(self, tmp_path, monkeypatch):
        whole = experiments.run(self.TRIALS, tmp_path / "whole.csv")
        path = tmp_path / "table.csv"
        experiments.run(self.TRIALS[:1], path)
        measured = []
        rows = Trial.rows
        monkeypatch.setattr(Trial, "rows", lambda trial: measured.append(trial) or rows(trial))
        resumed = experiments.run(self.TRIALS, path)
        assert measured == [self.TRIALS[1]]
        assert [row | {"seconds": ""} for row in resumed] == [row | {"seconds": ""} for row in whole]
        assert [row["sigma"] for row in resumed] == 2 * ["1.0", "2.0", "3.0", "4.0"]

    def test_stopped_in_the_middle_leaves_whole_trials(self, tmp_path, monkeypatch):
        path = tmp_path / "table.csv"
        rows = Trial.rows

        def stop(trial):
            if trial == self.TRIALS[1]:
                raise KeyboardInterrupt
            return rows(trial)

        monkeypatch.setattr(Trial, "rows", stop)
        with pytest.raises(KeyboardInterrupt):
            experiments.run(self.TRIALS, path)
        assert [trial_of(row) for row in experiments.read(path)] == [self.TRIALS[0]] * 4
        assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]

    def test_sampled_and_extended_trials(self):
        trial = replace(self.TRIALS[1], draws=2, family="local_coupled", radius=1, extensions="parent shared")
        errors = [float(row["mse"]) for row in trial.rows([1.0, 2.0])]
        assert 0 < errors[0] < errors[1] < 0.2
