"""Handwriting-like digits drawn from jittered stroke skeletons: the dataset that needs no file and no network.

An item is a number. Its class, its style and every jitter are hashes of (seed, item), so an item is the same to
the last bit in whatever range, order or batch it is drawn. The geometry has no resolution: a skeleton is jittered,
bent, stretched, sheared and turned, framed as MNIST frames its digits, and only then inked on the pixel grid asked
for. Lengths are in units of the frame's side; where a constant is a pair, it is the typical value and its spread.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from .protocol import Dataset, Root
from .shards import drawn
from .skeletons import POINTS, styles

COUNTS = {"train": 60_000, "test": 10_000}
FIRST = {"train": 0, "test": COUNTS["train"]}
"""Number of the first item of a split."""
VERSION = 1
"""Counts up whenever any item comes out differently; cached drawings carry it in their name."""

PIXEL = 1 / 28  # of MNIST
JITTER = 0.024
BEND = 0.055
ASPECT = (0.93, 0.25)
SLANT = (0.14, 0.26)
TURN = 0.11
FRAME = (19.9 * PIXEL, 0.03)
SHIFT = 0.2 * PIXEL
PEN = (1.18 * PIXEL, 0.28)
SWELL = 0.12
SOFTNESS = (0.9 * PIXEL, 0.2)
BENDS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2))
TAIL = 2.2
"""Normal variates are cut off at this many standard deviations, so that every item stays legible."""
BATCH = 64
"""Items that are drawn at a time."""

_SLOTS = 64
_SPREADS = 10


def labels(items: np.ndarray, seed: int = 0) -> np.ndarray:
    """Classes of the items numbered `items`, int64 [n], in 0 to 9.

    Examples
    --------
    >>> labels(np.arange(6)).shape
    (6,)
    """
    return _digits(_uniforms(np.asarray(items), seed))


def draw(items: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Draw the items numbered `items` on a size x size grid.

    Parameters
    ----------
    items : integer array [n]
        Numbers >= 0, in any order.
    size : int
        Pixels along a side: the same drawings, sampled more finely as it grows.
    seed : int
        Another seed is another dataset.

    Returns
    -------
    uint8 array [n, size, size]
        Ink from 0 to 255, as MNIST stores it.

    Examples
    --------
    >>> both, one = draw(np.array([3, 5]), 28), draw(np.array([5]), 28)
    >>> both.shape, bool((both[1] == one[0]).all())
    ((2, 28, 28), True)
    """
    items = np.asarray(items)
    images = np.empty((len(items), size, size), dtype=np.uint8)
    for start in range(0, len(items), BATCH):
        uniform = _uniforms(items[start : start + BATCH], seed)
        images[start : start + BATCH] = _ink(*_drawings(uniform), size)
    return images


