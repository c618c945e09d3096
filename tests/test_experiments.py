"""Trials, their tables, and `wavescore reproduce` as its user runs it."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import wavescore_lite as ws
from wavescore_lite.cli import app
from wavescore_lite.couplings import FAMILIES, Coupling
from wavescore_lite.denoisers import BASELINES
from wavescore_lite.networks import Network, save_network
from wavescore_lite.noise import FITTING, SCORING, standard_normal
from wavescore_lite.study import Analytic, Baseline, Trained, candidates, experiments, plan
from wavescore_lite.study.candidates import FRESH, HELD_OUT, LEVELS, OWN, SIGMAS
from wavescore_lite.study.experiments import compared, measure, pairs_path, run
from wavescore_lite.study.plan import figures
from wavescore_lite.study.tables import header, read_table
from wavescore_lite.study.trials import Trial, columns, rivals, trial_of
from wavescore_lite.support.locks import locked
from wavescore_lite.support.storage import read_rows, write_rows


def mirrored(degree=3, across=False, step=0):
    """A family of a test's own: each coefficient alone, with options that it does not use."""
    options = {"degree": degree, "across": across, "step": step}
    return Coupling(f"mirrored({degree}, {across}, {step})", ws.independent(degree).build, "mirrored", options)


COMMON = Trial("strokes", 8, 60, 20, Baseline("mean image"))
WIENER = replace(COMMON, denoiser=Baseline("Wiener"))
SQUARES = replace(COMMON, denoiser=Analytic(ws.independent(2)))


def timeless(path):
    return [row | {"seconds": ""} for row in read_rows(path)]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_goes_on_where_it_stopped(tmp_path, monkeypatch):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, path = (tmp_path / name / "table.csv" for name in ("whole", "parts"))
    run([COMMON, WIENER, SQUARES], whole)
    run([COMMON, WIENER], path)
    measured = []
    monkeypatch.setattr(experiments, "measure", lambda trial: measured.append(trial) or measure(trial))
    run([COMMON, WIENER, SQUARES], path)
    assert measured == [SQUARES]
    assert timeless(path) == timeless(whole)
    assert read_rows(pairs_path(path)) == read_rows(pairs_path(whole))
    own = [(row["evaluation"], float(row["sigma"])) for row in read_rows(path) if trial_of(row) == SQUARES]
    assert own == [(evaluation, sigma) for evaluation in (HELD_OUT, FRESH) for sigma in LEVELS]


def test_stopped_in_the_middle_leaves_whole_trials(tmp_path, monkeypatch):
    def stop(trial):
        if trial == SQUARES:
            raise KeyboardInterrupt
        return measure(trial)

    monkeypatch.setattr(experiments, "measure", stop)
    with pytest.raises(KeyboardInterrupt):
        run([COMMON, SQUARES], tmp_path / "table.csv")
    assert [trial_of(row) for row in read_rows(tmp_path / "table.csv")] == [COMMON] * len(LEVELS)
    assert names_in(tmp_path) == ["errors", "table.csv"]


def test_pairs_are_paired_by_hand():
    """The share that is saved and its standard error, from estimates made here."""
    rows, errors = measure(SQUARES, [0.5], [HELD_OUT])
    others = measure(WIENER, [0.5, 1.0]).errors
    (pair,) = compared(SQUARES, "Wiener", WIENER, errors, others)
    images = ws.load_images("strokes", 8, "test", 20)
    noisy = images + 0.5 * standard_normal(0, 20, (8, 8), seed=0)
    mse = [
        (model.denoise(noisy, 0.5).clamp(0, 1) - images).double().square().mean(dim=(1, 2)).numpy()
        for model in (SQUARES.fitted().model, WIENER.fitted().model)
    ]
    ratio = mse[0].mean() / mse[1].mean()
    residuals = (ratio * mse[1] - mse[0]) / mse[1].mean()
    assert_allclose(float(pair["saved"]), 1 - ratio, atol=1e-6)
    assert_allclose(float(pair["standard_error"]), residuals.std(ddof=1) / 20**0.5, atol=1e-6)
    assert_allclose(float(rows[0]["mse"]), mse[0].mean(), rtol=1e-5)
    assert (pair["denoiser"], pair["rival"], pair["sigma"]) == ("independent D=2 per-wavelet", "Wiener", 0.5)


