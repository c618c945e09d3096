"""The tables in results/ are what the code computes: made again here, and held against brute force."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import wavescore_lite as ws
from tests.brute_force import FAMILIES, SIGMAS, compare
from wavescore_lite.experiments import measure, pairs_path
from wavescore_lite.networks import trained
from wavescore_lite.storage import read_rows
from wavescore_lite.trials import COUPLINGS, DESIGNS, FITS, HELD_OUT, Trial, figures, rivals, trial_of

RESULTS = Path(__file__).parents[1] / "results"
TOLERANCE = 1e-3
TABLES = sorted(path for path in RESULTS.glob("*-??.csv"))
AGAIN = (  # of strokes at 32 x 32: one of each kind, none of them large
    "mean image",
    "Wiener",
    "independent D=3 per-wavelet",
    "independent D=2 joint",
    "independent D=3 shared per-wavelet",
    "independent D=3 hermite per-wavelet",
    "independent D=2 joint 1-draw",
    "band_tied D=3 per-wavelet",
    "band_tied D=2 parent per-wavelet",
    "local_coupled D=2 r=1 per-wavelet",
    "local_coupled D=2 r=1 per-wavelet 1-draw",
    "local_coupled D=1 r=1 pure_neighbours per-wavelet",
)


@pytest.fixture(params=TABLES, ids=lambda path: path.stem)
def table(request):
    return read_rows(request.param), read_rows(pairs_path(request.param))


def by_name(rows):
    return {(trial_of(row).name, row["evaluation"], float(row["sigma"])): row for row in rows}


def test_what_is_there():
    assert {"mnist-32", "strokes-32"} <= {path.stem for path in TABLES}


def test_table_is_complete(table):
    """Every trial of the plan, once on each set of images and at each noise level; nothing else."""
    rows, _ = table
    first = trial_of(rows[0])
    plan = figures(first.dataset, first.size, first.train, first.test)
    expected = {(t, e, s) for trials in plan.values() for t in trials for e in t.evaluations for s in t.sigmas}
    found = Counter((trial_of(row), row["evaluation"], float(row["sigma"])) for row in rows)
    assert set(found) == expected
    assert set(found.values()) == {1}


def test_columns_agree_with_one_another(table):
    """Parseval over the subbands, for every row; psnr is a mean of logarithms, which Jensen bounds."""
    for row in table[0]:
        shares = [float(value) for key, value in row.items() if key.startswith("mse_")]
        assert_allclose(sum(shares), float(row["mse"]), atol=2e-7)
        assert float(row["psnr"]) >= -10 * np.log10(float(row["mse"])) - 1e-3
        assert -1 < float(row["ssim"]) < 1


def test_pairs_are_complete_and_agree_with_the_table(table):
    rows, pairs = by_name(table[0]), table[1]
    trials = {trial_of(row) for row in table[0]}
    levels = Counter((p["denoiser"], p["key"], p["rival"], p["evaluation"]) for p in pairs)
    wanted = {(t.name, key, r.name): (t, r) for t in trials for key, r in rivals(t).items() if r in trials}
    assert {label[:3] for label in levels} == set(wanted)
    for (*label, evaluation), count in levels.items():
        trial, rival = wanted[tuple(label)]
        assert evaluation in trial.evaluations
        assert count == len(set(trial.sigmas) & set(rival.sigmas))
    for pair in pairs:
        ours, theirs = (rows[pair[who], pair["evaluation"], float(pair["sigma"])] for who in ("denoiser", "rival"))
        a, b = (float(row["mse"]) for row in (ours, theirs))
        assert_allclose(float(pair["saved"]), 1 - a / b, atol=2e-5 + 1e-6 * a / b)
        unpaired = float(ours["standard_error"]) + float(theirs["standard_error"])
        assert float(pair["standard_error"]) <= unpaired / b + 1e-5


def test_errors_stand_in_the_order_that_theory_asks_for(table):
    """One degree joint is Wiener; per wavelet all families agree there; Hermite and monomials span the same."""
    mse = {key: float(row["mse"]) for key, row in by_name(table[0]).items()}
    for name, evaluation, sigma in mse:
        same = {"band_tied D=1 per-wavelet": "independent D=1 per-wavelet"}
        same |= {f"{family} D=1{r} joint": "Wiener" for family, r in (("independent", ""), ("band_tied", ""))}
        same |= {f"independent D={d} hermite {fit}": f"independent D={d} {fit}" for d in (2, 3) for fit in FITS}
        if name in same:
            assert_allclose(mse[name, evaluation, sigma], mse[same[name], evaluation, sigma], rtol=2e-4)
        if name in ("independent D=2 joint", "independent D=3 joint"):
            assert mse[name, evaluation, sigma] < mse["Wiener", evaluation, sigma]


def made_again(name):
    rows = [row for row in read_rows(RESULTS / "strokes-32.csv") if trial_of(row).name == name]
    trial = trial_of(rows[0])
    sigmas = trial.sigmas if trial.draws else (0.5, 2.0)
    recorded = by_name(rows)
    for row in measure(trial, sigmas).rows:
        yield row, recorded[name, row["evaluation"], row["sigma"]]


@pytest.mark.parametrize("name", AGAIN)
def test_recorded_errors_are_made_again(name):
    for row, before in made_again(name):
        for column in ("mse", "psnr", "ssim"):
            assert_allclose(float(row[column]), float(before[column]), rtol=TOLERANCE, err_msg=column)
        assert_allclose(float(row["standard_error"]), float(before["standard_error"]), rtol=10 * TOLERANCE)
        for column in (c for c in row if c.startswith("mse_")):
            assert_allclose(float(row[column]), float(before[column]), rtol=5 * TOLERANCE, atol=1e-7, err_msg=column)
        assert str(row["parameters"]) == before["parameters"]


def test_networks_in_the_tables_are_those_of_the_package():
    for path in TABLES:
        rows = read_rows(path)
        first = trial_of(rows[0])
        expected = {(row["network"], row["sha256"][:12]) for row in trained(first.dataset, first.size)}
        assert {(row["family"], row["weights"]) for row in rows if row["family"] in DESIGNS} == expected


def test_brute_force_agrees_on_every_number():
    """Regression on many noisy copies gives the numbers of the package, on a subset of the images."""
    with open(RESULTS / "reference_check.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    cases = {(row["family"], int(row["degree"]), row["fit"], float(row["sigma"])) for row in rows}
    assert cases == {(f, d, fit, s) for f in FAMILIES for d in (1, 2, 3) for fit in FITS for s in SIGMAS}
    for row in rows:
        assert_allclose(float(row["brute_force_mse"]), float(row["mse"]), rtol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fit", ["per-wavelet", "joint"])
def test_brute_force_here_and_now(family, fit):
    row = compare("strokes", 8, family, 2, fit, sigma=2.0, train=1000, draws=40)
    assert abs(float(row["difference"])) < 2e-3


class TestResults:
    """What the chapters read the tables with."""

    def test_values_are_those_of_the_table(self):
        results = ws.Results("mnist", 32, RESULTS)
        rows = by_name(read_rows(RESULTS / "mnist-32.csv"))
        name = "local_coupled D=3 r=1 per-wavelet"
        assert results.trials[name] == Trial(
            "mnist", 32, 60_000, 10_000, "local_coupled", 3, 1, "", "monomial", "per-wavelet", 0, 1e-6
        )
        found = results.column(name, "ssim", [1, 0.25])
        assert_allclose(found, [float(rows[name, HELD_OUT, s]["ssim"]) for s in (1, 0.25)])
        assert_allclose(sum(results.subbands(name, 2).values()), results.mse(name, [2])[0], atol=1e-6)

    def test_signs_are_beyond_two_standard_errors(self):
        results = ws.Results("mnist", 32, RESULTS)
        for name, trial in results.trials.items():
            for key in rivals(trial):
                if (name, key, HELD_OUT, 1.0) not in results._pairs:
                    continue
                shares, errors = results.saved(name, key, [1, 4])
                expected = [(x > 2 * e) - (x < -2 * e) for x, e in zip(shares, errors, strict=True)]
                assert results.signs(name, key, [1, 4]).tolist() == expected

    def test_what_is_not_there_is_named(self):
        with pytest.raises(FileNotFoundError, match="wavescore reproduce --dataset mnist --size 16"):
            ws.Results("mnist", 16, RESULTS)
        results = ws.Results("mnist", 32, RESULTS)
        with pytest.raises(KeyError, match=r"no row \('Weiner', 'held-out', 1.0\); expected one of .*Wiener"):
            results.mse("Weiner")
        with pytest.raises(KeyError, match="no row"):
            results.saved("Wiener", "degree")


def test_families_of_brute_force_are_all():
    assert set(FAMILIES) == set(COUPLINGS)
