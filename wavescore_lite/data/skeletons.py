"""Skeletons of the ten digits: control points of each style, and the curves through them, cut into segments.

A curve is linear in its control points, so each style is a table of weights, and all styles together are four arrays:
any mixture of digits is then bent and jittered at once.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

SKELETONS: dict[int, tuple[tuple[float, str], ...]] = {
    0: (
        (5, "50,0 18,15 6,50 18,85 50,100 82,85 94,50 82,15 50,0"),
        (4, "52,2 20,13 6,47 16,84 48,100 81,85 94,50 80,14 44,3"),
        (2, "60,1 24,14 8,48 16,84 46,100 80,84 93,48 80,12 50,5 40,18"),
    ),
    1: (
        (14, "50,0 50,50 50,100"),
        (2, "28,22 50,0 | 50,0 51,50 52,100"),
        (1, "28,20 50,0 | 50,0 50,50 50,100 | 22,100 50,100 80,98"),
    ),
    2: (
        (4, "10,22 32,3 65,4 78,28 60,58 34,80 6,98 | 6,98 40,93 95,95"),
        (5, "10,20 34,0 68,5 76,32 58,62 32,88 12,96 6,84 20,76 42,86 66,97 95,88"),
        (2, "16,16 40,0 70,10 72,36 50,66 10,97 | 10,97 45,99 80,96 94,86"),
    ),
    3: (
        (5, "14,12 42,0 72,10 70,34 36,46 | 36,46 70,54 84,76 62,97 32,99 6,88"),
        (2, "12,4 45,3 78,3 | 78,3 60,22 40,42 | 40,42 74,50 86,74 62,97 32,99 8,90"),
        (3, "12,14 40,0 72,8 74,30 50,45 40,48 54,49 82,62 84,86 54,100 12,94"),
    ),
    4: (
        (4, "20,4 12,28 8,52 | 8,52 45,54 90,47 | 78,0 75,33 71,66 68,100"),
        (1, "66,0 36,28 4,60 | 4,60 45,62 92,58 | 68,2 68,33 67,66 66,100"),
        (4, "22,2 12,28 16,48 42,53 70,36 | 84,2 78,34 70,66 64,100"),
    ),
    5: (
        (5, "26,3 55,2 88,0 | 26,3 23,20 20,42 | 20,42 50,38 80,54 80,82 48,100 8,92"),
        (3, "92,2 62,3 38,6 28,24 30,40 58,48 76,66 68,90 40,100 6,94"),
        (2, "34,2 26,22 22,44 | 22,44 52,40 74,58 72,84 44,100 8,92 | 34,2 60,5 92,0"),
    ),
    6: (
        (5, "66,0 40,20 20,50 18,82 42,100 74,90 78,66 54,56 24,74"),
        (3, "50,0 34,26 22,54 20,84 46,100 72,86 68,64 44,60 22,78"),
        (2, "80,4 50,12 24,40 14,76 40,100 76,92 84,66 56,54 20,70"),
    ),
    7: (
        (6, "5,8 45,4 88,4 | 88,4 70,36 54,66 42,100"),
        (2, "5,8 45,4 88,4 | 88,4 68,36 52,68 42,100 | 30,52 58,49 88,47"),
        (3, "6,24 10,8 46,4 84,6 84,26 64,56 52,100"),
    ),
    8: (
        (5, "76,14 50,0 24,12 26,32 52,48 76,70 66,95 38,100 20,80 40,54 68,36 78,14"),
        (2, "50,0 26,8 26,34 50,46 74,34 74,10 50,0 | 50,46 22,60 22,90 50,100 78,88 78,60 50,46"),
        (2, "82,6 50,0 28,16 40,40 64,60 68,88 44,100 24,86 34,58 62,36 82,6"),
    ),
    9: (
        (5, "76,14 48,2 20,20 20,44 48,50 76,22 | 76,14 76,42 72,70 68,100"),
        (4, "74,18 46,2 16,20 20,44 52,48 74,18 | 74,18 78,46 64,80 28,99"),
        (3, "80,8 48,2 20,18 20,42 50,48 76,24 80,8 70,50 60,74 52,100"),
    ),
}
"""Per digit, the weight and the strokes of each style, as control points in percent (x to the right, y down).

