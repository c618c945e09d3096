"""Networks against the formulas they are built on, and their files against damage."""

import csv
import math
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from torch import nn

import wavescore_lite as ws
from wavescore_lite.networks import Network, files, networks, preconditioning, save_network
from wavescore_lite.networks.backbones import SelfAttention
from wavescore_lite.networks.designs import DESIGNS
from wavescore_lite.networks.files import WEIGHTS, weights_file

pytestmark = pytest.mark.usefixtures("single_threaded")

MEAN, SPREAD = 0.13, 0.31
COMMITTED = sorted(path.name for path in WEIGHTS.glob("*.safetensors"))


def randomised(name="unet-small", size=8, seed=0):
    """A network whose every weight is random, none of them zero."""
    network = Network(name, size, MEAN, SPREAD)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            fan_in = weights[0].numel() if weights.ndim > 1 else 4
            weights.copy_(torch.randn(weights.shape, generator=generator) / math.sqrt(fan_in))
    return network


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", DESIGNS)
def test_documented_parameters_are_the_networks(name):
    row = re.search(rf"^ +{name} +.* ([\d,]+) +([\d,]+)$", Network.__doc__, re.MULTILINE)
    documented = [int(number.replace(",", "")) for number in row.groups()]
    counts = [Network(name, size).num_parameters for size in (32, 64)]
    assert counts == documented
    assert 4 * max(counts) < 3e6


