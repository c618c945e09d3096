"""Samples as rows: what a table holds, that it goes on where it stopped, and what agreement means."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws
from wavescore_lite.noise import SAMPLING, standard_normal
from wavescore_lite.study import Analytic, Baseline, SampleResults, Trained, Trial, generation, judging, plan
from wavescore_lite.support.storage import read_rows, write_rows

COMMON = Trial("strokes", 32, 500, 600, Baseline("Wiener"))
TRIALS = [COMMON, replace(COMMON, denoiser=Analytic(ws.independent(3)))]
SMALL = {"count": 40, "steps": 4}


@pytest.fixture(scope="module")
def few():
    """Quality that is quickly told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "quality_row", lambda _, samples: {"frechet": f"{samples.mean():.6g}"})
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "strokes-32.csv"


def test_ways_begin_in_the_same_noise_and_end_within_bounds():
    ways = [generation.generate(trial, 0.0, **SMALL) for trial in TRIALS]
    assert ways[0].levels == ways[1].levels == (40.0, 0.0)
    wiener = ws.Wiener().fit(ws.load_images("strokes", 32, "train", 500))
    start = wiener.starts(standard_normal(0, 40, (32, 32), 0, SAMPLING), 40.0)
    assert_allclose(ways[0].estimates[0], wiener.denoise(start, 40.0), atol=1e-6)
    levels = ws.noise_levels(4, 40.0, 0.02)
    expected = ws.sample(wiener, (40, 32, 32), levels, 0.0, start=start)
    assert_allclose(ways[0].samples, expected, atol=1e-6)
    model = TRIALS[1].model().fit(ws.load_images("strokes", 32, "train", 500))
    lowest, highest = model.bounds
    y = model.basis.analyze(ways[1].samples).double()
    assert ((y > lowest - 1e-5) & (y < highest + 1e-5)).all()


def test_a_run_goes_on_where_it_stopped(few, path, monkeypatch):
    rows = generation.run(TRIALS, path, **SMALL)
    samples, agreement = generation.tables(path)
    keys = [(row["denoiser"], row["stochasticity"]) for row in rows]
    names = [trial.name for trial in TRIALS]
    assert keys == [*((kind, "") for kind in judging.IMAGE_KINDS), *((n, s) for s in "01" for n in names)]
    assert not agreement.exists()  # there is no network among them
    write_rows(samples, [rows[0], *rows[2:4], {**rows[4], "frechet": "nan"}, {**rows[5], "version": "0.0"}])
    for kept in (path.parent / "generated").iterdir():
        kept.unlink()
    made = []
    generate = generation.generate
    monkeypatch.setattr(generation, "generate", lambda *a: made.append(a[:2]) or generate(*a))
    again = generation.run(TRIALS, path, **SMALL)
    assert made == [(TRIALS[0], 1.0), (TRIALS[1], 1.0)]
    assert sorted(map(str, again)) == sorted(str(row | {"seconds": a["seconds"]}) for row, a in paired(rows, again))
    assert generation.run(TRIALS, path, **SMALL) == again
    assert len(made) == 2


def paired(rows, others):
    by_key = {(row["denoiser"], row["stochasticity"]): row for row in others}
    return [(row, by_key[row["denoiser"], row["stochasticity"]]) for row in rows]