def test_rows_split_the_error_over_subbands():
    (row,) = measure(SQUARES, [0.5], [HELD_OUT]).rows
    images = ws.load_images("strokes", 8, "test", 20)
    estimates = SQUARES.fitted().model.denoise(images + 0.5 * standard_normal(0, 20, (8, 8), seed=0), 0.5)
    basis = ws.WaveletBasis(8)
    differences = basis.analyze(estimates.clamp(0, 1).double()) - basis.analyze(images.double())
    for band in basis.subbands:
        expected = differences[:, band.slice].square().sum() / 20 / 64
        assert_allclose(float(row[f"mse_{band.orientation}{band.side}"]), expected, rtol=1e-4)


@pytest.mark.parametrize("fit", ["per-wavelet", "joint"])
def test_each_noise_level_is_solved_once(monkeypatch, fit):
    solved = []
    score, trial = candidates.FITS[fit], SQUARES.changed(fit=fit)
    solve = score._solve

    def note(self, equations, ridge, **options):
        first = equations[0] if fit == "per-wavelet" else equations
        solved.append(first.sigma)
        return solve(self, equations, ridge, **options)

    monkeypatch.setattr(score, "_solve", note)
    measure(trial)
    assert sorted(solved) == sorted(trial.sigmas) == list(LEVELS)


def test_goes_on_past_a_trial_that_is_refused_and_says_so(tmp_path):
    joint = SQUARES.changed(fit="joint", draws=1)
    with pytest.raises(ValueError, match=r"1 trials were refused:\n.*D=2 joint 1-draw: too few images: 60 noisy"):
        run((joint, COMMON, SQUARES), tmp_path / "table.csv")
    assert {trial_of(row) for row in read_rows(tmp_path / "table.csv")} == {COMMON, SQUARES}


def test_evaluations_differ_in_images_and_noise_alone():
    """The model of a trial, its errors taken by hand on each set of images and stream of noise."""
    trial = Trial("strokes", 16, 400, 90, Analytic(ws.independent(3), draws=1))
    rows = {row["evaluation"]: row for row in measure(trial, [2.0]).rows}
    model = trial.fitted([2.0]).model
    for evaluation, split, stream in ((HELD_OUT, "test", SCORING), (FRESH, "train", SCORING), (OWN, "train", FITTING)):
        images = ws.load_images("strokes", 16, split, 90)
        noisy = images + 2 * standard_normal(0, 90, (16, 16), seed=0, stream=stream)
        errors = (model.denoise(noisy, 2.0).clamp(0, 1) - images).square().mean(dim=(1, 2))
        assert_allclose(float(rows[evaluation]["mse"]), errors.mean(), rtol=1e-5)
        assert_allclose(float(rows[evaluation]["standard_error"]), errors.std() / 90**0.5, rtol=1e-4)
    assert float(rows[OWN]["mse"]) < float(rows[FRESH]["mse"])


def test_names_are_unique_and_rivals_differ_in_what_they_say():
    planned = {trial for size in (32, 64) for part in figures("mnist", size).values() for trial in part}
    for size in (32, 64):
        here = [trial for trial in planned if trial.size == size]
        assert len({trial.name for trial in here}) == len(here)
    fields = {
        "degree": {"degree"},
        "coupling": {"family", "radius", "extensions"},
        "extension": {"extensions", "radius"},
        "lines": {"degree", "extensions"},
        "polynomials": {"polynomials"},
        "fit": {"fit"},
        "draws": {"draws"},
    }
    for trial in planned:
        for key, rival in rivals(trial).items():
            assert rival != trial
            differing = {name for name, value in columns(trial).items() if value != columns(rival)[name]}
            assert key not in fields or differing <= fields[key]
            assert (rival.dataset, rival.size, rival.train, rival.test) == (
                trial.dataset, trial.size, trial.train, trial.test,
            )  # fmt: skip