@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("name", DESIGNS)
def test_untrained_network_is_the_posterior_mean_of_a_gaussian_pixel(name, size):
    """Bayes for x_0 ~ N(MEAN, SPREAD^2) in each pixel: precisions add, means are weighted by them."""
    noisy = normal(2, size, size).double()
    for sigma in (0.1, 1.7, 5.0):
        prior, seen = SPREAD**-2, sigma**-2
        expected = (prior * MEAN + seen * noisy) / (prior + seen)
        estimate = Network(name, size, MEAN, SPREAD).denoise(noisy, sigma)
        assert estimate.dtype == torch.float64
        assert_allclose(estimate, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_preconditioning_gives_input_and_target_unit_variance_and_skips_best(sigma):
    generator = np.random.default_rng(0)
    clean = SPREAD * np.sqrt(12) * (generator.random(400_000) - 0.5)  # no Gaussian: only the variance counts
    noisy = clean + sigma * generator.standard_normal(400_000)
    factors = preconditioning(torch.tensor(sigma).double(), torch.tensor(SPREAD).double())
    c_skip, c_out, c_in, c_noise = (factor.item() for factor in factors)
    assert_allclose(np.var(c_in * noisy), 1, rtol=0.01)
    assert_allclose(np.var((clean - c_skip * noisy) / c_out), 1, rtol=0.01)
    best = minimize_scalar(lambda skip: np.var(clean - skip * noisy), bounds=(0, 1), method="bounded").x
    assert_allclose(best, c_skip, atol=0.005)
    assert c_noise == pytest.approx(math.log(sigma) / 4)


@pytest.mark.parametrize("name", DESIGNS)
def test_denoise_is_the_parametrisation_in_single_precision(name):
    network, noisy, sigma = randomised(name), 2 * normal(3, 8, 8), 1.7
    estimate = network.denoise(noisy, sigma)
    assert estimate.dtype == torch.float32
    assert not estimate.requires_grad
    network, noisy = network.double(), noisy.double()
    spread, mean = network.sigma_data, network.mean
    total = sigma**2 + spread**2
    with torch.no_grad():
        trained = network.backbone(
            ((noisy - mean) / total**0.5)[:, None], torch.full((3,), math.log(sigma) / 4).double()
        )
    expected = mean + spread**2 / total * (noisy - mean) + sigma * spread / total**0.5 * trained[:, 0]
    assert trained.std() > 0.1
    assert_allclose(estimate, expected, rtol=1e-4, atol=1e-4)
    assert_allclose(network.score(noisy, sigma), (expected - noisy) / sigma**2, rtol=1e-4, atol=1e-4)


def test_forward_takes_a_noise_level_for_each_image():
    network, noisy = randomised(), normal(3, 8, 8)
    sigmas = (0.3, 1.0, 4.0)
    together = network(noisy, torch.tensor(sigmas)).detach()
    apart = torch.cat([network.denoise(image[None], sigma) for image, sigma in zip(noisy, sigmas, strict=True)])
    assert_allclose(together, apart, atol=1e-5)


def test_the_trained_part_knows_the_noise_level():
    network, images = randomised(), normal(1, 1, 8, 8)
    answers = [network.backbone(images, torch.tensor([math.log(sigma) / 4])) for sigma in (1.0, 1.3, 4.0)]
    assert (answers[0] - answers[1]).abs().max() > 0.01
    assert (answers[0] - answers[2]).abs().max() > 0.1


@pytest.mark.parametrize("name", DESIGNS)
def test_every_weight_has_a_say(name):
    network = randomised(name)
    network.estimate(normal(2, 16, 16), torch.tensor([0.5, 2.0])).square().sum().backward()
    for label, weights in network.named_parameters():
        slope = (weights.grad.flatten(1) if weights.ndim > 1 else weights.grad[:, None]).abs().amax(1)
        if label.endswith("ask.bias"):  # that of the keys adds the same to all of them, which a softmax forgets
            asking, keys, values = slope.chunk(3)
            assert keys.max() < 1e-3 * values.max(), label
            slope = torch.cat([asking, values])
        assert slope.min() > 0, label


@pytest.mark.parametrize("name", [name for name in DESIGNS if name != "cnn"])
def test_fine_detail_passes_by_the_coarse_resolutions(name):
    network, c_noise = randomised(name), torch.zeros(1)
    for up in network.backbone.up:
        nn.init.zeros_(up.weight)
    checkered = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 1.0
    answers = [network.backbone(image[None, None], c_noise) for image in (checkered, 1 - checkered)]
    assert (answers[0] - answers[1]).abs().max() > 0.1


def resolutions(network, kind):
    """Sides of what modules of a kind return for one image."""
    seen = set()
    hooks = [
        module.register_forward_hook(lambda _, __, out: seen.add(out.shape[-1]))
        for module in network.modules()
        if isinstance(module, kind)
    ]
    network.denoise(torch.zeros(1, network.size, network.size), 1.0)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("size", [32, 64])
def test_resolutions(size):
    finest = {32, size}
    coarsest = {"cnn": {size}, "unet-small": {16, 8} | finest, "unet-wide": {16, 8} | finest}
    for name in DESIGNS:
        network = Network(name, size)
        assert resolutions(network, nn.Conv2d) == coarsest.get(name, {16, 8, 4} | finest), name
        assert resolutions(network, SelfAttention) == ({8, 4} if name == "unet-attention" else set()), name


def shift_error(name):
    """How far the answer to a shifted blot is from the shifted answer, relative to the answer."""
    network, blot = randomised(name, size=64), torch.full((1, 64, 64), MEAN)
    blot[0, 30:34, 31:34] = 1.0
    answer = network.denoise(blot, 0.5)
    shifted = network.denoise(blot.roll((1, 2), dims=(1, 2)), 0.5)
    centre = slice(16, 48)
    moved = answer.roll((1, 2), dims=(1, 2))
    return ((shifted - moved)[0, centre, centre].abs().max() / (answer - MEAN).abs().max()).item()


def test_the_cnn_commutes_with_shifts_away_from_the_borders_and_a_unet_does_not():
    assert shift_error("cnn") < 1e-4
    assert shift_error("unet-small") > 1e-2


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(0)
    layer, x = SelfAttention(16), normal(2, 16, 4, 4)
    nn.init.normal_(layer.answer.weight)
    with torch.no_grad():
        asked = layer.ask(layer.norm(x)).flatten(2).numpy().astype(float)
        found = layer(x)
    mixed = np.empty((2, 16, 16))
    for image in range(2):
        for head in range(4):
            query, key, value = (asked[image, 16 * part + 4 * head :][:4] for part in range(3))
            weights = np.exp(query.T @ key / 2)
            mixed[image, 4 * head : 4 * head + 4] = value @ (weights / weights.sum(1, keepdims=True)).T
    answer = np.einsum("oc,ncp->nop", layer.answer.weight.detach()[:, :, 0, 0].numpy(), mixed)
    assert_allclose(found, x.numpy() + answer.reshape(x.shape), atol=1e-4)


def test_batches_bound_the_memory_and_do_not_matter(monkeypatch):
    network, noisy = randomised(), normal(7, 8, 8)
    whole = network.denoise(noisy, 1.0)
    sizes = []
    network.backbone.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    monkeypatch.setitem(networks.BATCH_PIXELS, "cpu", 3 * 64)
    assert_allclose(network.denoise(noisy, 1.0), whole, atol=1e-5)
    assert sizes == [3, 3, 1]


def test_samples_in_the_trained_range():
    levels = ws.noise_levels(4, sigma_max=5.0, sigma_min=0.1)
    assert ws.sample(randomised(), (2, 8, 8), levels).isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unet",), "network is 'unet'; expected one of 'cnn', 'unet-small', "),
        (("cnn", 24), "size is 24; expected a power of two >= 8"),
        (("cnn", 4), "size is 4; expected a power of two >= 8"),
        (("cnn", 8.0), "size is 8.0; expected a power of two >= 8"),
        (("cnn", 8, 0.1, 0.0), "mean and sigma_data are 0.1 and 0.0; expected finite numbers, the latter > 0"),
        (("cnn", 8, math.nan), "mean and sigma_data are nan and 1.0; expected finite numbers"),
    ],
)
def test_refuses_what_is_no_network(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Network(*arguments)


def test_refuses_what_other_denoisers_refuse():
    network, noisy = Network("cnn", 8), torch.zeros(2, 8, 8)
    with pytest.raises(TypeError, match="dtype uint8"):
        network.denoise(noisy.byte(), 1.0)
    with pytest.raises(ValueError, match=r"expected \[n, 8, 8\]"):
        network.denoise(torch.zeros(2, 16, 16), 1.0)
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        network.score(noisy * math.nan, 1.0)
    for sigma in (0, -1, math.nan, "1"):
        with pytest.raises(ValueError, match="expected a finite noise level > 0"):
            network.denoise(noisy, sigma)
    for sigma in (0.0099, 40.1, 80):
        with pytest.raises(ValueError, match=rf"sigma is {sigma}; expected one in \[0.01, 40\], where Network\("):
            network.denoise(noisy, sigma)
    for sigma in (0.01, torch.tensor(0.01), 40, torch.tensor(40.0)):
        network.denoise(noisy, sigma)


@pytest.fixture
def saved(tmp_path):
    network = randomised("unet-small")
    line = save_network(network, tmp_path, "strokes", "wavescore train unet-small, and so on")
    return network, tmp_path, line


def test_loaded_network_is_the_saved_one(saved):
    network, folder, line = saved
    loaded, noisy = ws.load_network("unet-small", 8, "strokes", folder), normal(2, 8, 8)
    assert torch.equal(loaded.denoise(noisy, 1.0), network.denoise(noisy, 1.0))
    assert repr(loaded) == "Network('unet-small', size=8)"
    assert not any(weights.requires_grad for weights in loaded.parameters())
    assert sorted(path.name for path in folder.iterdir()) == ["table.csv", "unet-small-strokes-8.safetensors"]
    with open(folder / "table.csv", newline="") as stream:
        assert list(csv.DictReader(stream)) == [line]
    assert list(line) == ["network", "dataset", "size", "seed", "noise", "sha256", "command"]


def test_saving_again_replaces_the_line_and_keeps_the_others(saved):
    _, folder, first = saved
    other = save_network(randomised("cnn"), folder, "strokes", "")
    again = save_network(randomised("unet-small", seed=5), folder, "strokes", "")
    assert again["sha256"] != first["sha256"]
    with open(folder / "table.csv", newline="") as stream:
        assert list(csv.DictReader(stream)) == [other, again]
    for name in ("cnn", "unet-small"):
        ws.load_network(name, 8, "strokes", folder)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:], lambda b: b""])
