import gzip
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from tests.image_statistics import statistics
from wavescore_lite.data import loading, mnist, registry, shards, strokes
from wavescore_lite.data.idx import read_idx
from wavescore_lite.data.protocol import Dataset, DataUnavailable
from wavescore_lite.support.storage import cache_folder

REAL = os.environ.get("WAVESCORE_DATA", "")
SMALL = {"train": 20, "test": 10}


@pytest.fixture(autouse=True)
def clean_place(tmp_path, monkeypatch):
    """No MNIST anywhere, an empty cache folder, no network, and no decision taken yet."""
    monkeypatch.delenv("WAVESCORE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WAVESCORE_OFFLINE", "1")
    forget()
    yield
    forget()


def forget():
    loading._decide.cache_clear()
    loading._ensure.cache_clear()


@pytest.fixture
def small(monkeypatch):
    """Let MNIST have 20 and 10 images."""
    for split, count in SMALL.items():
        monkeypatch.setitem(mnist.COUNTS, split, count)


def idx(array):
    header = [0x0800 + array.ndim, *array.shape]
    return np.array(header, dtype=">u4").tobytes() + array.astype(np.uint8).tobytes()


def write_tree(folder, zipped=False):
    """A sound MNIST of the small size; returns its arrays."""
    rng = np.random.default_rng(7)
    raw = Path(folder) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    arrays = {}
    for (split, kind), file in mnist.FILES.items():
        shape = (SMALL[split], 28, 28) if kind == "images" else (SMALL[split],)
        arrays[split, kind] = rng.integers(0, 256 if kind == "images" else 10, shape, dtype=np.uint8)
        data = idx(arrays[split, kind])
        (raw / (file + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return arrays


IMAGES = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("zipped", [False, True])
def test_read_idx_returns_what_was_written(tmp_path, zipped):
    data = gzip.compress(idx(IMAGES)) if zipped else idx(IMAGES)
    (tmp_path / ("file" + ".gz" * zipped)).write_bytes(data)
    assert_array_equal(read_idx(tmp_path / "file", (2, 3, 3)), IMAGES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"truncated: 0 bytes, expected 34"),
        (idx(IMAGES)[:9], r"truncated: 9 bytes, expected 34"),
        (idx(IMAGES)[:-1], r"truncated: 33 bytes, expected 34"),
        (idx(IMAGES) + b"\0", r"too long: 35 bytes, expected 34"),
        (b"\0\0\x09\x03" + idx(IMAGES)[4:], r"magic number 0x00000903, expected 0x00000803"),
        (idx(IMAGES.reshape(3, 2, 3)), r"declares shape \(3, 2, 3\), expected \(2, 3, 3\)"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_read_idx_refuses_by_name(tmp_path, data, message, zipped):
    name = "digits.gz" if zipped else "digits"
    (tmp_path / name).write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ValueError, match=name + ".*" + message):
        read_idx(tmp_path / "digits", (2, 3, 3))


@pytest.mark.parametrize(
    "data", [gzip.compress(idx(IMAGES))[:-12], b"not gzip at all", b""], ids=["cut short", "no gzip", "empty"]
)
def test_read_idx_refuses_a_broken_gzip(tmp_path, data):
    (tmp_path / "digits.gz").write_bytes(data)
    with pytest.raises(ValueError, match=r"digits\.gz.*(truncated|expected 34)"):
        read_idx(tmp_path / "digits", (2, 3, 3))


def test_read_idx_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"digits is missing .*digits\.gz.*\(2, 3, 3\)"):
        read_idx(tmp_path / "digits", (2, 3, 3))


def test_mnist_must_have_its_full_size(tmp_path):
    write_tree(tmp_path)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.*\(20, 28, 28\), expected \(60000, 28, 28\)"):
        loading.load_images("mnist", root=tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_images_and_labels_from_a_folder(tmp_path, small, zipped):
    arrays = write_tree(tmp_path, zipped)
    images = loading.load_images("mnist", size=28, split="test", limit=4, root=tmp_path)
    assert images.dtype == torch.float32
    assert_allclose(images.numpy(), arrays["test", "images"][:4] / 255, rtol=1e-6)
    labels = loading.load_labels("mnist", root=tmp_path)
    assert labels.dtype == torch.int64
    assert_array_equal(labels, arrays["train", "labels"])


def test_the_first_place_set_decides(tmp_path, small, monkeypatch):
    write_tree(tmp_path / "data")
    monkeypatch.setenv("WAVESCORE_DATA", str(tmp_path / "data"))
    assert loading.resolve_dataset("mnist") == "mnist"
    with pytest.raises(DataUnavailable, match=r"root holds no MNIST.*train-images.*WAVESCORE_DATA"):
        loading.resolve_dataset("mnist", root=tmp_path / "elsewhere")
    assert [(name, state) for name, _, state in loading.where(tmp_path / "elsewhere")] == [
        ("root", "no MNIST"),
        ("WAVESCORE_DATA", "not looked at"),
        ("the cache folder", "not looked at"),
    ]
    monkeypatch.setenv("WAVESCORE_DATA", str(tmp_path / "typo"))
    with pytest.raises(DataUnavailable, match=r"WAVESCORE_DATA holds no MNIST.*typo"):
        loading.load_labels("mnist")


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_an_incomplete_or_damaged_copy_is_an_error_even_for_auto(tmp_path, small, name):
    write_tree(tmp_path)
    labels = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx(np.full(10, 11)))
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte holds the label 11"):
        loading.resolve_dataset(name, root=tmp_path)
    assert "label 11" in loading.where(tmp_path)[0][2]
    labels.write_bytes(b"")
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is truncated"):
        loading.load_images(name, root=tmp_path)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte is missing"):
        loading.load_images(name, root=tmp_path)


def test_auto_says_once_what_it_took(tmp_path, small, monkeypatch, capfd):
    assert [loading.resolve_dataset(), loading.resolve_dataset("auto")] == ["strokes", "strokes"]
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("wavescore: the dataset is strokes, because MNIST is not in the cache folder")
    assert "WAVESCORE_OFFLINE" in said[0]
    write_tree(tmp_path)
    monkeypatch.setenv("WAVESCORE_DATA", str(tmp_path))
    assert loading.load_images(limit=3).shape == (3, 32, 32)
    assert loading.load_labels(limit=3).shape == (3,)
    assert capfd.readouterr().err == "wavescore: the dataset is mnist, found in WAVESCORE_DATA\n"


def test_offline_without_mnist_names_the_ways_out():
    with pytest.raises(DataUnavailable, match=r"WAVESCORE_OFFLINE.*set WAVESCORE_DATA.*torchvision.*'strokes'"):
        loading.load_images("mnist")


@pytest.fixture
def fetcher(tmp_path, small, monkeypatch):
    """A stand-in for torchvision's MNIST whose server is a folder; its `work` can be replaced."""
    server = tmp_path / "server"
    server.mkdir()
    (server / "first.gz").touch()

    class MNIST:
        mirrors = (f"{(tmp_path / 'nowhere').as_uri()}/", f"{server.as_uri()}/")
        resources = (("first.gz", "checksum"),)
        work = staticmethod(write_tree)

        def __init__(self, root, download):
            assert download
            print("Downloading")
            self.work(root)

    module, parent = types.ModuleType("torchvision.datasets"), types.ModuleType("torchvision")
    module.MNIST = MNIST
    monkeypatch.setitem(sys.modules, "torchvision", parent)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    monkeypatch.delenv("WAVESCORE_OFFLINE")
    return MNIST


def cached_files():
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file())