class TestNetworks:
    """A trained network as a trial, in a folder of its own."""

    @pytest.fixture
    def weights(self, tmp_path, monkeypatch):
        folder = tmp_path / "weights"
        folder.mkdir()
        for module, name in ((plan, "trained"), (candidates, "load_network")):
            monkeypatch.setattr(module, name, partial(getattr(module, name), folder=folder))
        monkeypatch.setattr(candidates, "training_log", lambda *_, **__: [{"seconds": "12.5"}])
        return folder

    def test_is_measured_with_its_weights(self, weights):
        network = Network("cnn", 8, 0.1, 0.3)
        line = save_network(network, weights, "strokes", "wavescore train cnn")
        (trial,) = figures("strokes", 8, 60, 20)["networks"]
        assert (trial.denoiser, trial.name) == (Trained("cnn", line["sha256"][:12]), "cnn")
        (row,) = measure(trial, [1.0]).rows
        expected = ws.denoising_mse(network, ws.load_images("strokes", 8, "test", 20), 1.0)
        assert_allclose(float(row["mse"]), expected, rtol=1e-5)
        assert (row["seconds"], row["parameters"]) == ("12.5", network.num_parameters)

    def test_other_weights_are_measured_anew(self, weights, tmp_path):
        path = tmp_path / "table.csv"
        for mean in (0.1, 0.2):
            save_network(Network("cnn", 8, mean, 0.3), weights, "strokes", "")
            planned = figures("strokes", 8, 60, 20)
            run([*planned["baselines"], *planned["networks"]], path)
            rows = [row for row in read_rows(path) if row["family"] == "cnn"]
            assert {trial_of(row) for row in rows} == set(planned["networks"])
            wiener = {row["sigma"]: float(row["mse"]) for row in read_rows(path) if row["family"] == "Wiener"}
            cnn = [p for p in read_rows(pairs_path(path)) if p["denoiser"] == "cnn" and p["key"] == "Wiener"]
            assert len(cnn) == len(LEVELS)
            for pair, row in zip(cnn, rows, strict=True):
                assert_allclose(float(pair["saved"]), 1 - float(row["mse"]) / wiener[row["sigma"]], atol=1e-4)

    def test_other_weights_alone_leave_no_old_pair(self, weights, tmp_path):
        """Networks only, twice, with a baseline in between that brings the first pair."""
        path = tmp_path / "table.csv"
        for mean in (0.1, 0.2, 0.3):
            save_network(Network("cnn", 8, mean, 0.3), weights, "strokes", "")
            networks = figures("strokes", 8, 60, 20)["networks"]
            run(networks, path)
            assert {trial_of(row) for row in read_rows(path)} >= set(networks)
            assert sum(row["family"] == "cnn" for row in read_rows(path)) == len(LEVELS)
            if mean == 0.2:
                run([WIENER], path)
        mse = {(row["family"], row["sigma"]): float(row["mse"]) for row in read_rows(path)}
        for pair in read_rows(pairs_path(path)):
            ratio = mse["cnn", pair["sigma"]] / mse["Wiener", pair["sigma"]]
            assert_allclose(float(pair["saved"]), 1 - ratio, atol=1e-4)

    def test_rivals_of_a_network(self):
        network = Trial("mnist", 32, 60_000, 10_000, Trained("cnn", "0123"))
        assert {key: rival.name for key, rival in rivals(network).items()} == {
            "Wiener": "Wiener",
            "posterior mean": "posterior mean",
            "independent per-wavelet": "independent D=3 per-wavelet",
            "independent joint": "independent D=3 joint",
            "local_coupled per-wavelet": "local_coupled D=3 r=1 per-wavelet",
            "local_coupled joint": "local_coupled D=3 r=1 joint",
        }


def _write_and_die(writer, countdown, after, *given):
    last = next(countdown, False)
    if not last or after:
        writer(*given)
    if last:
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [False, True])
def test_stopped_before_or_after_any_write_it_ends_the_same(tmp_path, monkeypatch, after):
    """Killed at the first write, resumed and killed at the second, and so on to the end."""
    (tmp_path / "whole").mkdir()
    whole = [COMMON, WIENER, SQUARES]
    run(whole, tmp_path / "whole" / "table.csv")
    path, writers = tmp_path / "table.csv", {name: getattr(experiments, name) for name in ("write", "write_rows")}
    for kill in range(1, 100):
        countdown = iter([False] * (kill - 1) + [True])
        for name, writer in writers.items():
            monkeypatch.setattr(experiments, name, partial(_write_and_die, writer, countdown, after))
        try:
            run(whole, path)
        except KeyboardInterrupt:
            rows = Counter(trial_of(row) for row in read_rows(path))
            assert all(count == len(t.evaluations) * len(t.sigmas) for t, count in rows.items())
            continue
        break
    assert kill > 3
    assert timeless(path) == timeless(tmp_path / "whole" / path.name)
    assert read_rows(pairs_path(path)) == read_rows(pairs_path(tmp_path / "whole" / path.name))


def alter(rows, name, place, **changes):
    """Rows with one of a trial changed: the `place`-th of it."""
    own = [row for row in rows if trial_of(row).name == name]
    return [row | changes if row is own[place] else row for row in rows]


