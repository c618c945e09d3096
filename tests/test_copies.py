"""Models and couplings survive what others do to them: pickles, processes, copies, files, devices."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch

import wavescore_lite as ws
from tests.fitted import BASIS, DENOISERS, SIGMA, SIZE, score, strokes
from wavescore_lite.couplings import FAMILIES
from wavescore_lite.denoisers import BASELINES
from wavescore_lite.networks import Network

OWN = ws.PolynomialFamily(np.array([[0], [1], [2]]))
WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "old pickle": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),
    "deepcopy": copy.deepcopy,
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def quadratic():
    """A coupling whose rule cannot be pickled."""
    return ws.Coupling("quadratic", lambda basis: [ws.Group(np.arange(basis.dim)[:, None], OWN)])


MODELS = DENOISERS | {"own": score(ws.WaveletScore, quadratic())}


@pytest.fixture(scope="module")
def images():
    return strokes()


@pytest.fixture(scope="module", params=MODELS)
def model(request, images):
    return MODELS[request.param](images)


@ways
def test_a_copy_denoises_alike(way, model, images):
    again = way(model)
    assert type(again) is type(model)
    assert again.shape == model.shape
    assert torch.equal(again.denoise(images[:5], SIGMA), model.denoise(images[:5], SIGMA))


@pytest.mark.parametrize("name", ["independent", "automatic", "sampled", "own", "joint"])
def test_a_copy_goes_on_fitting_by_itself(name, images):
    """Its sums are its own, and merge with those that it came from."""
    model = MODELS[name](images[:200])
    before = model.denoise(images[:5], SIGMA)
    again = pickle.loads(pickle.dumps(model)).partial_fit(images[200:])
    assert torch.equal(model.denoise(images[:5], SIGMA), before)
    assert again.fingerprint == MODELS[name](images).fingerprint
    torch.testing.assert_close(again.denoise(images[:5], SIGMA), MODELS[name](images).denoise(images[:5], SIGMA))
    if name != "sampled":
        assert model.merge(again).fingerprint.startswith("500 images")


@ways
@pytest.mark.parametrize("family", FAMILIES)
def test_couplings_are_their_name_and_options(way, family):
    coupling = FAMILIES[family](degree=2, parent=True, shared=True)
    again = way(coupling)
    assert again == coupling
    assert again.options == coupling.options
    for basis in (BASIS, ws.WaveletBasis(16)):
        ours, theirs = coupling.groups(basis), again.groups(basis)
        assert len(ours) == len(theirs)
        assert all(one.equals(other) for one, other in zip(ours, theirs, strict=True))
    assert len(pickle.dumps(coupling)) < 300


@ways
def test_a_coupling_of_a_file_keeps_its_tables_and_knows_of_which_basis(way, images, tmp_path):
    MODELS["own"](images).save(tmp_path / "model")
    for model in (ws.WaveletScore.load(tmp_path / "model"), MODELS["own"](images)):
        again = way(model)
        assert again.coupling.groups(BASIS)[0].equals(model.groups[0])
        with pytest.raises(ValueError, match=r"the tables of this coupling are of WaveletBasis\(8, .*\(16,"):
            again.coupling.groups(ws.WaveletBasis(16))


def test_processes_take_models(images):
    models = [MODELS[name](images) for name in ("Wiener", "independent", "own")]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.starmap(denoised, [(model, images[:5].numpy()) for model in models])
    for model, estimate in zip(models, there, strict=True):
        torch.testing.assert_close(torch.from_numpy(estimate), model.denoise(images[:5], SIGMA))


def denoised(model, images):
    return model.denoise(torch.from_numpy(images), SIGMA).numpy()


@pytest.mark.parametrize("kind", BASELINES.values())
def test_baselines_are_kept_in_files(kind, images, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(RuntimeError, match=f"{kind.__name__} is not fitted"):
        kind().save(path)
    model = kind().fit(images)
    model.save(path)
    again = kind.load(path)
    assert again.shape == (SIZE, SIZE)
    assert torch.equal(again.denoise(images[:5], SIGMA), model.denoise(images[:5], SIGMA))
    other = next(another for another in BASELINES.values() if another is not kind)
    with pytest.raises(ValueError, match=f"of kind '{kind.__name__}'; expected '{other.__name__}'"):
        other.load(path)
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"model.safetensors is cut short, damaged"):
        kind.load(path)


def test_a_model_moves_and_is_itself(model, images):
    before = model.denoise(images[:5], SIGMA)
    assert model.to("cpu") is model
    assert torch.equal(model.denoise(images[:5], SIGMA), before)
    if torch.cuda.is_available():
        there = model.to("cuda").denoise(images[:5].cuda(), SIGMA)
        torch.testing.assert_close(there.cpu(), before)
        model.to("cpu")
    elif not isinstance(model, Network):
        with pytest.raises(ValueError, match="torch finds no GPU"):
            model.to("cuda")


def test_a_moved_fit_leaves_those_that_share_its_sums(images):
    """On the device "meta", which has no values, as there may be no GPU here."""
    model = MODELS["automatic"](images)
    lowest, sums = model.moments.lowest, model.moments.to("meta")
    assert {total.device.type for total in sums.stored().values()} == {"meta"}
    assert {total.device.type for total in model.moments.stored().values()} == {"cpu"}
    assert model.moments.lowest is lowest