def test_download_lands_in_the_cache_folder(fetcher, capfd):
    assert loading.resolve_dataset("auto") == "mnist"
    out, err = capfd.readouterr()
    assert (out, err) == ("", "Downloading\nwavescore: the dataset is mnist, downloaded into the cache folder\n")
    assert cached_files() == sorted(mnist.FILES.values())
    assert [path.name for path in cache_folder().iterdir()] == ["MNIST"]
    fetcher.work = None
    assert loading.resolve_dataset("mnist") == "mnist"


def failing(root):
    write_tree(root)
    raise RuntimeError("Error downloading\nfirst.gz")


def cut_short(root):
    write_tree(root)
    file = Path(root) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("work", "reason"), [(failing, "Error downloading first.gz"), (cut_short, "truncated: 100 bytes")]
)
def test_a_failed_download_leaves_nothing(fetcher, work, reason, capfd):
    fetcher.work = staticmethod(work)
    with pytest.raises(DataUnavailable, match=f"could not be fetched .*{reason}.*set WAVESCORE_DATA"):
        loading.load_images("mnist")
    assert cached_files() == []
    assert not mnist.is_complete(cache_folder())
    capfd.readouterr()
    assert loading.resolve_dataset("auto") == "strokes"
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("wavescore")]
    assert len(lines) == 1