ROWS = {
    "no number": lambda rows: alter(rows, "Wiener", 1, mse="nan"),
    "infinity": lambda rows: alter(rows, "Wiener", 0, mse="inf"),
    "negative": lambda rows: alter(rows, "Wiener", 2, mse="-0.01"),
    "no standard error": lambda rows: alter(rows, "Wiener", 2, standard_error=""),
    "negative standard error": lambda rows: alter(rows, "Wiener", 2, standard_error="-0.001"),
    "words": lambda rows: alter(rows, "Wiener", 3, psnr="much"),
    "another digit": lambda rows: [
        row | {"mse": f"{float(row['mse']) + 1e-4:.7f}"} if row["family"] == "Wiener" else row for row in rows
    ],
    "a share that is no number": lambda rows: alter(rows, "Wiener", 1, mse_h4="nan"),
    "missing": lambda rows: [row for row in rows if row["family"] != "Wiener" or row["sigma"] != "2.0"],
    "missing but for one": lambda rows: [row for row in rows if row["family"] != "Wiener" or row["sigma"] == "2.0"],
    "doubled": lambda rows: [*rows, next(row for row in rows if row["family"] == "Wiener")],
    "all doubled": lambda rows: [*rows, *(row for row in rows if row["family"] == "Wiener")],
    "another sigma": lambda rows: alter(rows, "Wiener", 0, sigma="1.5"),
    "another evaluation": lambda rows: alter(rows, "Wiener", 0, evaluation="training"),
    "another data set": lambda rows: alter(rows, "Wiener", 1, dataset="mnist"),
    "another size": lambda rows: alter(rows, "Wiener", 1, size="16"),
    "another number of images": lambda rows: alter(rows, "Wiener", 1, train="61"),
    "no number of images": lambda rows: alter(rows, "Wiener", 1, train="sixty"),
    "words where nothing is given": lambda rows: alter(rows, "Wiener", 1, draws="some"),
    "another count of parameters": lambda rows: alter(rows, "Wiener", 1, parameters="many"),
    "negative seconds": lambda rows: alter(rows, "Wiener", 1, seconds="-1"),
    "another resize": lambda rows: alter(rows, "Wiener", 1, resize="nearest"),
    "another version": lambda rows: alter(rows, "Wiener", 1, version="0.0.1"),
}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """A table, and the pairs and errors beside it."""
    path = tmp_path_factory.mktemp("whole") / "table.csv"
    run([COMMON, WIENER, SQUARES], path)
    return path


@pytest.fixture
def table(undamaged, tmp_path):
    shutil.copytree(undamaged.parent, tmp_path / "copy")
    return tmp_path / "copy" / "table.csv"


@pytest.fixture
def measured(monkeypatch):
    """The trials that are measured, in their order."""
    trials = []
    monkeypatch.setattr(experiments, "measure", lambda trial: trials.append(trial) or measure(trial))
    return trials


def by_content(rows):
    return sorted(tuple((row | {"seconds": ""}).items()) for row in rows)


def check_mended(table, undamaged):
    for path, whole in ((table, undamaged), (pairs_path(table), pairs_path(undamaged))):
        assert by_content(read_rows(path)) == by_content(read_rows(whole))
    assert not read_table(table).faults


@pytest.mark.parametrize("damage", ROWS.values(), ids=list(ROWS))
def test_a_trial_whose_rows_are_damaged_is_measured_again(table, undamaged, measured, damage):
    write_rows(table, damage(read_rows(table)))
    run([COMMON, WIENER, SQUARES], table)
    assert measured == [WIENER]
    check_mended(table, undamaged)


def test_a_table_that_ends_in_the_middle_is_completed(table, undamaged, measured):
    whole = table.read_bytes()
    start = whole.index(b"\n") + 1
    for kept in np.linspace(start, len(whole) - 2, 12).astype(int):
        table.write_bytes(whole[:kept])
        run([COMMON, WIENER, SQUARES], table)
        assert measured == [COMMON, WIENER, SQUARES][-len(measured) :]
        assert measured
        check_mended(table, undamaged)
        measured.clear()


def test_a_byte_order_mark_and_other_line_ends_change_nothing(table, undamaged, measured):
    for path in (table, pairs_path(table)):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    run([COMMON, WIENER, SQUARES], table)
    assert measured == []
    check_mended(table, undamaged)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda text: text.replace(b"standard_error", b"error", 1),
            "no table of trials: it lacks the columns standard_er",
        ),
        (lambda text: text.replace(b",", b";"), "it lacks the columns dataset"),
        (lambda text: b"\xff" + text, "table.csv is no table in UTF-8"),
        (
            lambda text: text.replace(b"Wiener", b"Weiner", 1),
            "a row that cannot be read: family is 'Weiner'; expected one",
        ),
    ],
)
def test_a_file_that_is_no_table_is_refused_and_kept(table, damage, words):
    damaged = damage(table.read_bytes())
    table.write_bytes(damaged)
    with pytest.raises(ValueError, match=words):
        run([COMMON, WIENER, SQUARES], table)
    assert table.read_bytes() == damaged


