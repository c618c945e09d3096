"""The tables in results/ are what the code computes: made again here, and held against brute force."""

import csv
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import wavescore_lite as ws
from tests.brute_force import FAMILIES, SIGMAS, compare
from wavescore_lite import experiments
from wavescore_lite.cli import app
from wavescore_lite.datasets import where
from wavescore_lite.experiments import FRESH, HELD_OUT, OWN, Trial, reference, trial_of
from wavescore_lite.noise import FITTING, SCORING, standard_normal
from wavescore_lite.storage import read_rows

RESULTS = Path(__file__).parents[1] / "results"
TOLERANCE = 5e-3
LARGE = {("band_tied", 3), ("local_coupled", 3)}  # joint fits that take minutes


def recorded(dataset):
    return read_rows(RESULTS / f"reference_{dataset}.csv")


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
    for row in trial.rows(evaluations=[experiments.HELD_OUT]):
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
        assert_allclose(float(row["brute_force_mse"]), float(row["mse"]), rtol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fit", ["per-wavelet", "joint"])
def test_brute_force_here_and_now(family, fit):
    row = compare("strokes", 8, family, 2, fit, sigma=2.0, train=1000, draws=40)
    assert abs(float(row["difference"])) < 2e-3


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
        assert timeless(resumed) == timeless(whole)
        assert [(row["evaluation"], row["sigma"]) for row in resumed] == [
            (evaluation, sigma) for evaluation in (HELD_OUT, HELD_OUT, FRESH) for sigma in ("1.0", "2.0", "3.0", "4.0")
        ]

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
        assert [trial_of(row) for row in read_rows(path)] == [self.TRIALS[0]] * 4
        assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]

    def test_sampled_and_extended_trials(self):
        trial = replace(self.TRIALS[1], draws=2, family="local_coupled", radius=1, extensions="parent shared")
        errors = [float(row["mse"]) for row in trial.rows([1.0, 2.0], [HELD_OUT])]
        assert 0 < errors[0] < errors[1] < 0.2

    def test_goes_on_past_a_trial_that_is_refused_and_says_so(self, tmp_path):
        joint = replace(self.TRIALS[1], fit="joint", draws=1)
        with pytest.raises(ValueError, match=r"1 trials were refused:\n.*too few images: 60 noisy copies for 129"):
            experiments.run((joint, *self.TRIALS), tmp_path / "table.csv")
        found = {trial_of(row) for row in read_rows(tmp_path / "table.csv")}
        assert found == set(self.TRIALS)

    def test_evaluations_differ_in_images_and_noise_alone(self):
        """The model of a trial, its errors taken by hand on each set of images and stream of noise."""
        trial = Trial("strokes", 16, 400, 90, "independent", 3, draws=1)
        rows = {row["evaluation"]: row for row in trial.rows([2.0])}
        model = trial.denoiser([2.0])
        for evaluation, split, stream in (
            (HELD_OUT, "test", SCORING),
            (FRESH, "train", SCORING),
            (OWN, "train", FITTING),
        ):
            images = ws.load_images("strokes", 16, split, 90)
            noisy = images + 2 * standard_normal(0, 90, (16, 16), seed=0, stream=stream)
            errors = (model.denoise(noisy, 2.0).clamp(0, 1) - images).square().mean(dim=(1, 2))
            assert_allclose(float(rows[evaluation]["mse"]), errors.mean(), rtol=1e-5)
            assert_allclose(float(rows[evaluation]["standard_error"]), errors.std() / 90**0.5, rtol=1e-4)
        assert float(rows[OWN]["mse"]) < float(rows[FRESH]["mse"])


def timeless(rows):
    return [row | {"seconds": ""} for row in rows]


class TestReproduce:
    """wavescore reproduce, as its user runs it."""

    ARGUMENTS = ("reproduce", "--dataset", "strokes", "--size", "16", "--train", "300", "--test", "40")
    FIGURES = ("--figure", "baselines", "--figure", "hermite")

    def test_killed_three_times_it_ends_where_an_undisturbed_run_ends(self, tmp_path):
        for name in ("killed", "whole"):
            (tmp_path / name).mkdir()
        command = [sys.executable, "-c", "from wavescore_lite.cli import app; app()", *self.ARGUMENTS, *self.FIGURES]
        table = tmp_path / "killed" / "strokes-16.csv"
        for trials in (1, 4, 8):  # how many are there when it is killed, at least
            process = subprocess.Popen(
                [*command, "--output", str(table.parent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while len({trial_of(row) for row in read_rows(table)}) < trials:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
            process.wait()
        for name in ("killed", "whole"):
            subprocess.run([*command, "--output", str(tmp_path / name)], check=True, capture_output=True)
        assert timeless(read_rows(table)) == timeless(read_rows(tmp_path / "whole" / table.name))
        assert [file.name for file in table.parent.iterdir()] == [table.name]

    def test_lists_without_measuring(self, tmp_path):
        result = CliRunner().invoke(app, [*self.ARGUMENTS, "--list", "--output", str(tmp_path)])
        assert result.exit_code == 0
        assert "hermite    8 trials, 0 of them" in result.output
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("--figure", "5z", "figure is 5z; expected one of baselines,"),
            ("--size", "33", "size is 33; expected a power of two"),
            ("--output", "nowhere", "output is nowhere; expected a folder"),
        ],
    )
    def test_refuses_by_name(self, tmp_path, option, value, words):
        result = CliRunner().invoke(app, [*self.ARGUMENTS, "--output", str(tmp_path), option, value])
        assert result.exit_code == 2
        assert words in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("size", [32, 64])
def test_plan_holds_each_family_fit_and_noise(size):
    plan = experiments.figures("mnist", size)
    for name, family in (("independent", "independent"), ("band-tied", "band_tied"), ("local", "local_coupled")):
        exact = {(t.fit, t.degree) for t in plan[name] if t.family == family and not t.draws}
        assert exact >= {("per-wavelet", degree) for degree in (1, 2, 3)}
        assert ("joint", 1) in exact
        assert {(t.fit, t.degree) for t in plan[name] if t.draws == 1} >= {("per-wavelet", 3)}
    assert {t.family for t in plan["baselines"]} == {"mean image", "Wiener", "posterior mean"}
    assert all(t.size == size and t.train == 60_000 for trials in plan.values() for t in trials)