def test_an_interrupted_download_leaves_nothing(fetcher):
    def interrupted(root):
        write_tree(root)
        raise KeyboardInterrupt

    fetcher.work = staticmethod(interrupted)
    with pytest.raises(KeyboardInterrupt):
        loading.resolve_dataset("mnist")
    assert cached_files() == []


def test_the_scratch_of_a_killed_download_is_not_data(tmp_path, small):
    write_tree(cache_folder() / "mnist-killed")
    assert not mnist.is_complete(cache_folder())


def test_of_two_downloads_the_first_stays(fetcher):
    def overtaken(root):
        write_tree(root)
        write_tree(cache_folder())
        (cache_folder() / "MNIST" / "raw" / "winner").touch()

    fetcher.work = staticmethod(overtaken)
    assert loading.resolve_dataset("mnist") == "mnist"
    assert cached_files() == sorted([*mnist.FILES.values(), "winner"])


def test_no_server_answers(fetcher):
    fetcher.mirrors = fetcher.mirrors[:1]
    with pytest.raises(DataUnavailable, match=r"no server answers.*set WAVESCORE_DATA"):
        loading.load_images("mnist")


def test_a_silent_server_is_given_up(monkeypatch):
    hang_up = threading.Event()

    def silent(*arguments, **options):
        hang_up.wait(60)
        raise OSError

    monkeypatch.setattr(mnist, "PATIENCE", 0.05)
    monkeypatch.setattr(mnist.urllib.request, "urlopen", silent)
    assert not mnist._answers("http://localhost/")
    hang_up.set()


@pytest.mark.parametrize("error", [RuntimeError, ImportError, OSError, AttributeError])
def test_a_torchvision_that_does_not_import(tmp_path, monkeypatch, error):
    folder = tmp_path / "broken" / "torchvision"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f"raise {error.__name__}('operator does not exist')")
    monkeypatch.syspath_prepend(folder.parent)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv("WAVESCORE_OFFLINE")
    with pytest.raises(DataUnavailable, match=r"torchvision does not import .operator does not exist.*; set"):
        loading.load_images("mnist")
    assert loading.resolve_dataset("auto") == "strokes"


def test_the_ordinary_path_does_not_import_torchvision():
    code = (
        "import sys, wavescore_lite as ws; ws.load_images('strokes', size=8, limit=1); "
        "sys.exit('torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "cifar"}, ValueError, "'cifar'; expected one of 'auto', 'mnist', 'strokes'"),
        ({"split": "valid"}, ValueError, "split is 'valid'; expected one of 'train', 'test'"),
        ({"size": 7}, ValueError, "size is 7; expected an integer >= 8"),
        ({"size": 32.0}, ValueError, "size is 32.0; expected an integer >= 8"),
        ({"size": True}, ValueError, "size is True; expected an integer >= 8"),
        ({"limit": 0}, ValueError, "limit is 0; expected an integer from 1 to 60000"),
        ({"limit": 10_001, "split": "test"}, ValueError, "limit is 10001; expected an integer from 1 to 10000"),
        ({"limit": "all"}, ValueError, "limit is 'all'; expected an integer from 1 to 60000"),
    ],
)
def test_wrong_requests_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        loading.load_images(**{"name": "strokes", **arguments})
    if "size" not in arguments:
        with pytest.raises(error, match=message):
            loading.load_labels(**{"name": "strokes", **arguments})