PAIRS = {
    "no number": lambda rows: [rows[0] | {"saved": "nan"}, *rows[1:]],
    "negative": lambda rows: [*rows[:-1], rows[-1] | {"standard_error": "-1"}],
    "missing": lambda rows: rows[1:],
    "doubled": lambda rows: [*rows, rows[0]],
    "another data set": lambda rows: [rows[0] | {"dataset": "mnist"}, *rows[1:]],
    "cut": lambda rows: [*rows[:-1], rows[-1] | {"saved": None}],
}


@pytest.mark.parametrize("damage", PAIRS.values(), ids=list(PAIRS))
def test_pairs_that_are_damaged_are_made_again(table, undamaged, measured, damage):
    write_rows(pairs_path(table), damage(read_rows(pairs_path(table))))
    run([COMMON], table)
    assert measured == []
    check_mended(table, undamaged)


def test_what_is_damaged_and_not_asked_for_stays(table, measured):
    damaged = alter(read_rows(table), "Wiener", 1, version="0.0.1")
    write_rows(table, damaged)
    run([COMMON, SQUARES], table)
    assert measured == []
    assert read_rows(table) == damaged


def test_rows_of_other_images_are_dropped_where_nothing_is_missing(table, undamaged, measured):
    write_rows(table, [*read_rows(table), read_rows(table)[0] | {"dataset": "mnist"}])
    run([COMMON, WIENER, SQUARES], table)
    assert measured == []
    check_mended(table, undamaged)


@pytest.mark.parametrize("damage", ["no number", "missing", "doubled", "another number of images"])
def test_a_damaged_table_is_not_read(table, damage):
    path = table.with_name("strokes-8.csv")
    write_rows(path, ROWS[damage](read_rows(table)))
    with pytest.raises(ValueError, match=r"strokes-8\.csv (is damaged.*: Wiener|has \(train, test\))"):
        ws.Results("strokes", 8, table.parent)
    table.rename(table.with_name("strokes-16.csv"))
    with pytest.raises(ValueError, match=r"has \(dataset, size\) = .*'strokes', 8.*; expected 'strokes' and 16 alone"):
        ws.Results("strokes", 16, table.parent)


def test_the_columns_are_those_that_are_measured():
    (row,) = measure(SQUARES, [0.5], [HELD_OUT]).rows
    assert list(row) == header(SQUARES)


def test_one_run_at_a_time(table, undamaged):
    before = table.read_bytes()
    with locked(table), pytest.raises(TimeoutError, match=f"another run is at work on {table}; wait until"):
        run([COMMON], table)
    assert table.read_bytes() == before
    run([COMMON], table)


def test_a_lock_ends_with_its_owner(tmp_path):
    code = (
        "import sys; from wavescore_lite.support.locks import locked\n"
        "with locked(sys.argv[1]):\n    print(flush=True)\n    input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "table.csv")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        owner.stdout.readline()
        with pytest.raises(TimeoutError), locked(tmp_path / "table.csv"):
            pass
        owner.kill()
        owner.wait()
        with locked(tmp_path / "table.csv"):
            pass


def test_what_killed_runs_left_is_removed(table):
    """Of this table alone: another, which lies in the same folder, may be written now."""
    folder = table.parent
    left = [folder / "table.csv.0.part", folder / "table-pairs.csv.0.part", folder / "errors" / "strokes-8-60.0.part"]
    others = [folder / "table-2.csv.0.part", folder / "errors" / "strokes-80-60.0.part"]
    for file in (*left, *others):
        file.touch()
    run([COMMON], table)
    assert [file.exists() for file in (*left, *others)] == [False] * 3 + [True] * 2


def test_what_is_measured_anew_is_paired_anew(tmp_path):
    path = tmp_path / "table.csv"
    run([COMMON, WIENER, SQUARES], path)
    whole, pairs = read_rows(path), read_rows(pairs_path(path))
    write_rows(path, [row for row in whole if trial_of(row) != SQUARES])
    write_rows(pairs_path(path), [pair | {"saved": "0.5"} for pair in pairs])
    run([COMMON, WIENER, SQUARES], path)
    wrong = [pair["denoiser"] for pair in read_rows(pairs_path(path)) if pair["saved"] == "0.5"]
    assert set(wrong) == {"mean image"}  # the pair that nothing was measured anew of


def test_what_has_a_rival_that_is_measured_anew_is_paired_anew(tmp_path):
    path = tmp_path / "table.csv"
    run([COMMON, WIENER], path)
    before = read_rows(pairs_path(path))
    write_rows(path, [row for row in read_rows(path) if trial_of(row) != WIENER])
    write_rows(pairs_path(path), [pair | {"saved": "0.5"} for pair in before])
    run([COMMON, WIENER], path)
    assert read_rows(pairs_path(path)) == before


def test_pairs_with_trials_of_other_calls(tmp_path):
    path = tmp_path / "table.csv"
    run([SQUARES], path)
    assert not pairs_path(path).exists()
    run([WIENER], path)
    assert {(p["denoiser"], p["key"]) for p in read_rows(pairs_path(path))} == {(SQUARES.name, "Wiener")}


def test_other_numbers_of_images_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    before = run([COMMON], path)
    for change in ({"train": 50}, {"test": 10}, {"size": 16}, {"dataset": "mnist"}):
        there = "table.csv is about 60 and 20 images of strokes at 8 x 8; expected one set of images, or another folder"
        with pytest.raises(ValueError, match=there):
            run([replace(COMMON, **change)], path)
    with pytest.raises(ValueError, match="expected one set of images"):
        run([COMMON, replace(COMMON, train=50)], path)
    assert read_rows(path) == before


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"PK"), lambda file: file.unlink()])
def test_damaged_errors_are_measured_again(tmp_path, damage):
    path = tmp_path / "table.csv"
    run([COMMON, WIENER], path)
    before = read_rows(pairs_path(path))
    assert {(p["denoiser"], p["key"], p["rival"]) for p in before} == {("mean image", "Wiener", "Wiener")}
    pairs_path(path).unlink()
    for file in (tmp_path / "errors").iterdir():
        damage(file)
    run([COMMON, WIENER], path)
    assert read_rows(pairs_path(path)) == before


