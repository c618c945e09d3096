import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from tests.image_statistics import statistics
from wavescore_lite.data import strokes
from wavescore_lite.data.skeletons import POINTS, SEGMENTS, SKELETONS, styles

MNIST_28 = {
    "mean": 0.1307,
    "std": 0.3081,
    "variance": 0.0673,
    "leading": 0.097,
    "components_50": 11,
    "components_90": 87,
    "components_99": 331,
    "slope": -3.008,
}
"""`statistics` of the 60,000 training images of MNIST."""
TEST = 60_000


@pytest.fixture(scope="module")
def drawn():
    """The first 5,000 training items at 28 x 28, in [0, 1]."""
    return strokes.draw(np.arange(5000), 28) / 255


def test_an_item_does_not_depend_on_its_company(monkeypatch):
    items = np.arange(300)
    together = strokes.draw(items, 20)
    assert_array_equal(strokes.draw(items[::-1], 20), together[::-1])
    assert_array_equal(np.concatenate([strokes.draw(items[i : i + 1], 20) for i in range(40)]), together[:40])
    monkeypatch.setattr(strokes, "BATCH", 7)
    assert_array_equal(strokes.draw(items, 20), together)
    assert_array_equal(strokes.labels(items[7:9]), strokes.labels(items)[7:9])


def test_items_and_seeds_differ():
    train, test = (strokes.draw(start + np.arange(500), 16) for start in (0, TEST))
    images = np.concatenate([train, test, strokes.draw(np.arange(500), 16, seed=1)])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_random_numbers_are_splitmix64():
    golden = np.uint64(0x9E3779B97F4A7C15)
    outputs = strokes._mix(np.arange(1, 4, dtype=np.uint64) * golden)
    assert [hex(value) for value in outputs] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]
    uniform = strokes._uniforms(np.arange(2000), seed=0)
    assert_allclose(uniform.mean(axis=0), 0.5, atol=5 * 12**-0.5 / 2000**0.5)
    correlation = np.corrcoef(uniform.T) - np.eye(uniform.shape[1])
    assert abs(correlation).max() < 6 / 2000**0.5


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_shape_and_range(size):
    images = strokes.draw(np.arange(200), size)
    assert images.shape == (200, size, size)
    assert images.dtype == np.uint8
    assert images.min() == 0
    assert images.max() == 255
    assert (images.reshape(200, -1).max(axis=1) > 60).all()


@pytest.mark.parametrize("size", [32, 64])
def test_the_same_drawing_at_every_size(size):
    fine = strokes.draw(np.arange(100), 2 * size).reshape(100, size, 2, size, 2).mean(axis=(2, 4)) / 255
    coarse = strokes.draw(np.arange(100), size) / 255
    assert_allclose(fine.mean(axis=(1, 2)), coarse.mean(axis=(1, 2)), rtol=0.04)
    assert ((fine - coarse) ** 2).mean() < 1e-3 < 0.1 * coarse.var()


@pytest.mark.parametrize("size", [8, 16, 28, 64])
@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("radius", [0.02, 0.05])
def test_ink_is_the_area_that_the_pen_covers(size, angle, radius):
    """On average over where the pixels lie; the pen is 0.3 to 6.4 pixels wide."""
    length = 0.5
    end = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
    shift = np.stack(np.meshgrid(*[np.arange(16) / 16 / size] * 2), axis=-1).reshape(-1, 1, 2)
    knots = 0.5 + np.linspace(-1, 1, SEGMENTS + 1)[:, None] * end + shift
    lines = np.stack([knots[:, :-1], knots[:, 1:]], axis=2)
    count = len(lines)
    ink = strokes._ink(lines, np.full((count, SEGMENTS, 2), radius), np.full(count, 0.03), size)
    area = 2 * radius * length + np.pi * radius**2
    assert_allclose(ink.mean() / 255, area, rtol=0.1)