def _drawings(uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Segments [n, S, end, coordinate], pen radii at their ends [n, S, end] and softness [n]."""
    normal = ndtri(ndtr(-TAIL) + (1 - 2 * ndtr(-TAIL)) * uniform[:, 2:])
    aspect, slant, turn, scale, right, down, pen, soft, swell, phase = normal[:, :_SPREADS].T[..., None, None]
    pairs = normal[:, _SPREADS : _SPREADS + 2 * (len(BENDS) + POINTS)].reshape(len(normal), -1, 2)
    table, style = styles(), _style(uniform)
    control = table.points[style] + JITTER * pairs[:, len(BENDS) :]
    lines = _curves(control, table.indices[style], table.weights[style])
    lines = _bend(lines, BEND * pairs[:, : len(BENDS)]) - 0.5
    x = ASPECT[0] * np.exp(ASPECT[1] * aspect) * lines[..., 0] - (SLANT[0] + SLANT[1] * slant) * lines[..., 1]
    y = lines[..., 1]
    cos, sin = np.cos(TURN * turn), np.sin(TURN * turn)
    lines = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
    radius = PEN[0] * np.exp(PEN[1] * pen)
    lines = _frame(lines, FRAME[0] * np.exp(FRAME[1] * scale) - 2 * radius)
    lines = lines + SHIFT * np.stack([right, down], axis=-1)
    radius = radius * (1 + SWELL * swell * np.sin(2 * np.pi * table.position[style] + 3 * phase))
    return lines, radius, SOFTNESS[0] * np.exp(SOFTNESS[1] * soft[:, 0, 0])


def _digits(uniform: np.ndarray) -> np.ndarray:
    return (10 * uniform[:, 0]).astype(np.int64)


def _style(uniform: np.ndarray) -> np.ndarray:
    """Number of each item's style: one of its digit's, by weight."""
    digit = _digits(uniform)
    return styles().first[digit] + (uniform[:, 1:2] > styles().shares[digit]).sum(axis=1)


def _curves(control: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Segments [n, S, end, coordinate] through control points [n, K, coordinate]."""
    item = np.arange(len(control))[:, None, None]
    return sum(weights[..., k, None] * control[item, indices[..., k]] for k in range(4))


def _bend(lines: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Displace by a smooth field: cosine modes of the unit square, the weaker the higher."""
    bent = lines
    for number, (i, j) in enumerate(BENDS):
        mode = np.cos(np.pi * i * lines[..., 0]) * np.cos(np.pi * j * lines[..., 1])
        bent = bent + mode[..., None] * amplitudes[:, None, None, number] / (i + j)
    return bent


def _frame(lines: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Scale the longer side to `length` and put the centre of mass in the middle, as MNIST does."""
    low, high = lines.min(axis=(1, 2)), lines.max(axis=(1, 2))
    lines = lines * (length / (high - low).max(axis=1)[:, None, None])[..., None]
    mass = np.linalg.norm(lines[:, :, 1] - lines[:, :, 0], axis=-1)[..., None]
    centre = (mass * lines.mean(axis=2)).sum(axis=1) / mass.sum(axis=1)
    return lines - centre[:, None, None] + 0.5


def _ink(lines: np.ndarray, radius: np.ndarray, softness: np.ndarray, size: int) -> np.ndarray:
    """Share of each pixel that the pen covers, uint8 [n, size, size].

    `depth` is how far inside the pen's trace a pixel's centre lies: the radius less the distance from the skeleton.
    The ink is a smooth step of it, as wide as a pixel and the softness together, less the same step at the trace's
    far side, which matters where the pen is finer than a pixel.
    """
    grid = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    starts, ends = lines.astype(np.float32).transpose(2, 1, 3, 0)[..., None, None]
    thin, thick = radius.astype(np.float32).transpose(2, 1, 0)[..., None, None]
    depth = np.full((len(lines), size, size), -1, dtype=np.float32)
    for (ax, ay), (bx, by), ra, rb in zip(starts, ends, thin, thick, strict=True):
        x, y, dx, dy = grid - ax, grid[:, None] - ay, bx - ax, by - ay
        square = dx * dx + dy * dy
        t = x * (dx / square) + y * (dy / square)
        np.minimum(np.maximum(t, 0, out=t), 1, out=t)
        across, up = x - t * dx, y - t * dy
        across *= across
        up *= up
        across += up
        t *= rb - ra
        t += ra
        t -= np.sqrt(across, out=across)
        np.maximum(depth, t, out=depth)
    edge = np.hypot(softness, 1 / size).astype(np.float32)[:, None, None]
    width = 2 * radius.mean(axis=(1, 2)).astype(np.float32)[:, None, None]
    ink = _step(depth / edge) - _step((depth - width) / edge)
    return np.rint(255 * ink).astype(np.uint8)


def _step(x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at -1 / 2 to 1 at 1 / 2."""
    x = np.clip(x + np.float32(0.5), 0, 1)
    return x * x * (3 - 2 * x)


def _uniforms(items: np.ndarray, seed: int) -> np.ndarray:
    """Uniforms in (0, 1), [n, slots]: SplitMix64 (Steele et al., 2014), whose k-th output is a hash of k alone."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    counter = items.astype(np.uint64)[:, None] * np.uint64(_SLOTS) + np.arange(1, _SLOTS + 1, dtype=np.uint64)
    key = _mix(np.array([seed + 1], dtype=np.uint64) * golden)
    return ((_mix(key + counter * golden) >> np.uint64(11)) + 0.5) * 2.0**-53


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _images(size: int, split: str, count: int, root: Root) -> torch.Tensor:
    def draw_places(places: np.ndarray) -> np.ndarray:
        return draw(FIRST[split] + places, size)

    pixels = drawn(draw_places, f"strokes/v{VERSION}-{size}-{split}", count, COUNTS[split])
    return torch.from_numpy(pixels).float().div_(255)


def _labels(split: str, count: int, root: Root) -> torch.Tensor:
    return torch.from_numpy(labels(FIRST[split] + np.arange(count)))


DATASET = Dataset(name="strokes", counts=COUNTS, sizing="drawn at this size", images=_images, labels=_labels)