def test_a_new_data_set_is_one_module_and_its_name(monkeypatch):
    """Black and white images, 12 of them, that no other place in the package knows of."""
    module = types.ModuleType("wavescore_lite.data.halves")
    module.DATASET = Dataset(
        name="halves",
        counts={"train": 12, "test": 4},
        sizing="as they are",
        images=lambda size, split, count, root: (
            (torch.arange(count) % 2)[:, None, None].expand(count, size, size).float()
        ),
        labels=lambda split, count, root: torch.arange(count) % 2,
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(ValueError, match="dataset is 'halves'; expected one of 'auto', 'mnist', 'strokes'"):
        loading.load_images("halves")
    monkeypatch.setattr(registry, "NAMES", (*registry.NAMES, "halves"))
    assert loading.load_images("halves", size=8).shape == (12, 8, 8)
    assert loading.load_labels("halves", split="test").tolist() == [0, 1, 0, 1]
    assert (loading.resolve_dataset("halves"), loading.where(name="halves")) == ("halves", [])
    with pytest.raises(ValueError, match="limit is 13; expected an integer from 1 to 12"):
        loading.load_images("halves", limit=13)


@pytest.mark.parametrize("name", registry.NAMES)
def test_a_data_set_says_its_own_name(name):
    assert registry.dataset(name).name == name
    assert set(registry.AUTO) <= set(registry.NAMES)


def test_names_are_known_without_torch():
    code = "import sys, wavescore_lite.data.registry; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def triangle_resize(images, size):
    """Bilinear resize with antialiasing written out: a triangle as wide as the coarser of the two pixel grids."""
    source = images.shape[-1]
    step = source / size
    centres = (np.arange(size) + 0.5) * step
    width = max(step, 1)
    weights = np.maximum(0, 1 - abs(centres[:, None] - np.arange(source) - 0.5) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ images @ weights.T


@pytest.mark.parametrize("size", [8, 16, 28, 32, 64])
def test_resize_is_antialiased_bilinear(size, monkeypatch):
    monkeypatch.setattr(mnist, "BATCH", 3)
    images = np.random.default_rng(1).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    resized = mnist.resize(images, size)
    assert resized.dtype == torch.float32
    assert_allclose(resized.numpy(), triangle_resize(images / 255, size), atol=1e-6)
    assert 0 <= resized.min() <= resized.max() <= 1


def test_stroke_images_agree_with_the_drawing():
    images = loading.load_images("strokes", size=16, split="test", limit=30)
    items = 60_000 + np.arange(30)
    assert_array_equal(images.numpy(), strokes.draw(items, 16).astype(np.float32) / np.float32(255))
    assert_array_equal(loading.load_labels("strokes", split="test", limit=30), strokes.labels(items))
    assert len(loading.load_labels("strokes")) == 60_000


def stroke_files():
    return sorted((cache_folder() / "strokes").glob("*"))


def test_whole_shards_of_strokes_are_kept(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 50)
    first = loading.load_images("strokes", size=8, limit=120)
    assert [file.name for file in stroke_files()] == ["v1-8-train-0.npz", "v1-8-train-50.npz"]
    for file, damage in zip(stroke_files(), (b"", stroke_files()[1].read_bytes()[:-700]), strict=True):
        file.write_bytes(damage)
    assert torch.equal(loading.load_images("strokes", size=8, limit=120), first)
    flipped = bytearray(stroke_files()[0].read_bytes())
    flipped[1000] ^= 255
    stroke_files()[0].write_bytes(flipped)
    assert torch.equal(loading.load_images("strokes", size=8, limit=100), first[:100])

    def refuse(*arguments):
        raise AssertionError("drawn again")

    monkeypatch.setattr(strokes, "draw", refuse)
    assert torch.equal(loading.load_images("strokes", size=8, limit=70), first[:70])


def test_strokes_need_no_cache_folder(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(shards, "SHARD", 5)
    assert loading.load_images("strokes", size=8, limit=5).shape == (5, 8, 8)


def test_statistics_against_numpy(rng):
    images = rng.random((300, 8, 8)) * np.linspace(0, 1, 8)
    found = statistics(torch.from_numpy(images))
    covariance = np.cov(images.reshape(300, 64).T, bias=True)
    eigenvalues = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    shares = np.cumsum(eigenvalues) / eigenvalues.sum()
    assert_allclose(
        [found[key] for key in ("mean", "std", "variance", "leading")],
        [images.mean(), images.std(), np.trace(covariance) / 64, shares[0]],
        rtol=1e-12,
    )
    for percent in (50, 90, 99):
        components = found[f"components_{percent}"]
        assert shares[components - 1] >= percent / 100 > shares[components - 2]


def test_statistics_find_the_slope_of_a_power_law():
    frequency = np.fft.fftfreq(32) * 32
    ring = np.rint(np.hypot(frequency[:, None], frequency))
    image = np.fft.ifft2(np.maximum(ring, 1) ** -1.5).real
    assert_allclose(statistics(torch.from_numpy(np.stack([image, -image])))["slope"], -3, rtol=1e-9)


@pytest.mark.skipif(not REAL, reason="WAVESCORE_DATA is not set: no real MNIST to read")
def test_real_mnist():
    images = loading.load_images("mnist", size=28, root=REAL)
    assert images.shape == (60_000, 28, 28)
    assert_allclose([images.double().mean(), images.double().std()], [0.1306605, 0.3081078], atol=1e-6)
    assert loading.load_labels("mnist", limit=5, root=REAL).tolist() == [5, 0, 4, 1, 9]
    resized = loading.load_images("mnist", size=32, split="test", limit=100, root=REAL)
    source = loading.load_images("mnist", size=28, split="test", limit=100, root=REAL)
    assert_allclose(resized.numpy(), triangle_resize(source.double().numpy(), 32), atol=1e-6)