def test_the_drawing_is_framed_as_in_mnist(drawn):
    inside = drawn[:, 3:25, 3:25].sum() / drawn.sum()
    assert inside > 0.985
    pixel = np.arange(28) + 0.5
    for axis in (1, 2):
        centre = (drawn.sum(axis=3 - axis) * pixel).sum(axis=1) / drawn.sum(axis=(1, 2))
        assert abs(centre.mean() - 14) < 0.1
        assert centre.std() < 0.5
    tall = (drawn > 0.12).any(axis=2).sum(axis=1)
    assert abs(tall.mean() - 20) < 0.5


def test_statistics_are_like_those_of_mnist(drawn):
    found = statistics(torch.from_numpy(drawn))
    for key, value in MNIST_28.items():
        assert_allclose(found[key], value, rtol=0.12, err_msg=key)
    assert_allclose(found["mean"], MNIST_28["mean"], rtol=0.02)
    assert_allclose(found["std"], MNIST_28["std"], rtol=0.02)


def test_classes_are_balanced_and_fresh_in_each_split():
    train, test = strokes.labels(np.arange(TEST)), strokes.labels(TEST + np.arange(10_000))
    assert train.dtype == np.int64
    assert_allclose(np.bincount(train, minlength=10) / TEST, 0.1, atol=0.005)
    assert_allclose(np.bincount(test, minlength=10) / 10_000, 0.1, atol=0.012)
    assert abs((train[:10_000] == test).mean() - 0.1) < 0.015


def test_classes_can_be_told_apart(drawn):
    """As well as MNIST's, by the nearest class mean and by least squares (0.81 and 0.84 there)."""
    train, labels = drawn.reshape(len(drawn), -1), strokes.labels(np.arange(len(drawn)))
    items = TEST + np.arange(2000)
    test, truth = strokes.draw(items, 28).reshape(len(items), -1) / 255, strokes.labels(items)
    means = np.stack([train[labels == digit].mean(axis=0) for digit in range(10)])
    nearest = np.argmin((means**2).sum(axis=1) - 2 * test @ means.T, axis=1)
    assert 0.75 < (nearest == truth).mean() < 0.9
    design = np.hstack([train, np.ones((len(train), 1))])
    weights = np.linalg.solve(design.T @ design + 10 * np.eye(785), design.T @ np.eye(10)[labels])
    linear = np.argmax(np.hstack([test, np.ones((len(test), 1))]) @ weights, axis=1)
    assert 0.8 < (linear == truth).mean() < 0.95


def test_every_style_is_a_chain_of_segments_through_its_points():
    table = styles()
    assert len(table.points) == sum(len(choices) for choices in SKELETONS.values())
    texts = [text for digit in range(10) for _, text in SKELETONS[digit]]
    for style, text in enumerate(texts):
        given = np.array([point.split(",") for point in text.replace("|", " ").split()], dtype=float) / 100
        assert len(np.unique(given, axis=0)) <= POINTS
        weights, ids = table.weights[style], table.indices[style]
        assert_allclose(weights.sum(axis=-1), 1, atol=1e-12)
        ends = (weights[..., None] * table.points[style][ids]).sum(axis=2)
        jumps = np.linalg.norm(ends[1:, 0] - ends[:-1, 1], axis=1) > 1e-12
        assert jumps.sum() <= text.count("|")
        distance = np.linalg.norm(given[:, None] - ends.reshape(1, -1, 2), axis=-1).min(axis=1)
        assert_allclose(distance, 0, atol=1e-12)
        assert_allclose([table.position[style].min(), table.position[style].max()], [0, 1])


def test_a_drawing_changes_only_with_the_version():
    """Cached drawings are found by version: if these numbers change, count `VERSION` up."""
    assert strokes.VERSION == 1
    assert strokes.labels(np.arange(10)).tolist() == [6, 2, 4, 7, 8, 5, 2, 1, 3, 4]
    ink = strokes.draw(np.array([0, 1, 2, TEST]), 28).sum(axis=(1, 2), dtype=np.int64)
    assert_allclose(ink, [21055, 24639, 32984, 34631], atol=3)