Strokes are parted by ``|``. Equal points are one point and move together: so corners stay joined and loops closed.
"""

SEGMENTS = 40
POINTS = 14
PADDING = 50.0


class Styles(NamedTuple):
    """All styles, one after another; a segment's two ends are weighted sums of four control points each."""

    first: np.ndarray
    """Number of each digit's first style, [10]."""
    shares: np.ndarray
    """Cumulative weights of each digit's styles, without the last, which is 1, [10, most styles - 1]."""
    points: np.ndarray
    """Control points in the unit square, [styles, POINTS, 2]."""
    indices: np.ndarray
    """Control points of each end, [styles, SEGMENTS, 2, 4]."""
    weights: np.ndarray
    """Their weights, of the same shape."""
    position: np.ndarray
    """Share of the drawing's length at each end, [styles, SEGMENTS, 2]."""


@cache
def styles() -> Styles:
    """Build the tables, once per process."""
    counts = [len(SKELETONS[digit]) for digit in range(10)]
    weights = np.zeros((10, max(counts)))
    for digit, count in enumerate(counts):
        weights[digit, :count] = [weight for weight, _ in SKELETONS[digit]]
    shares = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)[:, :-1]
    curves = [_polyline(text) for digit in range(10) for _, text in SKELETONS[digit]]
    return Styles(np.cumsum([0, *counts[:-1]]), shares, *map(np.stack, zip(*curves, strict=True)))


def _polyline(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, indices, weights and position of one style."""
    strokes = [[_pair(text) for text in stroke.split()] for stroke in text.split("|")]
    names = list(dict.fromkeys(pair for stroke in strokes for pair in stroke))
    points = np.full((POINTS, 2), PADDING)
    points[: len(names)] = names
    spans = [span for stroke in strokes for span in _spans([names.index(pair) for pair in stroke])]
    lengths = np.array([np.hypot(*(points[span[2]] - points[span[1]])) for span in spans])
    travelled = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
    indices, weights, position = [], [], []
    for number, (span, cuts) in enumerate(zip(spans, _apportion(lengths, SEGMENTS), strict=True)):
        times = np.linspace(0, 1, cuts + 1)
        ids, rows = _catmull_rom(span, times)
        ends = np.stack([np.arange(cuts), np.arange(1, cuts + 1)], axis=1)
        indices.append(np.broadcast_to(ids, (cuts, 2, 4)))
        weights.append(rows[ends])
        position.append(np.interp(times, [0, 1], travelled[number : number + 2])[ends])
    return points / 100, np.concatenate(indices), np.concatenate(weights), np.concatenate(position)


def _pair(text: str) -> tuple[float, float]:
    x, y = text.split(",")
    return float(x), float(y)


def _spans(ids: list[int]) -> list[list[int | None]]:
    """Four consecutive points for each piece of a stroke; the outer ones are None at its open ends."""
    before, after = (ids[-2], ids[1]) if ids[0] == ids[-1] else (None, None)
    padded = [before, *ids, after]
    return [padded[start : start + 4] for start in range(len(ids) - 1)]


def _apportion(lengths: np.ndarray, total: int) -> np.ndarray:
    """Into how many segments to cut each piece: always one more for the piece with the longest segments."""
    cuts = np.ones(len(lengths), dtype=int)
    for _ in range(total - len(lengths)):
        cuts[np.argmax(lengths / cuts)] += 1
    return cuts


def _catmull_rom(span: list[int | None], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices [4] and weights [T, 4] of the curve between the middle two points; missing outer ones are mirrored."""
    t = times[:, None]
    doubled = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    weights = np.hstack(doubled) / 2
    ids = list(span)
    for outer, near, far in ((0, 1, 2), (3, 2, 1)):
        if ids[outer] is None:
            weights[:, near] += 2 * weights[:, outer]
            weights[:, far] -= weights[:, outer]
            weights[:, outer], ids[outer] = 0, ids[near]
    return np.array(ids), weights