def test_damaged_weights_are_refused(saved, damage):
    _, folder, line = saved
    path = folder / weights_file("unet-small", 8, "strokes")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"is damaged or was replaced: its sha256 is .*; expected {line['sha256']}"):
        ws.load_network("unet-small", 8, "strokes", folder)


def test_seeds_of_one_design_lie_side_by_side(saved):
    first, folder, _ = saved
    second = randomised("unet-small", seed=5)
    save_network(second, folder, "strokes", "", seed=5)
    noisy = normal(2, 8, 8)
    for seed, network in ((0, first), (5, second)):
        loaded = ws.load_network("unet-small", 8, "strokes", folder, seed=seed)
        assert torch.equal(loaded.denoise(noisy, 1.0), network.denoise(noisy, 1.0))
    with pytest.raises(ValueError, match=r"seed 1, .*; expected one of unet-small \(strokes, 8\), .*, seed 5\)$"):
        ws.load_network("unet-small", 8, "strokes", folder, seed=1)


def test_the_law_of_the_noise_is_kept_and_fixes_the_range(tmp_path):
    network = Network("cnn", 8, noise="root")
    save_network(network, tmp_path, "strokes", "")
    loaded = ws.load_network("cnn", 8, "strokes", tmp_path)
    assert (loaded.noise, loaded.sigma_range) == ("root", (0.1, 5.0))
    with pytest.raises(ValueError, match=r"sigma is 10; expected one in \[0.1, 5\]"):
        loaded.denoise(normal(2, 8, 8), 10.0)


