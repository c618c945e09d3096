"""The tables in results/ are what the code computes: made again here, and held against brute force."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import wavescore_lite as ws
from tests.brute_force import FAMILIES, SIGMAS, compare, features_of
from wavescore_lite import couplings
from wavescore_lite.study import experiments
from wavescore_lite.study.candidates import FITS, HELD_OUT, Analytic
from wavescore_lite.study.experiments import measure, pairs_path, run
from wavescore_lite.study.plan import figures
from wavescore_lite.study.trials import Trial, columns, rivals, trial_of
from wavescore_lite.support.storage import read_rows, write_rows

RESULTS = Path(__file__).parents[1] / "results"
TOLERANCE = 1e-3
TABLES = sorted(path for path in RESULTS.glob("*-??.csv"))
AGAIN = (  # of strokes at 16 x 16: one of each kind
    "mean image",
    "Wiener",
    "independent D=3 per-wavelet",
    "independent D=2 joint",
    "independent D=3 shared per-wavelet",
    "independent D=3 hermite per-wavelet",
    "independent D=2 joint 1-draw",
    "band_tied D=3 per-wavelet",
    "band_tied D=3 parent per-wavelet",
    "local_coupled D=2 r=1 per-wavelet",
    "local_coupled D=2 r=1 per-wavelet 1-draw",
    "local_coupled D=1 r=1 pure_neighbours per-wavelet",
    "local_coupled D=3 r=1 joint",
    "band_tied D=3 joint 1-draw",
    "posterior mean",
)


@pytest.fixture(params=TABLES, ids=lambda path: path.stem)
def table(request):
    return read_rows(request.param), read_rows(pairs_path(request.param))


def by_name(rows):
    return {(trial_of(row).name, row["evaluation"], float(row["sigma"])): row for row in rows}


def check_complete(table):
    """Fail with the trials of the plan that a committed table lacks, and the command that adds them."""
    there, first = {trial_of(row) for row in table}, trial_of(table[0])
    plan = figures(first.dataset, first.size, first.train, first.test)
    missing = {key: [t.name for t in plan[key] if t not in there] for key in plan}
    names = [name for some in missing.values() for name in some]
    if names:
        images = f"--dataset {first.dataset} --size {first.size} --train {first.train} --test {first.test}"
        chosen = " ".join(f"--figure {key}" for key, some in missing.items() if some)
        pytest.fail(f"the table lacks {', '.join(names)}: run `wavescore reproduce {images} {chosen}`", pytrace=False)


def test_what_is_there():
    assert {"mnist-32", "mnist-64", "strokes-16", "strokes-32", "strokes-64"} == {path.stem for path in TABLES}


def test_table_is_complete(table):
    """Every trial of the plan, once on each set of images and at each noise level; nothing else."""
    rows, _ = table
    check_complete(rows)
    first = trial_of(rows[0])
    plan = figures(first.dataset, first.size, first.train, first.test)
    trials = {trial for trials in plan.values() for trial in trials}
    expected = {(t, e, s) for t in trials for e in t.evaluations for s in t.sigmas}
    found = Counter((trial_of(row), row["evaluation"], float(row["sigma"])) for row in rows)
    assert set(found) == expected
    assert set(found.values()) == {1}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_committed_table_counts_as_measured(path, tmp_path, monkeypatch):
    """`reproduce` finds nothing to mend in it or in its pairs."""
    monkeypatch.setattr(experiments, "measure", lambda trial: pytest.fail(f"measures {trial.name}"))
    for file in (path, pairs_path(path)):
        shutil.copy(file, tmp_path)
    run([trial_of(row) for row in read_rows(path)], tmp_path / path.name)
    for file in (path, pairs_path(path)):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_rows_are_trials_and_trials_are_rows(table):
    """From columns to values and back, to the letter; the plan has the same trials, in some order."""
    rows, _ = table
    check_complete(rows)
    trials = list(dict.fromkeys(trial_of(row) for row in rows))
    for row in rows:
        made = {name: str(value) for name, value in columns(trial_of(row)).items()}
        assert list(row.items())[: len(made)] == list(made.items())
    first = trials[0]
    planned = [t for part in figures(first.dataset, first.size, first.train, first.test).values() for t in part]
    assert sorted(t.name for t in planned) == sorted(t.name for t in trials)


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
    found = Counter((p["denoiser"], p["key"], p["rival"], p["evaluation"], float(p["sigma"])) for p in pairs)
    wanted = [
        (t.name, key, r.name, evaluation, sigma)
        for t in trials
        for key, r in rivals(t).items()
        if r in trials
        for evaluation in set(t.evaluations) & set(r.evaluations)
        for sigma in set(t.sigmas) & set(r.sigmas)
    ]
    assert found == Counter(wanted)
    for pair in pairs:
        ours, theirs = (rows[pair[who], pair["evaluation"], float(pair["sigma"])] for who in ("denoiser", "rival"))
        a, b = (float(row["mse"]) for row in (ours, theirs))
        rounding = 0.6e-7 * (1 + a / b) / b  # of the two errors, which have seven decimals
        assert_allclose(float(pair["saved"]), 1 - a / b, atol=rounding + 1e-6)
        own, other = float(ours["standard_error"]) / b, float(theirs["standard_error"]) / b * a / b
        assert abs(own - other) - 1e-5 <= float(pair["standard_error"]) <= own + other + 1e-5


def test_errors_stand_in_the_order_that_theory_asks_for(table):
    """One degree joint is Wiener; per wavelet all families agree there; Hermite and monomials span the same.

    With many images, squares help on other images too.
    """
    mse, first_row = {key: float(row["mse"]) for key, row in by_name(table[0]).items()}, table[0][0]
    first = ("independent D=1", "band_tied D=1", "local_coupled D=1 r=1")
    same = {f"{name} joint": ("Wiener", 2e-5) for name in first}
    same |= {f"{name} per-wavelet": (f"{first[0]} per-wavelet", 2e-5) for name in first[1:]}
    same |= {f"independent D={d} hermite {fit}": (f"independent D={d} {fit}", 2e-4) for d in (2, 3) for fit in FITS}
    assert set(same) <= {name for name, _, _ in mse}
    for name, evaluation, sigma in mse:
        if name in same:
            other, tolerance = same[name]
            assert_allclose(mse[name, evaluation, sigma], mse[other, evaluation, sigma], rtol=tolerance)
        if first_row["train"] == "60000" and name in ("independent D=2 joint", "independent D=3 joint"):
            assert mse[name, evaluation, sigma] < mse["Wiener", evaluation, sigma]


def made_again(name):
    rows = [row for row in read_rows(RESULTS / "strokes-16.csv") if trial_of(row).name == name]
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


def test_brute_force_agrees_on_every_number():
    """Regression on many noisy copies gives the numbers of the package, on a subset of the images."""
    with open(RESULTS / "reference_check.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if missing := set(FAMILIES) - {row["family"] for row in rows}:
        pytest.fail(f"the table lacks {', '.join(missing)}: run `python -m tests.brute_force`", pytrace=False)
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
        assert results.trials[name] == Trial("mnist", 32, 60_000, 10_000, Analytic(ws.local_coupled(3, radius=1)))
        found = results.column(name, "ssim", [1, 0.25])
        assert_allclose(found, [float(rows[name, HELD_OUT, s]["ssim"]) for s in (1, 0.25)])
        assert_allclose(sum(results.subbands(name, 2).values()), results.mse(name, [2])[0], atol=1e-6)

    def test_savings_and_their_signs_are_those_of_the_pairs(self):
        results, signs = ws.Results("mnist", 32, RESULTS), Counter()
        for pair in read_rows(RESULTS / "mnist-32-pairs.csv"):
            where = (pair["denoiser"], pair["key"], [float(pair["sigma"])], pair["evaluation"])
            share, error = float(pair["saved"]), float(pair["standard_error"])
            assert [x.item() for x in results.saved(*where)] == [share, error]
            expected = (share > 2 * error) - (share < -2 * error)
            assert results.signs(*where).item() == expected
            signs[expected] += 1
        assert min(signs[sign] for sign in (-1, 0, 1)) > 10

    def test_what_is_not_there_is_named(self):
        with pytest.raises(FileNotFoundError, match="wavescore reproduce --dataset mnist --size 16"):
            ws.Results("mnist", 16, RESULTS)
        results = ws.Results("mnist", 32, RESULTS)
        with pytest.raises(KeyError, match=r"no row \('Weiner', 'held-out', 1.0\); expected one of .*Wiener"):
            results.mse("Weiner")
        with pytest.raises(KeyError, match="no row"):
            results.saved("Wiener", "degree")

    def test_tables_of_several_numbers_of_images_are_refused(self, tmp_path):
        rows = read_rows(RESULTS / "mnist-32.csv")[:2]
        write_rows(tmp_path / "mnist-32.csv", [rows[0], rows[1] | {"test": "50"}])
        with pytest.raises(ValueError, match=r"has \(train, test\) = .*50.*; expected one number of images"):
            ws.Results("mnist", 32, tmp_path)


def test_families_of_brute_force_are_all():
    if missing := set(couplings.FAMILIES) - set(FAMILIES):
        todo = "list the features in tests/brute_force.py, then run `python -m tests.brute_force`"
        pytest.fail(f"{', '.join(missing)}: {todo}", pytrace=False)
    assert set(FAMILIES) == set(couplings.FAMILIES)


def test_brute_force_refuses_a_family_that_it_does_not_know():
    with pytest.raises(ValueError, match="family is 'tied'; expected one of independent, band_tied, local_coupled"):
        features_of(ws.WaveletBasis(8), 0, "tied", 2)


def test_what_a_table_lacks_is_named_with_the_command_that_adds_it():
    rows = read_rows(RESULTS / "strokes-16.csv")
    where = "--dataset strokes --size 16 --train 4000 --test 1000 --figure baselines"
    with pytest.raises(pytest.fail.Exception, match=rf"the table lacks Wiener.*: run `wavescore reproduce {where}"):
        check_complete([row for row in rows if row["family"] != "Wiener"])