def test_errors_of_another_trial_are_measured_again(tmp_path):
    """A sound file in the place of another one."""
    path = tmp_path / "table.csv"
    run([COMMON, WIENER], path)
    before = read_rows(pairs_path(path))
    pairs_path(path).unlink()
    one, other = sorted((tmp_path / "errors").glob("*.safetensors"))
    other.write_bytes(one.read_bytes())
    run([COMMON, WIENER], path)
    assert read_rows(pairs_path(path)) == before


def test_error_files_have_names_of_their_own():
    trials_of = [trial for size in (32, 64) for part in figures("mnist", size).values() for trial in part]
    trials_of += [SQUARES.changed(ridge=ridge) for ridge in (1e8, 1e-8)]
    paths = {experiments._errors_path(Path("table.csv"), trial) for trial in trials_of}
    assert len(paths) == len(set(trials_of))


def test_a_plan_on_few_images_has_no_fit_with_more_features_than_noisy_images():
    planned = figures("strokes", 16, 600, 40)
    drawn = {t.name for part in planned.values() for t in part if t.fit == "joint" and t.draws}
    expected = {(1, 1), (2, 1), (2, 2), (3, 2)}  # degree and draws: 257, 513, 769 features
    assert {name for name in drawn if "independent" in name} == {
        f"independent D={degree} joint {draws}-draw" for degree, draws in expected
    }