def test_unknown_networks_are_refused_with_what_is_there(saved, tmp_path):
    _, folder, _ = saved
    for asked in (("unet-medium", 8, "strokes"), ("unet-small", 16, "strokes"), ("unet-small", 8, "mnist")):
        with pytest.raises(ValueError, match=r"no trained network .*; expected one of unet-small \(strokes, 8\)$"):
            ws.load_network(*asked, folder)
    with pytest.raises(ValueError, match="expected one of none: train one with `wavescore train`"):
        ws.load_network("cnn", folder=tmp_path / "missing")
    (folder / weights_file("unet-small", 8, "strokes")).unlink()
    with pytest.raises(FileNotFoundError, match=r"unet-small-strokes-8\.safetensors"):
        ws.load_network("unet-small", 8, "strokes", folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_absent_device_is_refused(saved):
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no GPU"):
        ws.load_network("unet-small", 8, "strokes", saved[1], device="cuda")


def test_committed_weights_load_and_are_small():
    rows = files.read_rows(WEIGHTS / files.TABLE)
    names = [weights_file(row["network"], row["size"], row["dataset"], int(row["seed"])) for row in rows]
    assert sorted(names) == COMMITTED
    for row, file in zip(rows, names, strict=True):
        assert (WEIGHTS / file).stat().st_size < 3e6
        network = ws.load_network(row["network"], int(row["size"]), row["dataset"], seed=int(row["seed"]))
        assert network.sigma_range == {"root": (0.1, 5.0), "log-normal": (0.01, 40.0)}[row["noise"]]
        assert row["command"].removesuffix(" --bfloat16").endswith(f" --seed {row['seed']} --noise {row['noise']}")
        assert 0 < network.mean < network.sigma_data < 0.5
        assert row["command"].startswith(f"wavescore train {row['network']} --dataset {row['dataset']} ")


def test_committed_logs_are_of_the_whole_training():
    """A log for each network, to the last step of its command, its errors lower at the end than at the start."""
    rows = files.read_rows(WEIGHTS / files.TABLE)
    assert {path.name for path in WEIGHTS.glob("*.csv")} == {
        files.TABLE,
        *(files.log_file(row["network"], row["size"], row["dataset"], int(row["seed"])) for row in rows),
    }
    for row in rows:
        log = files.training_log(row["network"], int(row["size"]), row["dataset"], seed=int(row["seed"]))
        steps = [int(line["step"]) for line in log]
        assert steps == sorted(set(steps))
        assert f"--steps {steps[-1]} " in row["command"]
        for column in (name for name in log[0] if name.startswith("mse_")):
            assert float(log[-1][column]) < float(log[0][column])
