"""Training against hand-written loops, and what is resumed against what was never stopped."""

import copy
import csv
import math
import shlex
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import chisquare, kstest, norm
from typer.testing import CliRunner

import wavescore_lite as ws
from wavescore_lite.cli import app
from wavescore_lite.metrics import denoising_mse
from wavescore_lite.networks import SIGMA_RANGES, training
from wavescore_lite.networks.recipes import TRAINING, Recipe, averaging, batch, learning_rate, split
from wavescore_lite.networks.training import Run, denoising_loss, train
from wavescore_lite.noise import FITTING, SAMPLING, SCORING, standard_normal

pytestmark = pytest.mark.usefixtures("single_threaded")

RECIPE = Recipe("unet-small", "strokes", size=8, images=60, steps=7, batch=6, log_every=3)
LOG = "unet-small-strokes-8.csv"
COLUMNS = ["step", "seconds", "learning_rate", "training_loss"]
COLUMNS += ["mse_0.25", "mse_0.5", "mse_1", "mse_2", "mse_3", "mse_4"]


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=8, limit=60)


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A run that nothing stopped: its folder and its line."""
    folder = tmp_path_factory.mktemp("finished") / "not" / "there"
    return folder, train(RECIPE, images, folder)


def log(folder):
    """Lines of the log without the seconds."""
    with open(folder / LOG, newline="") as stream:
        return [{key: text for key, text in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def test_learning_rate_warms_up_and_falls_like_a_cosine():
    recipe = Recipe("cnn", "mnist", steps=2000, learning_rate=0.5)
    rates = [learning_rate(step, recipe) for step in range(2000)]
    expected = 0.25 * (1 + np.cos(np.pi * np.arange(2000) / 2000))
    expected[:200] *= np.arange(1, 201) / 200
    assert_allclose(rates, expected, rtol=1e-12)
    assert learning_rate(499, replace(recipe, steps=10**9)) == pytest.approx(0.5)
    assert learning_rate(249, replace(recipe, steps=10**9)) == pytest.approx(0.25)
    assert learning_rate(0, replace(recipe, steps=1)) == 0.5


def test_averaging_forgets_the_first_weights():
    assert_allclose([averaging(step) for step in (0, 1, 8, 90)], [0.1, 2 / 11, 0.5, 0.91])
    assert averaging(8980) < averaging(8990) == averaging(10**7) == 0.999


def test_a_batch_is_a_function_of_seed_and_step(images):
    for step in (0, 5):
        for again, once in zip(batch(images, step, RECIPE), batch(images, step, replace(RECIPE, steps=9)), strict=True):
            assert torch.equal(again, once)
    drawn = [batch(images, step, replace(RECIPE, seed=seed))[1] for step in (0, 1) for seed in (0, 1)]
    assert len({tuple(sigma.tolist()) for sigma in drawn}) == 4


def root_places(sigma):
    return (sigma.sqrt() - 0.1**0.5) / (5**0.5 - 0.1**0.5)


def log_normal_places(sigma):
    low, high = norm(0, 1.4).cdf(np.log([0.01, 40.0]))
    return torch.from_numpy((norm(0, 1.4).cdf(sigma.double().log()) - low) / (high - low))


@pytest.mark.parametrize(("noise", "places"), [("root", root_places), ("log-normal", log_normal_places)])
def test_batches_have_the_distribution_they_state(noise, places):
    """Images uniform, sigma of its law and one in each stratum, noise normal and not the noise of scores or fits."""
    numbered = torch.arange(20.0)[:, None, None].expand(20, 8, 8)
    recipe = replace(RECIPE, batch=100, noise=noise)
    drawn = [batch(numbered, step, recipe) for step in range(20)]
    clean, sigma, noisy = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    assert chisquare(np.bincount(clean[:, 0, 0].int().numpy(), minlength=20)).pvalue > 1e-3
    place = places(sigma)
    assert kstest(place.numpy(), "uniform").pvalue > 1e-3
    assert_allclose((100 * place.view(20, 100)).floor(), torch.arange(100.0).expand(20, 100), atol=1e-9)
    assert (sigma.min() > SIGMA_RANGES[noise][0]) & (sigma.max() < SIGMA_RANGES[noise][1])
    noise = ((noisy - clean) / sigma[:, None, None]).numpy()
    assert kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(clean[:, 0, 0], sigma)[0, 1]) < 5 / 2000**0.5
    assert len({TRAINING, FITTING, SCORING, SAMPLING}) == 4
    for stream in (FITTING, SCORING):
        other = standard_normal(0, 100, (8, 8), seed=0, stream=stream).numpy()
        assert abs(np.corrcoef(noise[:100].ravel(), other.ravel())[0, 1]) < 5 / 6400**0.5


def test_the_last_images_are_held_out(images):
    for count, held_out in ((60_000, 1000), (20_000, 1000), (500, 50), (10, 1)):
        parts = split(torch.arange(float(count)))
        assert [len(part) for part in parts] == [count - held_out, held_out]
        assert torch.equal(torch.cat(parts), torch.arange(float(count)))
    with pytest.raises(ValueError, match="too few images: got 9; expected at least 10"):
        split(images[:9])


def test_training_sees_no_image_that_is_held_out(monkeypatch, images, tmp_path):
    """Neither in batches nor in mean and sigma_data; the log is about the others alone."""
    seen, scored = [], []
    monkeypatch.setattr(training, "batch", lambda *given: seen.append(batch(*given)) or seen[-1])
    monkeypatch.setattr(training, "denoising_mse", lambda *given: scored.append(given[1]) or denoising_mse(*given))
    train(replace(RECIPE, steps=30, log_every=30), images, tmp_path)
    drawn = {tuple(image.flatten().tolist()) for clean, _, _ in seen for image in clean}
    assert drawn <= {tuple(image.flatten().tolist()) for image in images[:54]}
    assert len(drawn) > 45
    for held_out in scored:
        assert torch.equal(held_out, images[54:])
    loaded = ws.load_network("unet-small", 8, "strokes", tmp_path)
    assert_allclose(loaded.mean, images[:54].double().mean(), rtol=1e-6)
    assert_allclose(loaded.sigma_data, images[:54].double().std(unbiased=False), rtol=1e-6)


def test_loss_is_the_error_of_the_trained_part(images):
    """Against its target (x_0 - mean - c_skip (x - mean)) / c_out, written out for each image."""
    network = Run(RECIPE, images).network
    torch.nn.init.normal_(network.backbone.last.weight, generator=torch.Generator().manual_seed(0))
    clean, sigma, noisy = batch(images, 0, RECIPE)
    spread, errors = network.sigma_data, []
    for x0, s, x in zip(clean, sigma, noisy, strict=True):
        total = s**2 + spread**2
        found = network.backbone(((x - network.mean) / total.sqrt())[None, None], s.log()[None] / 4)[0, 0]
        target = (x0 - network.mean - spread**2 / total * (x - network.mean)) * total.sqrt() / (s * spread)
        errors.append((found - target).square().mean())
    assert_allclose(
        denoising_loss(network, clean, sigma, noisy).detach(), torch.stack(errors).mean().detach(), rtol=1e-4
    )


def test_steps_are_adamw_with_clipped_gradients_and_a_moving_average(images):
    """Weights and their average, step for step in float64 NumPy."""
    run, reference = Run(replace(RECIPE, learning_rate=0.01), images), None
    names = [name for name, _ in run.network.named_parameters()]
    for step in range(4):
        shadow = copy.deepcopy(run.network)
        denoising_loss(shadow, *batch(images, step, run.recipe)).backward()
        gradients = {name: w.grad.double().numpy() for name, w in shadow.named_parameters()}
        norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        if reference is None:
            start = {name: w.detach().double().numpy().copy() for name, w in run.network.named_parameters()}
            reference = {name: [start[name], start[name], 0.0, 0.0] for name in names}
        run.advance()
        rate, decay = learning_rate(step, run.recipe), min(0.999, (step + 1) / (step + 10))
        for name, (weights, mean, first, second) in reference.items():
            gradient = gradients[name] * min(1, 1 / norm)
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            update = first / (1 - 0.9 ** (step + 1)) / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
            weights = weights * (1 - 0.01 * rate) - rate * update
            reference[name] = [weights, decay * mean + (1 - decay) * weights, first, second]
        assert run.step == step + 1
        for name, now, mean in zip(names, run.network.parameters(), run.average.parameters(), strict=True):
            settled = np.abs(gradients[name]) > 1e-4 * norm  # elsewhere the direction of a step is rounding
            assert_allclose(now.detach()[settled], reference[name][0][settled], rtol=1e-3, atol=1e-5, err_msg=name)
            assert_allclose(mean[settled], reference[name][1][settled], rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_average_is_that_of_the_weights(images):
    run = Run(RECIPE, images)
    means = [weights.detach().double().clone() for weights in run.network.parameters()]
    for step in range(5):
        run.advance()
        decay = (step + 1) / (step + 10)
        means = [decay * m + (1 - decay) * w.detach() for m, w in zip(means, run.network.parameters(), strict=True)]
    for mean, found in zip(means, run.average.parameters(), strict=True):
        assert_allclose(found, mean, rtol=1e-5, atol=1e-7)


def test_log_has_its_columns_and_the_errors_of_the_written_network(finished, images):
    folder, line = finished
    with open(folder / LOG, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert [row["step"] for row in rows] == ["3", "6", "7"]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert_allclose([float(r["learning_rate"]) for r in rows], [learning_rate(k, RECIPE) for k in (2, 5, 6)], rtol=1e-3)
    loaded = ws.load_network("unet-small", 8, "strokes", folder)
    for sigma in (0.25, 0.5, 1, 2, 3, 4):
        assert_allclose(float(rows[-1][f"mse_{sigma}"]), ws.denoising_mse(loaded, images[54:], sigma), atol=1e-6)
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors",
        "table.csv",
        LOG,
        "unet-small-strokes-8.safetensors",
    ]
    assert line["command"] == RECIPE.command


def test_logged_loss_is_the_mean_since_the_line_before(finished, images):
    run = Run(RECIPE, images[:54])
    losses = [run.advance().item() for _ in range(7)]
    expected = [np.mean(losses[:3]), np.mean(losses[3:6]), losses[6]]
    assert_allclose([float(row["training_loss"]) for row in log(finished[0])], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("where", "call"), [("Run.advance", 2), ("Run.advance", 5), ("Run.save", 2), ("write_rows", 2), ("save_network", 1)]
)
def test_killed_and_resumed_is_never_killed(where, call, finished, images, tmp_path, monkeypatch):
    """To the bit, wherever the kill came: in a step, before a checkpoint, before a line of the log, at the end."""
    holder = Run if where.startswith("Run.") else training
    name, calls = where.removeprefix("Run."), []
    original = getattr(holder, name)

    def dying(*given):
        calls.append(given)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(holder, name, dying)
    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, images, tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "table.csv").exists()
    torch.rand(3)  # random numbers of others are no part of it
    assert train(RECIPE, images, tmp_path) == finished[1]
    assert log(tmp_path) == log(finished[0])


def test_a_finished_run_is_not_run_again(finished, images, monkeypatch):
    folder, line = finished
    before = (folder / LOG).read_bytes()
    monkeypatch.setattr(Run, "advance", lambda self: pytest.fail("took a step"))
    assert train(RECIPE, images, folder) == line
    assert (folder / LOG).read_bytes() == before


def test_the_seed_decides(finished, images, tmp_path):
    state = torch.get_rng_state()
    assert train(replace(RECIPE, log_every=100), images, tmp_path / "same")["sha256"] == finished[1]["sha256"]
    assert train(replace(RECIPE, seed=1), images, tmp_path / "other")["sha256"] != finished[1]["sha256"]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_folder_keeps_to_its_run(finished, images):
    folder, line = finished
    for change, message in (
        ({"steps": 8}, "checkpoint.safetensors is of a run with steps 7, not 8; expected the same, or another folder"),
        ({"seed": 1, "batch": 5}, "batch 6, not 5; seed 0, not 1"),
        ({"network": "cnn"}, "network unet-small, not cnn"),
    ):
        with pytest.raises(ValueError, match=message):
            train(replace(RECIPE, **change), images, folder)
    with pytest.raises(ValueError, match=r"checksum of the images \w{16}, not \w{16}"):
        train(RECIPE, 1 - images, folder)
    assert train(RECIPE, images, folder) == line


def test_a_damaged_checkpoint_is_refused(images, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not whole")
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is cut short, damaged or no wavescore file"):
        train(RECIPE, images, tmp_path)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_tiny_set_is_learned(images, bfloat16):
    recipe = replace(RECIPE, steps=60, batch=32, learning_rate=3e-3, bfloat16=bfloat16)
    run = Run(recipe, images[:4])
    losses = [run.advance().item() for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert {weights.dtype for weights in run.average.parameters()} == {torch.float32}
    untrained = denoising_mse(Run(recipe, images[:4]).network, images[:4], 1.0)
    assert denoising_mse(run.network, images[:4], 1.0) < 0.6 * untrained


def test_bfloat16_is_less_precise_and_no_other_training(images):
    exact, rounded = (Run(replace(RECIPE, bfloat16=bfloat16), images) for bfloat16 in (False, True))
    for _ in range(3):
        losses = exact.advance().item(), rounded.advance().item()
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_loss_that_is_not_finite_stops_the_run_before_the_checkpoint(images, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "advance", lambda self: setattr(self, "step", self.step + 1) or torch.tensor(math.nan))
    with pytest.raises(
        RuntimeError, match="training diverged: the loss is nan at step 3; expected a lower learning rate"
    ):
        train(RECIPE, images, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "unet"}, "network is 'unet'; expected one of 'cnn'"),
        ({"dataset": "auto"}, "dataset is 'auto'; expected one of 'mnist', 'strokes'"),
        ({"size": 12}, "size is 12; expected a power of two >= 8"),
        ({"steps": 0}, "steps is 0; expected an integer >= 1"),
        ({"batch": 2.0}, "batch is 2.0; expected an integer >= 1"),
        ({"seed": -1}, "seed is -1; expected an integer >= 0"),
        ({"log_every": True}, "log_every is True; expected an integer >= 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a finite number > 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan; expected a finite number > 0"),
    ],
)
def test_recipes_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPE, **change)


def test_images_are_checked(images, tmp_path):
    for given, message in (
        (images[:, :4, :4], r"expected \[n, 8, 8\]"),
        (images * 2, r"expected values in \[0.0, 1.0\]"),
        (images[:9], "too few images: got 9; expected at least 10"),
    ):
        with pytest.raises(ValueError, match=message):
            train(RECIPE, given, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("recipe", [RECIPE, Recipe("cnn", "strokes", 16, None, 5, 3, 0.25, 4, 2, True)])
def test_the_command_is_the_recipe(recipe, monkeypatch):
    """Typed in, it trains by the same recipe, but for how often the log is written."""
    given = []
    monkeypatch.setattr(training, "train", lambda recipe, *rest: given.append(recipe) or {})
    monkeypatch.setattr("wavescore_lite.load_images", lambda *given: None)
    program, *arguments = shlex.split(recipe.command)
    result = CliRunner().invoke(app, arguments)
    assert program == "wavescore"
    assert result.exit_code == 0, result.output
    assert asdict(given[0]) == asdict(recipe) | {"log_every": 500}
