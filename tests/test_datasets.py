import gzip
import hashlib
import os
import subprocess
import sys
import threading
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from tests.image_statistics import statistics
from wavescore_lite.data import idx as idx_files
from wavescore_lite.data import loading, mnist, registry, shards, strokes
from wavescore_lite.data.idx import read_idx
from wavescore_lite.data.protocol import Dataset, DataUnavailable
from wavescore_lite.support.storage import cache_folder

REAL = os.environ.get("WAVESCORE_DATA", "")
SMALL = {"train": 20, "test": 10}
SHA256 = hashlib.sha256


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
    """Let MNIST have 20 and 10 images, and be known by their digests."""
    for split, count in SMALL.items():
        monkeypatch.setitem(mnist.COUNTS, split, count)
    for file, content in stand_in()[1].items():
        monkeypatch.setitem(mnist.DIGESTS, file, hashlib.sha256(content).hexdigest())


def idx(array):
    header = [0x0800 + array.ndim, *array.shape]
    return np.array(header, dtype=">u4").tobytes() + array.astype(np.uint8).tobytes()


def stand_in():
    """The arrays of a small MNIST, and its files as bytes, plain and zipped."""
    rng = np.random.default_rng(7)
    arrays, files = {}, {}
    for (split, kind), file in mnist.FILES.items():
        shape = (SMALL[split], 28, 28) if kind == "images" else (SMALL[split],)
        arrays[split, kind] = rng.integers(0, 256 if kind == "images" else 10, shape, dtype=np.uint8)
        files[file] = idx(arrays[split, kind])
        files[f"{file}.gz"] = gzip.compress(files[file], mtime=0)
    return arrays, files


def write_tree(folder, zipped=False):
    """A sound MNIST of the small size; returns its arrays."""
    raw = Path(folder) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    arrays, files = stand_in()
    for file in mnist.FILES.values():
        (raw / (file + ".gz" * zipped)).write_bytes(files[file + ".gz" * zipped])
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
    with pytest.raises(DataUnavailable, match=r"root holds no MNIST.*elsewhere.*WAVESCORE_DATA"):
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
    labels.write_bytes(idx(np.full(10, 9)))
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is damaged: its contents have sha256"):
        loading.resolve_dataset(name, root=tmp_path)
    assert "t10k-labels-idx1-ubyte is damaged" in loading.where(tmp_path)[0][2]
    labels.write_bytes(b"")
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is truncated"):
        loading.load_images(name, root=tmp_path)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte is missing"):
        loading.load_images(name, root=tmp_path)


def test_auto_says_once_what_it_took(tmp_path, small, monkeypatch, capfd):
    assert [loading.resolve_dataset(), loading.resolve_dataset("auto")] == ["strokes", "strokes"]
    said = capfd.readouterr().err
    assert said == "MNIST not found: using the built-in strokes. `wavescore data` says how to get MNIST.\n"
    write_tree(tmp_path)
    monkeypatch.setenv("WAVESCORE_DATA", str(tmp_path))
    assert loading.load_images(limit=3).shape == (3, 32, 32)
    assert loading.load_labels(limit=3).shape == (3,)
    assert capfd.readouterr().err == "wavescore: the dataset is mnist, found in WAVESCORE_DATA\n"


def test_offline_without_mnist_names_the_ways_out():
    with pytest.raises(DataUnavailable, match=r"WAVESCORE_OFFLINE.*set WAVESCORE_DATA.*'strokes'") as refused:
        loading.load_images("mnist")
    assert len(str(refused.value)) < 200


def zeroed(data):
    return data[:30] + bytes(28) + data[58:]


def flipped(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train-images-idx3-ubyte", flipped),
        ("t10k-images-idx3-ubyte", zeroed),
        ("train-labels-idx1-ubyte", lambda data: data[:8] + data[8:][::-1]),
        ("t10k-labels-idx1-ubyte", flipped),
    ],
)
def test_other_pixels_and_labels_are_refused(tmp_path, small, zipped, file, damage):
    write_tree(tmp_path, zipped)
    path = tmp_path / "MNIST" / "raw" / (file + ".gz" * zipped)
    damaged = damage(stand_in()[1][file])
    path.write_bytes(gzip.compress(damaged) if zipped else damaged)
    with pytest.raises(
        ValueError, match=f"{path} is damaged: its contents have sha256 .*expected {mnist.DIGESTS[file]}"
    ):
        loading.load_images("mnist", root=tmp_path)