class TestReproduce:
    ARGUMENTS = ("reproduce", "--dataset", "strokes", "--size", "16", "--train", "300", "--test", "40")
    FIGURES = ("--figure", "baselines", "--figure", "hermite")

    def test_killed_three_times_it_ends_where_an_undisturbed_run_ends(self, tmp_path):
        for name in ("killed", "whole"):
            (tmp_path / name).mkdir()
        command = [sys.executable, "-c", "from wavescore_lite.cli import app; app()", *self.ARGUMENTS, *self.FIGURES]
        table = tmp_path / "killed" / "strokes-16.csv"
        pairs = pairs_path(table)
        for file, rows in ((table, 6), (table, 40), (pairs, 12)):  # how many are there when it is killed, at least
            process = subprocess.Popen(
                [*command, "--output", str(table.parent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while len(read_rows(file)) < rows:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
            process.wait()
        for name in ("killed", "whole"):
            subprocess.run([*command, "--output", str(tmp_path / name)], check=True, capture_output=True)
        assert timeless(table) == timeless(tmp_path / "whole" / table.name)
        assert read_rows(pairs) == read_rows(tmp_path / "whole" / pairs.name)
        assert names_in(table.parent) == ["errors", pairs.name, table.name]
        assert not list(table.parent.rglob("*.part"))

    def test_lists_without_measuring(self, tmp_path):
        result = CliRunner().invoke(app, [*self.ARGUMENTS, "--list", "--output", str(tmp_path)])
        assert result.exit_code == 0
        trials = 2 * (len(FAMILIES) + 1)  # two degrees of each family, and once more jointly
        assert f"hermite  {trials:3} trials, 0 of them" in result.output
        assert not list(tmp_path.iterdir())

    def test_says_what_is_damaged_and_measures_it_again(self, tmp_path):
        arguments, path = (
            [*self.ARGUMENTS, "--figure", "baselines", "--output", str(tmp_path)],
            tmp_path / "strokes-16.csv",
        )
        assert CliRunner().invoke(app, arguments).exit_code == 0
        whole = read_rows(path)
        write_rows(path, [*alter(whole, "Wiener", 1, mse="nan"), whole[0] | {"train": "some"}])
        for more, there in (
            (["--list"], f"{len(BASELINES)} trials, {len(BASELINES) - 1} of them"),
            ([], "is complete"),
        ):
            result = CliRunner().invoke(app, [*arguments, *more])
            assert result.exit_code == 0
            (line,) = [line for line in result.output.splitlines() if "is not whole" in line]
            assert line.startswith(
                f"{path} is not whole, and what is asked for is measured again: line {len(whole) + 2}:"
            )
            assert "Wiener: mse is 'nan'" in line
            assert there in result.output
        assert by_content(read_rows(path)) == by_content(whole)
        assert "is not whole" not in CliRunner().invoke(app, arguments).output

    def test_of_two_runs_at_once_one_measures(self, tmp_path):
        command = [sys.executable, "-c", "from wavescore_lite.cli import app; app()", *self.ARGUMENTS, *self.FIGURES]
        command += ["--output", str(tmp_path)]
        runs = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)
        ]
        said = {run.wait(): run.communicate()[0] for run in runs}
        path = tmp_path / "strokes-16.csv"
        if 1 in said:  # else the second began when the first had ended
            assert f"another run is at work on {path}; wait until it has ended, or choose another folder" in said[1]
        assert 0 in said
        table = read_table(path)
        assert not table.faults
        assert len(table.rows) == len(BASELINES) + 2 * len(FAMILIES) + 2

    def test_lists_what_is_left_out(self, tmp_path, monkeypatch):
        monkeypatch.setitem(plan.HIGHEST_JOINT, ("local_coupled", True), (2, 2))
        result = CliRunner().invoke(app, [*self.ARGUMENTS, "--list", "--output", str(tmp_path)])
        features = 1 + 3 * 256 + 3 * 4 * 256  # powers, and three products for each of four pairs a coefficient
        assert f"left out  local_coupled D=3 r=1 joint: P = {features:,}, 0 GiB" in result.output

    def test_does_not_blame_memory_where_nobody_set_a_degree(self, tmp_path, monkeypatch):
        monkeypatch.setitem(FAMILIES, "mirrored", mirrored)
        result = CliRunner().invoke(app, [*self.ARGUMENTS, "--list", "--output", str(tmp_path)])
        said = [line.split("left out  ")[1] for line in result.output.splitlines() if "left out  mirrored" in line]
        reason = "no degree is set for its family in HIGHEST_JOINT"
        assert said == [f"mirrored D={degree} joint: {reason}" for degree in (2, 3)]

    def test_a_table_with_a_family_that_is_gone_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setitem(FAMILIES, "mirrored", mirrored)
        path = tmp_path / "strokes-16.csv"
        trial = Trial("strokes", 16, 300, 40, Analytic(mirrored(1)))
        write_rows(path, [dict.fromkeys(header(trial), 1) | columns(trial)])
        monkeypatch.delitem(FAMILIES, "mirrored")
        result = CliRunner().invoke(app, [*self.ARGUMENTS, "--list", "--output", str(tmp_path)])
        assert result.exit_code == 1
        assert result.output.startswith(f"{path} has a row that cannot be read: family is 'mirrored'; expected one of")
        assert len(result.output.splitlines()) == 1

    @pytest.mark.parametrize(
        ("figure", "key"),
        [("5b", "band_tied"), ("band-tied", "band_tied"), ("local", "local_coupled"), ("baselines", "baselines")],
    )
    def test_takes_the_papers_panels_and_other_spellings(self, tmp_path, figure, key):
        arguments = [word if word != "16" else "32" for word in self.ARGUMENTS]
        result = CliRunner().invoke(app, [*arguments, "--figure", figure, "--list", "--output", str(tmp_path)])
        assert [line.split()[0] for line in result.output.splitlines() if " trials" in line] == [key]

    def test_a_new_family_and_a_new_baseline_are_one_entry_each(self, tmp_path, monkeypatch):
        """Registered and in no other place: planned, measured, written down, read back, compared with its rivals."""

        class Grey:
            def fit(self, images):
                return self

            def denoise(self, noisy, sigma):
                return torch.full_like(noisy, 0.5)

        monkeypatch.setitem(BASELINES, "grey", Grey)
        monkeypatch.setitem(FAMILIES, "mirrored", mirrored)
        figures_of_both = ("--figure", "baselines", "--figure", "mirrored")
        result = CliRunner().invoke(app, [*self.ARGUMENTS, *figures_of_both, "--output", str(tmp_path)])
        assert result.exit_code == 0, result.output
        table = ws.Results("strokes", 16, tmp_path)
        assert {"grey", "mirrored D=3 per-wavelet", "mirrored D=2 per-wavelet 1-draw"} <= set(table.trials)
        assert (
            table.mse("mirrored D=3 per-wavelet", [1])[0] < table.mse("mean image", [1])[0] < table.mse("grey", [1])[0]
        )
        assert table.saved("mirrored D=2 per-wavelet", "degree")[0].shape == (4,)
        for step in (0.25, False):
            again = replace(COMMON, denoiser=Analytic(mirrored(2, step=step)))
            row = {name: str(value) for name, value in columns(again).items()}
            assert columns(trial_of(row)) == columns(again)
        trial = replace(COMMON, denoiser=Analytic(mirrored(2, across=True, step=3)))
        assert trial.name == "mirrored D=2 across step=3 per-wavelet"
        assert trial_of({name: str(value) for name, value in columns(trial).items()}) == trial

    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("--figure", "5z", "figure is 5z; expected one of baselines,"),
            ("--figure", "5a", "figure is 5a; expected one of baselines,"),  # at 32 x 32 only
            ("--size", "33", "shape is (33, 33); expected a height and a width that 2^level divides"),
            ("--output", "nowhere", "output is nowhere; expected a folder"),
        ],
    )
    def test_refuses_by_name(self, tmp_path, option, value, words):
        result = CliRunner().invoke(app, [*self.ARGUMENTS, "--output", str(tmp_path), option, value])
        assert result.exit_code == 2
        assert words in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("size", [32, 64])
