"""The command line teaches, draws, and refuses in words; what it refuses leaves no file behind."""

import csv
import gzip
import hashlib
import subprocess
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import wavescore_lite as ws
from wavescore_lite import benchmarks
from wavescore_lite.cli import app
from wavescore_lite.couplings import FAMILIES
from wavescore_lite.data import loading, mnist, registry
from wavescore_lite.data.protocol import Dataset, Files, Place
from wavescore_lite.denoisers import BASELINES
from wavescore_lite.networks import DESIGNS, load_network, training
from wavescore_lite.sampling import levels_for

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SMALL = ("--dataset", "strokes", "--size", "16", "--images", "40")


@pytest.fixture(autouse=True)
def nothing_found(tmp_path, monkeypatch):
    """No MNIST anywhere, no network, an empty cache and working folder."""
    monkeypatch.delenv("WAVESCORE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WAVESCORE_OFFLINE", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    loading._decide.cache_clear()
    loading._ensure.cache_clear()
    yield
    plt.close("all")
    loading._decide.cache_clear()
    loading._ensure.cache_clear()


@pytest.fixture
def here(tmp_path):
    return tmp_path / "here"


def run(*arguments):
    """Exit code, and what was said on stdout and stderr without the frames and line breaks around it."""
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def write_mnist(folder, monkeypatch):
    """A sound MNIST of 20 and 10 images, gzipped."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, count in {"train": 20, "test": 10}.items():
        monkeypatch.setitem(mnist.COUNTS, split, count)
    for (split, kind), name in mnist.FILES.items():
        shape = (mnist.COUNTS[split], *((28, 28) if kind == "images" else ()))
        content = np.array([0x0800 + len(shape), *shape], dtype=">u4").tobytes() + bytes(int(np.prod(shape)))
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
        monkeypatch.setitem(mnist.DIGESTS, name, hashlib.sha256(content).hexdigest())


def test_demo_prints_the_table_and_draws(here):
    code, said = run("demo", *SMALL, "--degree", "2", "--output", "digits.png")
    assert code == 0, said
    assert "strokes at 16 x 16: fitted on 40 training images" in said
    assert "mean squared error on 6 held-out images, clipped to [0, 1]" in said
    for heading in ("sigma = 1", "sigma = 4", "mean image 0.", "full linear (Wiener) 0.", "wavelets, D = 2 0."):
        assert heading in said
    assert "digits.png shows clean, noisy and denoised images" in said
    picture = (here / "digits.png").read_bytes()
    assert picture.startswith(PNG_SIGNATURE)
    assert picture.endswith(b"IEND\xaeB`\x82")
    assert [path.name for path in here.iterdir()] == ["digits.png"]


def test_demo_scores_held_out_images(monkeypatch):
    asked = []
    load = ws.load_images
    monkeypatch.setattr(ws, "load_images", lambda *a, **k: asked.append((*a, k["limit"])) or load(*a, **k))
    assert run("demo", "--dataset", "strokes", "--size", "8", "--images", "100", "--degree", "1")[0] == 0
    assert asked == [("strokes", 8, "train", 100), ("strokes", 8, "test", 10)]


def test_demo_takes_mnist_where_it_is_found(tmp_path, monkeypatch):
    write_mnist(tmp_path / "data", monkeypatch)
    monkeypatch.setenv("WAVESCORE_DATA", str(tmp_path / "data"))
    code, said = run("demo", "--size", "8", "--images", "10", "--degree", "1")
    assert code == 0, said
    assert "mnist at 8 x 8: fitted on 10 training images" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "33"), "shape is (33, 33); expected a height and a width that 2^level divides"),
        (("--degree", "7"), "degree is 7; expected an integer from 1 to 6"),
        (("--degree", "0"), "degree is 0; expected an integer from 1 to 6"),
        (("--degree", "two"), "Invalid value for '--degree'"),
        (("--images", "3"), "Invalid value for '--images'"),
        (("--images", "60001"), "limit is 60001; expected an integer from 1 to 60000"),
        (("--dataset", "cifar"), "Invalid value for '--dataset': 'cifar' is not one of 'auto', 'mnist', 'strokes'"),
        (("--dataset", "mnist"), "set WAVESCORE_DATA to a folder that holds MNIST"),
        (("--output", "missing/demo.png"), "output is missing/demo.png; expected a .png file in a folder"),
        (("--output", "demo.jpeg"), "output is demo.jpeg; expected a .png file"),
        (("--output", "."), "output is .; expected a .png file"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, tuple) else "",
)
def test_demo_refuses_before_it_works(arguments, message, here):
    code, said = run("demo", *SMALL, *arguments)
    assert code == 2
    assert message in said
    assert list(here.iterdir()) == []


def test_demo_that_cannot_draw_keeps_the_old_picture(here, monkeypatch):
    def full_disk(figure, file, **options):
        file.write(PNG_SIGNATURE)
        raise OSError("no space left on device")

    (here / "demo.png").write_bytes(b"old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full_disk)
    code, said = run("demo", *SMALL)
    assert code == 2
    assert "demo.png could not be written: no space left on device" in said
    assert [path.name for path in here.iterdir()] == ["demo.png"]
    assert (here / "demo.png").read_bytes() == b"old"


def test_bench_prints_the_table_and_writes_it(here):
    code, said = run("bench", "--quick", "--images", "64", "--dataset", "strokes", "--output", ".")
    assert code == 0, said
    assert "64 images of strokes, 16 x 16" in said
    assert "no limit judged: they are set for 60,000 images of 32 x 32 on the CPU" in said
    assert sorted(path.name for path in here.iterdir()) == ["bench.csv", "bench.png"]
    assert (here / "bench.png").read_bytes().startswith(PNG_SIGNATURE)
    with open(here / "bench.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["case"] in said
        numbers = [float(row[key]) for key in ("seconds", "beside_seconds", "ratio", "exponent", "gib") if row[key]]
        assert all(np.isfinite(numbers))
        assert len(numbers) == (3 if row["beside"] else 1)
        assert row["within"] == ""
    named = [row["case"].partition(",")[0] for row in rows]
    families, points = len(FAMILIES), {"images": 4, "size": 4, "radius": 4, "degree": 4}
    by_axis = {axis: count * (1 if axis == "radius" else families) for axis, count in points.items()}
    assert {name: named.count(name) for name in named} == {
        "pass": sum(by_axis.values()),
        "sums from coefficients": families - 1,  # one is compared with products alone
        "further noise level": families,
        "denoise": 2 * families,
        "joint": 1,
        "call of a step": families + 2,  # and of Wiener and a joint fit
        "samples in 8 steps": families + 2,
        "analysis and synthesis": 4,
        "memory of a pass": 1,
        "growth with images": families,
        "growth with pixels": families,
    }
    assert {axis: sum(row["axis"] == axis for row in rows) for axis in points} == by_axis


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "missing"), "output is missing; expected a folder that is there and can be written to"),
        (("--output", "file.txt"), "output is file.txt; expected a folder"),
        (("--images", "63"), "Invalid value for '--images'"),
        (("--images", "60001"), "limit is 60001; expected an integer from 1 to 60000"),
        (("--dataset", "mnist"), "set WAVESCORE_DATA to a folder that holds MNIST"),
        (("--device", "gpu"), "Invalid value for '--device'"),
        pytest.param(
            ("--device", "cuda"),
            "device is 'cuda', but torch finds no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, tuple) else "",
)
def test_bench_refuses_before_it_works(arguments, message, here, monkeypatch):
    monkeypatch.setattr(benchmarks, "measure", lambda setting: pytest.fail("measured all the same"))
    (here / "file.txt").write_text("here before")
    code, said = run("bench", "--quick", "--dataset", "strokes", "--output", ".", *arguments)
    assert code == 2
    assert message in said
    assert [path.name for path in here.iterdir()] == ["file.txt"]


def test_bench_that_cannot_write_says_so(here, monkeypatch):
    def full_disk(rows, title, folder):
        raise OSError("no space left on device")

    monkeypatch.setattr(benchmarks, "measure", lambda setting: [])
    monkeypatch.setattr(benchmarks, "write", full_disk)
    code, said = run("bench", "--quick", "--dataset", "strokes", "--output", ".")
    assert code == 2
    assert ". could not be written to: no space left on device" in said


SAMPLED = ("--dataset", "strokes", "--size", "8", "--images", "60", "--count", "5")


def scores(coupling, kind=ws.WaveletScore, **options):
    return lambda: kind(ws.WaveletBasis(8), coupling, **options)


@pytest.mark.parametrize(
    ("arguments", "unfitted", "called"),
    [
        (("independent",), scores(ws.independent(3)), "independent(degree=3), per-wavelet, fitted"),
        (("Band_tied", "--degree", "2"), scores(ws.band_tied(2)), "band_tied(degree=2), per-wavelet, fitted"),
        (
            ("local", "--radius", "2", "--bare"),
            scores(ws.local_coupled(3, 2), bounded=False),
            "per-wavelet, bare, fitted",
        ),
        (("indep", "--fit", "joint", "--degree", "1"), scores(ws.independent(1), ws.JointScore), "joint, fitted"),
        (("mean",), ws.MeanImage, "mean image, fitted"),
        (("wiener",), ws.Wiener, "Wiener, fitted"),
        (("posterior mean",), ws.PosteriorMean, "posterior mean, fitted"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, tuple) else "",
)
def test_sample_is_of_the_model_that_was_named(arguments, unfitted, called, here):
    code, said = run("sample", *arguments, *SAMPLED, "--steps", "6", "--stochasticity", "0", "--out", "samples.npy")
    assert code == 0, said
    assert said.startswith("samples.npy has 5 samples of ")
    assert f"{called} on 60 images of strokes at 8 x 8; seed 0, " in said
    denoiser = unfitted().fit(ws.load_images("strokes", 8, "train", 60))
    expected = ws.sample(denoiser, (5, 8, 8), ws.noise_levels(6), stochasticity=0)
    samples = np.load(here / "samples.npy")
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, expected.numpy())
    assert [path.name for path in here.iterdir()] == ["samples.npy"]


def test_sample_of_a_network(here):
    options = ("--dataset", "strokes", "--count", "2", "--steps", "2", "--solver", "euler", "--seed", "3")
    code, said = run("sample", "unet-small", *options, "--out", "samples.npy")
    assert code == 0, said
    assert "2 samples of unet-small, trained on strokes at 32 x 32 from seed 0; seed 3" in said
    network = load_network("unet-small", 32, "strokes")
    expected = ws.sample(network, (2, 32, 32), levels_for(network, 2), seed=3, solver="euler")
    np.testing.assert_array_equal(np.load(here / "samples.npy"), expected.numpy())


@pytest.mark.parametrize("kind", [ws.WaveletScore, ws.JointScore])
def test_sample_of_a_saved_score(kind, here):
    model = kind(ws.WaveletBasis(8), ws.independent(2)).fit(ws.load_images("strokes", 8, "train", 60))
    model.save("saved.model")
    code, said = run("sample", "saved.model", "--count", "3", "--out", "samples.npy")
    assert code == 0, said
    assert f"3 samples of {kind.__name__}(WaveletBasis(" in said
    assert f"fitted on {model.fingerprint}, from saved.model; seed 0" in said
    np.testing.assert_array_equal(np.load(here / "samples.npy"), ws.sample(model, (3, 8, 8)).numpy())


def test_sample_of_a_saved_baseline(here):
    model = ws.Wiener().fit(ws.load_images("strokes", 8, "train", 60))
    model.save("wiener")
    options = ("--count", "3", "--steps", "9", "--out", "samples.npy")
    assert "of Wiener, fitted on 50 images" in run("sample", "wiener", *SAMPLED, "--images", "50", *options)[1]
    code, said = run("sample", "./wiener", *options)
    assert code == 0, said
    assert "3 samples of Wiener, from ./wiener; seed 0" in said
    expected = ws.sample(model, (3, 8, 8), ws.noise_levels(9))
    np.testing.assert_allclose(np.load(here / "samples.npy"), expected.numpy(), atol=1e-5)


def test_sample_draws_a_grid(here, monkeypatch):
    drawn = []
    monkeypatch.setattr(ws.plots, "image_grid", lambda rows, grid=ws.plots.image_grid: drawn.append(rows) or grid(rows))
    code, said = run("sample", "mean", *SAMPLED, "--steps", "2", "--out", "grid.png")
    assert code == 0, said
    picture = (here / "grid.png").read_bytes()
    assert picture.startswith(PNG_SIGNATURE)
    assert picture.endswith(b"IEND\xaeB`\x82")
    ((first, second),) = drawn
    assert first.shape == second.shape == (3, 8, 8)
    assert (second[2] == 1).all()
    assert [path.name for path in here.iterdir()] == ["grid.png"]


def test_sample_that_cannot_draw_keeps_the_old_picture(here, monkeypatch):
    def full_disk(figure, file, **options):
        file.write(PNG_SIGNATURE)
        raise OSError("no space left on device")

    (here / "grid.png").write_bytes(b"old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full_disk)
    code, said = run("sample", "mean", *SAMPLED, "--steps", "2", "--out", "grid.png")
    assert (code, said) == (1, "grid.png could not be written: no space left on device")
    assert [path.name for path in here.iterdir()] == ["grid.png"]
    assert (here / "grid.png").read_bytes() == b"old"


def test_sample_that_runs_away_says_so(here):
    """Where a cubic without bounds has flown to, its powers overflow: one start in a hundred is enough."""
    code, said = run("sample", "independent", "--bare", *SAMPLED, "--count", "100", "--out", "samples.npy")
    assert code == 1
    assert said.startswith("samples.npy could not be written: the estimate overflows torch.float32 at sigma")
    assert list(here.iterdir()) == []
    assert run("sample", "independent", *SAMPLED, "--count", "100", "--out", "samples.npy")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unet",), "model is 'unet'; expected one of independent, band-tied, local-coupled, mean-image, wiener,"),
        (("",), "model is ''; expected one of"),
        (("missing.model",), "model is 'missing.model'; expected one of"),
        (("file.txt",), "file.txt holds no score and no baseline, or is damaged; expected what save() wrote"),
        (("file.txt", "--degree", "2"), "--degree was given for 'file.txt', a file; expected none of its kind"),
        (("cnn", "--bare"), "--bare was given for 'cnn', a network; expected --dataset, --size, --network-seed"),
        (("wiener", "--network-seed", "1"), "--network-seed was given for 'wiener', a baseline; expected --dataset"),
        (("independent", "--radius", "1"), "family 'independent' has no option radius; expected some of degree"),
        (("independent", "--degree", "7"), "degree is 7; expected an integer from 1 to 6"),
        (("local", "--fit", "at once"), "fit is 'at once'; expected one of 'per-wavelet', 'joint'"),
        (("local", "--size", "33"), "shape is (33, 33); expected a height and a width that 2^level divides"),
        (("local", "--images", "60001"), "limit is 60001; expected an integer from 1 to 60000"),
        (("cnn", "--network-seed", "7", "--size", "32"), "there is no trained network 'cnn' for strokes at 32 x 32"),
        (("wiener", "--dataset", "mnist"), "set WAVESCORE_DATA to a folder that holds MNIST"),
        (("wiener", "--solver", "rk4"), "solver is 'rk4'; expected one of 'heun', 'euler'"),
        (("wiener", "--stochasticity", "2"), "Invalid value for '--stochasticity'"),
        (("wiener", "--count", "0"), "Invalid value for '--count'"),
        (("wiener", "--out", "grid.gif"), "output is grid.gif; expected a .png or .npy file"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, tuple) else "",
)
def test_sample_refuses_before_it_works(arguments, message, here, monkeypatch):
    monkeypatch.setattr(ws, "sample", lambda *given, **options: pytest.fail("sampled all the same"))
    (here / "file.txt").write_text("here before")
    strokes = () if arguments[0] == "file.txt" else ("--dataset", "strokes")
    code, said = run("sample", arguments[0], *strokes, *arguments[1:])
    assert code == 2
    assert message in said
    assert [path.name for path in here.iterdir()] == ["file.txt"]


def test_sample_of_drawn_noise_has_no_steps(here):
    """Such a score answers at the noise levels that it was fitted at, and at no other."""
    images, noise = ws.load_images("strokes", 8, "train", 60), ws.SampledNoise([1.0, 2.0])
    ws.WaveletScore(ws.WaveletBasis(8), ws.independent(1)).fit(images, noise).save("drawn.model")
    assert run("sample", "drawn.model", "--out", "samples.npy")[0] == 0
    code, said = run("sample", "drawn.model", "--steps", "3", "--out", "samples.npy")
    assert code == 2
    assert "steps is 3, and the score answers at sigma [1.0, 2.0] alone; expected no --steps" in said


def test_sample_knows_every_name(here):
    code, said = run("sample", "nothing")
    assert code == 2
    for name in (*FAMILIES, *BASELINES, *DESIGNS):
        assert name.lower().replace("_", "-").replace(" ", "-") in said


TRAIN = ("train", "unet-small", "--dataset", "strokes", "--size", "8", "--images", "40", "--steps", "3", "--batch", "4")


def test_train_writes_what_load_network_reads_and_prints_its_line(here):
    code, said = run(*TRAIN)
    assert code == 0, said
    folder = here / "runs" / "unet-small-strokes-8"
    weights = folder / "unet-small-strokes-8.safetensors"
    assert f"{weights.relative_to(here)} is trained; its line of the table of checksums:" in said
    line = (folder / "table.csv").read_text().splitlines()[1]
    assert said.endswith(line)
    assert line.split(",")[5] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert load_network("unet-small", 8, "strokes", folder).num_parameters == 168_801
    assert [path.name for path in here.iterdir()] == ["runs"]


def test_train_goes_on_where_it_stopped(here, monkeypatch):
    options = ("--log-every", "2", "--output", "run")
    save = training.save_network
    monkeypatch.setattr(training, "save_network", lambda *given: 1 / 0)
    assert run(*TRAIN, *options)[0] == 1
    monkeypatch.setattr(training, "save_network", save)
    monkeypatch.setattr(training.Run, "advance", lambda self: pytest.fail("took a step again"))
    assert run(*TRAIN, *options)[0] == 0
    code, said = run(*TRAIN, *options, "--seed", "1")
    assert code == 2
    assert "checkpoint.safetensors is of a run with seed 0, not 1; expected the same, or another folder" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unet", *TRAIN[2:]), "network is 'unet'; expected one of 'cnn', 'unet-small'"),
        ((*TRAIN[1:], "--size", "12"), "size is 12; expected a power of two >= 8"),
        ((*TRAIN[1:], "--images", "9"), "Invalid value for '--images'"),
        ((*TRAIN[1:], "--images", "60001"), "limit is 60001; expected an integer from 1 to 60000"),
        ((*TRAIN[1:], "--steps", "0"), "Invalid value for '--steps'"),
        ((*TRAIN[1:], "--learning-rate", "0"), "learning_rate is 0.0; expected a finite number > 0"),
        ((*TRAIN[1:], "--dataset", "mnist"), "set WAVESCORE_DATA to a folder that holds MNIST"),
        ((*TRAIN[1:], "--output", "file.txt"), "file.txt"),
        pytest.param(
            (*TRAIN[1:], "--device", "cuda"),
            "device is 'cuda', but torch finds no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
    ids=lambda value: "=".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_train_refuses_before_it_works(arguments, message, here, monkeypatch):
    monkeypatch.setattr(training.Run, "advance", lambda self: pytest.fail("took a step all the same"))
    (here / "file.txt").write_text("here before")
    code, said = run("train", *arguments)
    assert code == 2
    assert message in said
    assert [path.name for path in here.iterdir()] == ["file.txt"]


def test_train_that_diverges_says_so(here, monkeypatch):
    def explode(self):
        self.step += 1
        return torch.tensor(float("inf"))

    monkeypatch.setattr(training.Run, "advance", explode)
    code, said = run(*TRAIN, "--output", "run")
    assert code == 1
    assert "training diverged: the loss is inf at step 3; expected a lower learning rate" in said


def test_data_says_where_mnist_was_found(tmp_path, monkeypatch):
    write_mnist(tmp_path / "data", monkeypatch)
    for arguments, place in ((("--root", str(tmp_path / "data")), "root"), ((), "WAVESCORE_DATA")):
        monkeypatch.setenv("WAVESCORE_DATA", str(tmp_path / "data"))
        code, said = run("data", *arguments)
        assert code == 0
        assert said.startswith(f"{place} {tmp_path / 'data'} found")
        assert "the cache folder" in said
        assert "MNIST is used: load_images('auto') reads it" in said


def test_data_without_a_home_directory_says_how_to_get_mnist(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", no_home)
    code, said = run("data")
    assert code == 0, said
    assert said.startswith("MNIST is not there. Any of these will do: - on a machine with network")


def test_data_says_how_to_get_mnist(tmp_path):
    code, said = run("data")
    assert code == 0
    assert said.startswith(f"the cache folder {tmp_path / 'cache' / 'wavescore'} no MNIST")
    for way in ("load_images('mnist')", "set WAVESCORE_DATA=FOLDER", "load_images('strokes')"):
        assert way in said
    assert not (tmp_path / "cache").exists()


def test_data_tells_of_every_data_set(tmp_path, monkeypatch):
    """One more that lies in files, and one more that is drawn."""
    places = [Place("a shelf", tmp_path / "shelf"), Place("a drawer", tmp_path / "drawer")]
    files = Files(lambda root: places, lambda place: "", lambda place: state, "The box", "  - buy one")
    common = {"counts": {"train": 1}, "sizing": "", "images": None, "labels": None}
    for name, given in (("boxed", files), ("halves", None)):
        module = types.ModuleType(f"wavescore_lite.data.{name}")
        module.DATASET = Dataset(name=name, **common, files=given)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "NAMES", (*registry.NAMES, "boxed", "halves"))
    for state, words in (
        ("found", "The box is used: load_images('boxed') reads it."),
        ("empty", "The box is not there. Any of these will do: - buy one"),
    ):
        code, said = run("data")
        assert code == 0
        assert f"a shelf {places[0].folder} {state} a drawer {places[1].folder} not looked at {words}" in said
        for drawn in ("strokes", "halves"):
            assert f"{drawn} needs no file: load_images('{drawn}') draws it." in said


def test_data_names_the_damage(tmp_path, monkeypatch):
    write_mnist(tmp_path / "data", monkeypatch)
    (tmp_path / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    code, said = run("data", "--root", str(tmp_path / "data"))
    assert code == 0
    assert "t10k-labels-idx1-ubyte is missing" in said
    assert "MNIST is used" not in said


@pytest.mark.parametrize(
    ("command", "lessons"),
    [
        ((), ["wavescore demo", "demo", "data", "Say where MNIST", "bench", "Measure what the package costs"]),
        (("demo",), ["--size", "Side of the images", "--degree", "1 to 6", "a tenth as many are held out", "Example:"]),
        (("bench",), ["--quick", "do all run?", "all 60,000 by default", "bench.csv and bench.png", "Example:"]),
        (
            ("train",),
            ["cnn, unet-small, unet-medium", "no test image", "all 60,000 by default", "gets a log", "Example:"],
        ),
        (("sample",), ["independent, band-tied or local", "wiener", "unet-small", "The beginning", ".npy", "Example:"]),
        (("data",), ["--root", "$WAVESCORE_DATA", "the cache folder", "torchvision's layout"]),
    ],
    ids=["wavescore", "demo", "bench", "train", "sample", "data"],
)
def test_help_teaches(command, lessons):
    code, said = run(*command, "--help")
    assert code == 0
    for lesson in lessons:
        assert lesson in said


def test_version():
    assert run("--version") == (0, f"wavescore {ws.__version__}")


def test_the_package_is_the_command():
    run = subprocess.run([sys.executable, "-m", "wavescore_lite", "--version"], capture_output=True, text=True)
    assert run.stdout == f"wavescore {ws.__version__}\n"


def test_no_command_shows_the_help():
    code, said = run()
    assert code == 2
    assert "Start with: wavescore demo" in said