def test_a_file_that_was_zipped_again_is_sound(tmp_path, small):
    arrays = write_tree(tmp_path, zipped=True)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), compresslevel=1, mtime=5))
    assert len(loading.load_images("mnist", size=28, root=tmp_path)) == len(arrays["train", "images"])


def test_contents_are_verified_once_and_again_when_they_change(tmp_path, small, monkeypatch):
    write_tree(tmp_path)
    digests = []
    monkeypatch.setattr(idx_files.hashlib, "sha256", lambda data: digests.append(len(data)) or SHA256(data))
    for _ in range(2):
        loading.load_images("mnist", root=tmp_path)
        loading.load_labels("mnist", root=tmp_path)
    assert len(digests) == 4
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(flipped(file.read_bytes()))
    os.utime(file, (1, 1))
    with pytest.raises(ValueError, match="is damaged"):
        loading.load_images("mnist", root=tmp_path)


class TestWithoutHome:
    """A user of whom the system knows no home directory."""

    @pytest.fixture(autouse=True)
    def homeless(self, monkeypatch):
        def no_home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", no_home)

    def test_reads_data_that_are_there(self, tmp_path, small, monkeypatch):
        write_tree(tmp_path)
        assert len(loading.load_images("mnist", root=tmp_path)) == 20
        monkeypatch.setenv("WAVESCORE_DATA", str(tmp_path))
        assert loading.resolve_dataset() == "mnist"
        assert [name for name, _, _ in loading.where()] == ["WAVESCORE_DATA"]

    def test_draws_strokes(self, monkeypatch, capfd):
        monkeypatch.setattr(shards, "SHARD", 5)
        assert loading.load_images("auto", size=8, limit=5).shape == (5, 8, 8)
        assert capfd.readouterr().err.startswith("MNIST not found: using the built-in strokes.")
        assert loading.where() == []

    def test_is_told_what_to_set(self):
        with pytest.raises(DataUnavailable, match=r"no folder to look for MNIST in: this user has no home directory"):
            loading.load_images("mnist")
        with pytest.raises(FileNotFoundError, match="no home directory to keep files in; expected XDG_CACHE_HOME"):
            cache_folder()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def servers(tmp_path, small, monkeypatch):
    """Two servers, folders behind them; the first has nothing, the second all. torchvision does not import."""
    folders, running = [], []
    for number in range(2):
        folder = tmp_path / f"server-{number}"
        folder.mkdir()
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        folders.append(folder)
        running.append(server)
    for file, content in stand_in()[1].items():
        if file.endswith(".gz"):
            (folders[1] / file).write_bytes(content)
    monkeypatch.setattr(mnist, "SERVERS", tuple(f"http://127.0.0.1:{s.server_address[1]}/" for s in running))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delenv("WAVESCORE_OFFLINE")
    yield folders
    for server in running:
        server.shutdown()
        server.server_close()


def cached_files():
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file())


ZIPPED = sorted(f"{file}.gz" for file in mnist.FILES.values())


def test_mnist_is_fetched_into_the_cache_folder(servers, monkeypatch, capfd):
    assert loading.resolve_dataset("auto") == "mnist"
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith("wavescore: the dataset is mnist, downloaded into the cache folder\n")
    assert cached_files() == ZIPPED
    monkeypatch.setenv("WAVESCORE_OFFLINE", "1")
    forget()
    assert_allclose(loading.load_images("mnist", 28).numpy(), stand_in()[0]["train", "images"] / 255, rtol=1e-6)
    assert capfd.readouterr().err == ""


def test_a_sound_file_is_taken_from_whichever_server_has_it(servers):
    """The first has two of the files, one of them damaged."""
    for file, content in zip(ZIPPED[:2], (b"none", (servers[1] / ZIPPED[1]).read_bytes()), strict=True):
        (servers[0] / file).write_bytes(content)
    (servers[1] / ZIPPED[1]).unlink()
    assert loading.resolve_dataset("mnist") == "mnist"
    assert cached_files() == ZIPPED