def test_a_way_of_another_trial_or_a_damaged_file_is_made_again(few, path, monkeypatch):
    generation.run(TRIALS[:1], path, **SMALL)
    samples, _ = generation.tables(path)
    made = []
    generate = generation.generate
    monkeypatch.setattr(generation, "generate", lambda *a: made.append(a) or generate(*a))
    way = generation._way(samples, TRIALS[0], 0.0, 40, 4)
    assert not made
    (kept,) = (path.parent / "generated").glob("*-0.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert torch.equal(generation._way(samples, TRIALS[0], 0.0, 40, 4).estimates, way.estimates)
    assert len(made) == 1
    generation._way(samples, replace(TRIALS[0], train=400), 0.0, 40, 4)
    assert len(made) == 2


def test_the_best_network_and_another_seed_are_what_is_compared_with():
    network = Trained("unet-medium", "0")
    trials = [replace(COMMON, denoiser=candidate) for candidate in (Baseline("Wiener"), *plan.networks("mnist", 32))]
    trials = [replace(trial, dataset="mnist") for trial in trials]
    pairs = {(one.name, other.name) for one, other in generation.references(trials)}
    assert ("unet-small trained from seed 1", "unet-small") in pairs
    assert {other for _, other in pairs} == {"unet-attention", "unet-small"}
    assert ("Wiener", "unet-attention") in pairs
    assert network.name == "unet-medium"


def test_each_number_has_an_error():
    trial = replace(COMMON, train=1200, test=1200)
    row = judging.quality_row(trial, judging.images_of(trial, "training images", 1100))
    numbers = [name for name in row if not name.endswith("_error")]
    assert row.keys() == {*numbers, *(f"{name}_error" for name in numbers)}
    assert {"nearest", "copied", "frechet", "sliced"} <= {*numbers}


def test_agreement_against_numpy():
    generator = torch.Generator().manual_seed(0)
    images, others = torch.rand(2, 30, 6, 6, generator=generator, dtype=torch.float64)
    others = others + images
    mean = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    found = judging.agreement(images, others, mean)
    r2 = [np.corrcoef(a.ravel(), b.ravel())[0, 1] ** 2 for a, b in zip(images.numpy(), others.numpy(), strict=True)]
    assert float(found["r2"]) == pytest.approx(np.mean(r2), abs=1e-5)
    assert float(found["r2_error"]) == pytest.approx(np.std(r2, ddof=1) / 30**0.5, abs=1e-5)
    a, b = (images - mean).flatten(1).numpy(), (others - mean).flatten(1).numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert float(found["cosine"]) == pytest.approx(cosine.mean(), abs=1e-5)
    assert float(found["null_r2"]) < 0.2 < float(found["r2"])
    grey = judging.agreement(torch.full((5, 6, 6), 0.3), others[:5], mean)
    assert float(grey["r2"]) == 0


def test_training_images_stand_in_for_samples_by_lot():
    drawn = judging.images_of(COMMON, "training images", 100)
    images = ws.load_images("strokes", 32, "train", 500)
    assert len({image.numpy().tobytes() for image in drawn} & {image.numpy().tobytes() for image in images}) == 100
    pixels = judging.images_of(COMMON, "Gaussian pixels", 3000)
    assert_allclose(pixels.mean(0), images.mean(0), atol=0.05)
    assert_allclose(pixels.std(0), images.std(0), atol=0.05)


def test_committed_tables_are_read_and_finite():
    for dataset in ("mnist", "strokes"):
        results = SampleResults(dataset, 32)
        assert {"Wiener", "independent D=3 per-wavelet", results.reference} <= set(results.names)
        for name in (*results.names, *judging.IMAGE_KINDS):
            value, error = results.quality(name, "frechet")
            assert value > 0
            assert error >= 0
        found = results.agreement("Wiener")
        assert found.sigmas[-1] == 0
        assert (found.r2 <= 1).all()
    with pytest.raises(KeyError, match="no samples of 'Wienr'"):
        results.quality("Wienr", "frechet")
    with pytest.raises(FileNotFoundError, match="reproduce --figure samples --dataset mnist --size 8"):
        SampleResults("mnist", 8)


def test_samples_in_the_command_line(few, path):
    assert [len(read_rows(table)) for table in generation.tables(path)] == [0, 0]
    left = generation.missing(TRIALS, generation.tables(path)[0], **SMALL)
    assert [made["stochasticity"] for made, _ in left] == ["", "", "0", "0", "1", "1"]