def test_plan_holds_each_family_fit_and_noise(size):
    planned = figures("mnist", size)
    for family, make in FAMILIES.items():
        exact, drawn = ({t.denoiser for t in planned[family] if t.draws == draws} for draws in (0, 1))
        assert exact >= {Analytic(make(degree)) for degree in (1, 2, 3)} | {Analytic(make(1), fit="joint")}
        assert Analytic(make(3), draws=1) in drawn
    assert [t.family for t in planned["baselines"]] == list(BASELINES)
    every = [trial for trials in planned.values() for trial in trials]
    assert all(t.size == size and t.train == 60_000 for t in every)
    for trial in every:
        assert trial.sigmas == (SIGMAS if trial.draws else LEVELS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Baseline("nope"), "baseline is 'nope'; expected one of 'mean image'"),
        (lambda: Trained("nope", "0123"), "design of a network is 'nope'; expected one of 'cnn'"),
        (lambda: SQUARES.changed(fit="nope"), "fit is 'nope'; expected one of 'per-wavelet', 'joint'"),
        (lambda: SQUARES.changed(polynomials="nope"), "polynomials is 'nope'; expected one of 'monomial', 'hermite'"),
        (lambda: Analytic(mirrored(2, step="long")), "step of mirrored.* is 'long'; expected a number or a boolean"),
        (lambda: Analytic(Coupling("flat", None, "mirrored", {})), "flat has no option degree; expected one"),
        (lambda: Analytic(Coupling("flat", None)), "family of a coupling is ''; expected one of 'independent'"),
        (lambda: SQUARES.changed(radius=2), "'independent' has no option radius; expected some of degree"),
    ],
)
def test_what_is_no_candidate_is_refused_by_name(make, message, monkeypatch):
    monkeypatch.setitem(FAMILIES, "mirrored", mirrored)
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_family_without_a_degree_is_not_planned(monkeypatch):
    monkeypatch.setitem(FAMILIES, "flat", lambda step=0: Coupling("flat", None, "flat", {"step": step}))
    with pytest.raises(TypeError, match="family 'flat' has no option degree; expected some of step"):
        figures("strokes", 16)


def test_no_name_is_in_two_registries():
    """A row of a table tells by its family alone what it is of."""
    names = [name for candidate in (Baseline, Analytic, Trained) for name in candidate.registry]
    assert len(set(names)) == len(names)


def test_sampled_and_extended_trials():
    trial = replace(COMMON, denoiser=Analytic(ws.local_coupled(2, 1, parent=True, shared=True), draws=2))
    assert trial.name == "local_coupled D=2 r=1 parent shared per-wavelet 2-draw"
    errors = [values.mean() for values in measure(trial, [1.0, 2.0], [HELD_OUT]).errors.values()]
    assert 0 < errors[0] < errors[1] < 0.2
    assert isinstance(errors[0], torch.Tensor)
    assert np.isfinite(errors).all()
