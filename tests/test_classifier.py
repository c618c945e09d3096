"""The classifier whose features samples are compared by: its batches, its training, its files, its accuracy."""

import csv
import hashlib
import os
import re
import shlex

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import chisquare
from typer.testing import CliRunner

import wavescore_lite as ws
from wavescore_lite.cli import app
from wavescore_lite.networks import Classifier, classifier_training, save_classifier
from wavescore_lite.networks.classifier import CLASSIFIERS, TABLE, classifier_file
from wavescore_lite.networks.classifier_training import CLASSIFYING, shifted_batch, train_classifier
from wavescore_lite.networks.recipes import TRAINING
from wavescore_lite.noise import FITTING, SCORING

pytestmark = pytest.mark.usefixtures("single_threaded")

COMMAND = "wavescore train-classifier --dataset strokes --size 8 --images 400 --steps 150 --batch 32"
COMMAND += " --learning-rate 0.004 --seed 2"
OPTIONS = {"steps": 150, "batch": 32, "learning_rate": 0.004, "seed": 2}
with open(CLASSIFIERS / TABLE, newline="") as file:
    COMMITTED = {row["dataset"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def small():
    """Images and classes to train on in a second."""
    return ws.load_images("strokes", size=8, limit=400), ws.load_labels("strokes", limit=400)


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The folder of a short training, and its line."""
    folder = tmp_path_factory.mktemp("classifier") / "new"
    return folder, train_classifier(*small, folder, "strokes", **OPTIONS)


@pytest.mark.parametrize("dataset", ["strokes", "mnist"])
def test_what_comes_along_is_as_accurate_as_stated(dataset):
    if dataset == "mnist" and not os.environ.get("WAVESCORE_DATA"):
        pytest.skip("WAVESCORE_DATA is not set: no real MNIST to read")
    images, labels = ws.load_images(dataset, split="test"), ws.load_labels(dataset, "test")
    right = ws.load_classifier(dataset).classify(images) == labels
    stated = re.search(rf"([\d.]+) % of {dataset}", ws.load_classifier.__doc__)
    assert right.double().mean() == pytest.approx(float(stated[1]) / 100, abs=0.0003)
    assert right.double().mean() > 0.99


def test_features_of_training_images_have_mean_0_and_variance_1():
    features = ws.load_classifier("strokes").features(ws.load_images("strokes", limit=3000))
    assert features.shape == (3000, 64)
    assert features.dtype == torch.float32
    assert_allclose(features.mean(dim=0), torch.zeros(64), atol=0.15)
    assert_allclose(features.var(dim=0).mean(), 1, atol=0.1)


def test_documented_parameters_are_the_classifiers():
    stated = re.search(r"There are ([\d,]+) weights\s+for images of 32 x 32", Classifier.__doc__)
    assert sum(weights.numel() for weights in Classifier(32).parameters()) == int(stated[1].replace(",", ""))


def test_features_are_of_each_image_alone_and_of_what_lies_in_0_to_1():
    classifier = ws.load_classifier("strokes")
    images = 2 * torch.rand((300, 32, 32), generator=torch.Generator().manual_seed(0)).double() - 0.5
    features = classifier.features(images)
    assert_allclose(features, classifier.features(images.clamp(0, 1).float()), atol=1e-5)
    assert_allclose(features[[250]], classifier.features(images[[250]]), atol=1e-4)
    assert (features - classifier.features(images / 2)).abs().max() > 0.1
    assert torch.equal(classifier.classify(images), classifier(images.clamp(0, 1).float()).argmax(dim=1))


def test_other_images_are_refused():
    classifier = ws.load_classifier("strokes")
    for images, error, message in (
        (torch.zeros(2, 28, 28), ValueError, r"shape \[2, 28, 28\]; expected \[n, 32, 32\]"),
        (torch.full((2, 32, 32), torch.nan), ValueError, "NaN or infinity"),
        (torch.zeros(2, 32, 32).int(), TypeError, "dtype int32"),
    ):
        for method in (classifier.features, classifier.classify):
            with pytest.raises(error, match=message):
                method(images)
    with pytest.raises(ValueError, match="size is 12; expected a power of two >= 8"):
        Classifier(12)


def test_a_batch_is_shifted_images_by_seed_and_step():
    images, labels = torch.rand((50, 8, 9), generator=torch.Generator().manual_seed(0)), torch.arange(50)
    drawn = [shifted_batch(images, labels, step, 200, seed=3) for step in range(20)]
    shifted, chosen = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    padded = np.pad(images.numpy(), ((0, 0), (2, 2), (2, 2)))
    shifts = {(down, right): padded[:, down : down + 8, right : right + 9] for down in range(5) for right in range(5)}
    pairs = list(zip(shifted.numpy(), chosen, strict=True))
    found = [[(shift[i] == image).all() for shift in shifts.values()] for image, i in pairs]
    assert np.sum(found, axis=1).tolist() == [1] * 4000
    assert chisquare(np.sum(found, axis=0)).pvalue > 1e-3
    assert chisquare(np.bincount(chosen, minlength=50)).pvalue > 1e-3
    again, other = (shifted_batch(images, labels, 7, 200, seed) for seed in (3, 4))
    assert torch.equal(again[0], drawn[7][0])
    assert not torch.equal(other[1], drawn[7][1])
    assert CLASSIFYING not in (FITTING, SCORING, TRAINING)


def test_training_learns_and_is_the_same_again(small, trained, tmp_path):
    folder, line = trained
    assert train_classifier(*small, tmp_path, "strokes", **OPTIONS) == line
    other = train_classifier(*small, tmp_path / "other", "strokes", **OPTIONS | {"seed": 1})
    assert other["sha256"] != line["sha256"]
    with open(folder / "classifier-strokes-8.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert list(row) == ["step", "seconds", "learning_rate", "training_loss", "held_out_accuracy"]
    classifier = ws.load_classifier("strokes", 8, folder)
    images, labels = small
    right = (classifier.classify(images) == labels).double()
    assert right.mean() > 0.4
    assert right[360:].mean() == pytest.approx(float(row["held_out_accuracy"]), abs=0.03)


def test_training_looks_at_no_image_that_is_held_out(small, trained, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        classifier_training, "shifted_batch", lambda *given: asked.append(given) or shifted_batch(*given)
    )
    train_classifier(*small, tmp_path, "strokes", steps=2, batch=8)
    assert [given[2] for given in asked] == [1, 2]
    for given in asked:
        assert torch.equal(given[0], small[0][:360])
        assert torch.equal(given[1], small[1][:360])


def test_the_log_has_a_line_every_so_many_steps(small, monkeypatch, tmp_path):
    monkeypatch.setattr(classifier_training, "LOG_EVERY", 2)
    train_classifier(*small, tmp_path, "strokes", steps=5, batch=8)
    with open(tmp_path / "classifier-strokes-8.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4", "5"]


def test_the_command_trains_the_same(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(COMMAND)
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    assert program == "wavescore"
    assert trained[1]["command"] == COMMAND
    assert trained[1]["sha256"] in result.output
    assert (tmp_path / "runs" / "classifier-strokes-8" / "classifier-strokes-8.safetensors").is_file()
    refused = CliRunner().invoke(app, [*arguments, "--size", "12"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert refused.exit_code == 2
    assert "size is 12; expected a power of two >= 8" in refused.output


def test_images_and_labels_to_train_on_are_checked(small, tmp_path):
    images, labels = small
    for given, message in (
        ((images * 2, labels), r"expected values in \[0.0, 1.0\]"),
        ((images[:, :4, :4], labels), "size is 4; expected a power of two"),
        ((images, labels[1:]), r"labels have shape \[399\] and dtype torch.int64; expected .* for each of 400 images"),
        ((images, labels.float()), "dtype torch.float32"),
        ((images, labels + 1), "from 0 to 9"),
        ((images[:9], labels[:9]), "too few images: got 9"),
    ):
        with pytest.raises(ValueError, match=message):
            train_classifier(*given, tmp_path / "new", "strokes", steps=2, batch=2)
    for change in ({"steps": 1}, {"batch": 1}):
        with pytest.raises(ValueError, match="is 1; expected an integer >= 2"):
            train_classifier(images, labels, tmp_path / "new", "strokes", **change)
    assert not (tmp_path / "new").exists()


def test_a_file_is_read_only_if_it_is_the_one_in_the_table(trained, tmp_path):
    folder, line = trained
    loaded, path = ws.load_classifier("strokes", 8, folder), tmp_path / classifier_file("strokes", 8)
    assert not any(weights.requires_grad for weights in loaded.parameters())
    assert save_classifier(loaded, tmp_path, "strokes", COMMAND) == line
    save_classifier(Classifier(16), tmp_path, "strokes", "another")
    assert save_classifier(loaded, tmp_path, "strokes", COMMAND) == line
    assert ws.load_classifier("strokes", 16, tmp_path).size == 16
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=rf"damaged or was replaced: its sha256 is \w+; expected {line['sha256']}"):
        ws.load_classifier("strokes", 8, tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        ws.load_classifier("strokes", 8, tmp_path)
    with pytest.raises(ValueError, match=r"for mnist at 8 x 8 in .*; expected one of strokes \(16 x 16\), strokes"):
        ws.load_classifier("mnist", 8, tmp_path)
    with pytest.raises(ValueError, match="expected one of none: train one with `wavescore train-classifier`"):
        ws.load_classifier("mnist", folder=tmp_path / "none")


def test_what_comes_along_is_small_and_has_its_line_and_its_log():
    assert set(COMMITTED) == {"mnist", "strokes"}
    names = {TABLE}
    for dataset, row in COMMITTED.items():
        path = CLASSIFIERS / classifier_file(dataset, int(row["size"]))
        names |= {path.name, path.with_suffix(".csv").name}
        assert path.stat().st_size < 5e5
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
        with open(path.with_suffix(".csv"), newline="") as file:
            last = list(csv.DictReader(file))[-1]
        assert f"--steps {last['step']} " in row["command"]
        assert float(last["held_out_accuracy"]) > 0.99
    assert {path.name for path in CLASSIFIERS.iterdir()} == names