@pytest.mark.parametrize("damage", [lambda data: data[:-9], flipped, lambda data: b""])
def test_what_is_fetched_damaged_is_not_kept(servers, damage, capfd):
    (servers[1] / ZIPPED[0]).write_bytes(damage((servers[1] / ZIPPED[0]).read_bytes()))
    with pytest.raises(DataUnavailable, match=r"MNIST could not be fetched .*; set WAVESCORE_DATA"):
        loading.load_images("mnist")
    assert ZIPPED[0] not in cached_files()
    capfd.readouterr()
    assert loading.resolve_dataset("auto") == "strokes"
    assert "MNIST not found: using the built-in strokes." in capfd.readouterr().err


def test_an_interrupted_fetch_goes_on_where_it_was(servers, monkeypatch):
    retrieve, fetched = pooch.retrieve, []

    def interrupted(*arguments, **options):
        if len(fetched) == 2:
            raise KeyboardInterrupt
        fetched.append(arguments)
        return retrieve(*arguments, **options)

    monkeypatch.setattr(pooch, "retrieve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loading.resolve_dataset("mnist")
    assert len(cached_files()) == 1  # the first server had none of it
    monkeypatch.setattr(pooch, "retrieve", lambda *a, **o: fetched.append(a) or retrieve(*a, **o))
    fetched.clear()
    assert loading.resolve_dataset("mnist") == "mnist"
    assert len({file for _, _, file, _ in fetched}) == 3
    assert cached_files() == ZIPPED


def test_two_that_fetch_at_once_both_have_it(servers):
    place = mnist.places()[0]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(mnist.ensure, [place, place]))
    assert set(said) <= {"downloaded into the cache folder", "found in the cache folder"}
    assert cached_files() == ZIPPED


def test_a_cache_folder_that_cannot_be_written_is_named(servers, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataUnavailable, match=r"MNIST could not be fetched .*file/wavescore.*; set WAVESCORE_DATA"):
        loading.load_images("mnist")
    assert loading.resolve_dataset("auto") == "strokes"


def test_no_server_answers(servers, monkeypatch):
    monkeypatch.setattr(mnist, "SERVERS", ("http://127.0.0.1:9/", "no address"))
    with pytest.raises(DataUnavailable, match=r"no server answers.*set WAVESCORE_DATA"):
        loading.load_images("mnist")


def test_a_silent_server_is_given_up(monkeypatch):
    hang_up = threading.Event()

    def silent(*arguments, **options):
        hang_up.wait(60)
        raise OSError

    monkeypatch.setattr(mnist, "PATIENCE", 0.05)
    monkeypatch.setattr(mnist.urllib.request, "urlopen", silent)
    assert mnist._answering("train-images-idx3-ubyte.gz") == []
    hang_up.set()


class TestTorchvision:
    """What it and the package have in common, where it imports: a build for another torch does not."""

    @pytest.fixture
    def torchvision(self):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import torchvision.transforms.v2.functional
        except Exception as error:
            pytest.skip(f"torchvision does not import: {error}")
        return torchvision

    def test_its_class_reads_what_we_have(self, torchvision, tmp_path, small):
        write_tree(tmp_path)
        for split in SMALL:
            theirs = torchvision.datasets.MNIST(tmp_path, train=split == "train", download=False)
            assert_allclose(loading.load_images("mnist", 28, split, root=tmp_path), theirs.data / 255, rtol=1e-6)
            assert loading.load_labels("mnist", split, root=tmp_path).tolist() == theirs.targets.tolist()

    def test_we_read_what_it_fetched(self, torchvision, tmp_path, servers, monkeypatch):
        files = [(file, hashlib.md5((servers[1] / file).read_bytes()).hexdigest()) for file in ZIPPED]
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", files)
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", list(mnist.SERVERS))
        theirs = torchvision.datasets.MNIST(tmp_path, download=True)
        assert_allclose(loading.load_images("mnist", 28, root=tmp_path), theirs.data / 255, rtol=1e-6)

    @pytest.mark.parametrize("size", [8, 16, 28, 32, 64])
    def test_it_resizes_alike(self, torchvision, size):
        images = np.random.default_rng(1).integers(0, 256, (7, 28, 28), dtype=np.uint8)
        pixels = torch.from_numpy(images / np.float32(255))[:, None]
        theirs = torchvision.transforms.v2.functional.resize(pixels, [size, size], antialias=True)
        assert_allclose(mnist.resize(images, size), theirs[:, 0], atol=1e-6)


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
    assert [file.name for file in stroke_files()] == ["v1-8-train-0.safetensors", "v1-8-train-50.safetensors"]
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
