"""Who lies near whom: samples among the data and the data among samples, and copies of training images."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..support.checks import check_images, check_integer
from .features import BLOCK, check_features

NEAREST = 256  # images whose distances to all training images are there at a time
COPIED = 0.01  # share of held-out images that lie as near to a training image as what is called a copy


def precision_recall(samples: torch.Tensor, reference: torch.Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Share of samples within the data, and of the data within the samples (Kynkaanniemi et al., 2019).

    A set's support is the union of balls around its points, each as large as the distance to the nearest `neighbours`
    others. Both shares depend on the number of points: take as many samples as references.

    Parameters
    ----------
    samples, reference : tensor [n, f] and [m, f]
    neighbours : int >= 1
        Fewer than n and m.

    Returns
    -------
    precision, recall : float in [0, 1]

    Raises
    ------
    ValueError
        For other shapes, values that are not finite, or too few points.

    Examples
    --------
    >>> data = torch.arange(20.0)[:, None]
    >>> precision_recall(data[:10], data, neighbours=1)
    (1.0, 0.55)
    """
    samples, reference = _checked(samples, reference, neighbours)
    precise = torch.cat([inside.any(dim=1) for inside in _inside(samples, reference, neighbours)])
    recalled = torch.cat([inside.any(dim=1) for inside in _inside(reference, samples, neighbours)])
    return precise.double().mean().item(), recalled.double().mean().item()


def density_coverage(samples: torch.Tensor, reference: torch.Tensor, neighbours: int = 5) -> tuple[float, float]:
    """How many balls of the data a sample lies in, and how many balls hold a sample (Naeem et al., 2020).

    The balls are those of `precision_recall` around the references alone, so that an outlying sample does no harm. The
    density is counted in units of `neighbours`.

    Parameters
    ----------
    samples, reference : tensor [n, f] and [m, f]
    neighbours : int >= 1
        Fewer than n and m.

    Returns
    -------
    density : float >= 0
        1 in expectation where the two laws are one, for any n and m; above 1 for samples in the midst of the data.
    coverage : float in [0, 1]
        Where the two laws are one, 1 less the product of (m - j) / (m + n - j) over j = 1, ..., `neighbours` in
        expectation: 0.97 by default if n = m.

    Raises
    ------
    ValueError
        As for `precision_recall`.

    Examples
    --------
    >>> data = torch.arange(20.0)[:, None]
    >>> density_coverage(data[:10], data, neighbours=1)
    (2.9, 0.55)
    """
    samples, reference = _checked(samples, reference, neighbours)
    blocks = list(_inside(samples, reference, neighbours))
    count = sum(inside.sum().item() for inside in blocks)
    covered = torch.stack([inside.any(dim=0) for inside in blocks]).any(dim=0)
    return count / (neighbours * len(samples)), covered.double().mean().item()


def nearest_images(images: torch.Tensor, training: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The training image nearest to each image, in pixels.

    It is looked for in float32, and the distance to what was found is computed anew: of two training images whose
    distances differ by less than rounding, either is found.

    Parameters
    ----------
    images : tensor [n, height, width], float32 or float64
    training : tensor [m, height, width]

    Returns
    -------
    distances : tensor [n], float64
        Euclidean, in pixel units.
    indices : tensor [n], int64

    Raises
    ------
    TypeError, ValueError
        For other images, or two shapes.

    Examples
    --------
    >>> training = torch.rand(50, 8, 8)
    >>> distances, indices = nearest_images(training[[7, 3]] + 0.01, training)
    >>> indices, (distances / 8).round(decimals=4)
    (tensor([7, 3]), tensor([0.0100, 0.0100], dtype=torch.float64))
    """
    training = check_images(training)
    images = check_images(images, tuple(training.shape[1:]))
    rows, found = training.flatten(1).float(), []
    halves = rows.square().sum(dim=1) / 2
    for block in images.flatten(1).float().split(NEAREST):
        found.append(torch.addmm(halves, block, rows.T, alpha=-1).argmin(dim=1))
    indices = torch.cat(found)
    return (images.double() - training[indices]).flatten(1).norm(dim=1), indices


def memorisation(samples: torch.Tensor, held_out: torch.Tensor, training: torch.Tensor) -> dict[str, float]:
    """Whether samples lie nearer to training images than images do that were never trained on.

    Parameters
    ----------
    samples, held_out, training : tensor [n, height, width], [k, height, width] and [m, height, width]

    Returns
    -------
    dict of float
        "nearest", the median distance of samples to their nearest training image over that of held-out images: 1 for
        new images of the same law, 0 for copies; above 1 for what is like no image, and a little below it for what is
        smoother than images. "copied", the share of samples that are as near as the nearest hundredth of held-out
        images: 0.01 for new images, 1 for copies.

    Raises
    ------
    TypeError, ValueError
        As for `nearest_images`, and if most of the images held out are training images.

    Examples
    --------
    >>> from wavescore_lite import load_images
    >>> training, test = (load_images("strokes", size=16, split=split, limit=500) for split in ("train", "test"))
    >>> memorisation(training[:100], test, training)
    {'nearest': 0.0, 'copied': 1.0}
    """
    distances, usual = (nearest_images(images, training)[0] for images in (samples, held_out))
    if usual.median() == 0:
        raise ValueError(f"most of {len(held_out)} held-out images are training images; expected other images")
    copied = (distances <= usual.quantile(COPIED)).double().mean()
    return {"nearest": (distances.median() / usual.median()).item(), "copied": copied.item()}


def _checked(samples: torch.Tensor, reference: torch.Tensor, neighbours: int) -> tuple[torch.Tensor, torch.Tensor]:
    return check_features(samples, reference, check_integer("neighbours", neighbours, 1) + 1)


def _distances(points: torch.Tensor, others: torch.Tensor) -> Iterator[torch.Tensor]:
    """Matrix of distances, by blocks of rows: from differences, so that equal points are at distance 0, to the bit."""
    for block in points.split(BLOCK):
        yield torch.cdist(block, others, compute_mode="donot_use_mm_for_euclid_dist")


def _inside(points: torch.Tensor, centres: torch.Tensor, neighbours: int) -> Iterator[torch.Tensor]:
    """Whether each point lies in the ball of each centre, by blocks of points."""
    radii = torch.cat([block.kthvalue(neighbours + 1).values for block in _distances(centres, centres)])
    for block in _distances(points, centres):
        yield block <= radii
