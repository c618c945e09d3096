"""What is said of samples: how good they are, beside real images and noise, and how far two sets are the same."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import torch

from ..networks import load_classifier
from ..networks.classifier import Classifier
from ..noise import SAMPLING
from ..quality import over_groups, sample_quality
from .candidates import load
from .trials import Trial

GROUPS = 4  # of samples, for standard errors
IMAGE_KINDS = ("training images", "Gaussian pixels")  # what samples should be, and should be better than


def images_of(trial: Trial, kind: str, count: int) -> torch.Tensor:
    """What stands beside samples: other training images, drawn by lot, or independent Gaussian pixels."""
    generator = np.random.default_rng([trial.seed, SAMPLING])
    images = load(trial.dataset, trial.size, "train", trial.train)
    if kind == "training images":
        return images[torch.from_numpy(generator.permutation(len(images))[:count])]
    normal = torch.from_numpy(generator.standard_normal((count, trial.size, trial.size), dtype=np.float32))
    return images.mean(dim=0) + images.std(dim=0) * normal


def quality_row(trial: Trial, samples: torch.Tensor) -> dict[str, str]:
    """Everything `sample_quality` says of samples, with standard errors over GROUPS of them.

    References are the test images, for a group each GROUPS-th of them; copies are looked for among all training images.
    """
    reference, fewer, classifier = _references(trial.dataset, trial.size, trial.test)
    training = load(trial.dataset, trial.size, "train", trial.train)
    measure = partial(sample_quality, classifier=classifier, training=training, seed=trial.seed)
    whole = measure(samples, reference)
    _, errors = over_groups(partial(measure, reference=fewer), samples, GROUPS)
    return {name: f"{value:.6g}" for name, value in whole.items()} | {
        f"{name}_error": f"{value:.3g}" for name, value in errors.items()
    }


class _Remembering:
    """A classifier that looks at each set of references once."""

    def __init__(self, classifier: Classifier, *references: torch.Tensor) -> None:
        self.classifier = classifier
        self.seen = {self._key(images): classifier.features(images) for images in references}

    @staticmethod
    def _key(images: torch.Tensor) -> tuple[int, int]:
        return images.data_ptr(), len(images)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images, those of the references from memory."""
        key = self._key(images)
        return self.seen[key] if key in self.seen else self.classifier.features(images)


@lru_cache(maxsize=1)
def _references(dataset: str, size: int, test: int) -> tuple[torch.Tensor, torch.Tensor, _Remembering]:
    reference = load(dataset, size, "test", test)
    fewer = reference[::GROUPS].clone()
    return reference, fewer, _Remembering(load_classifier(dataset, size), reference, fewer)


def agreement(images: torch.Tensor, others: torch.Tensor, mean: torch.Tensor) -> dict[str, str]:
    """How far two sets of images made from the same noise are the same, image by image.

    Parameters
    ----------
    images, others : tensor [n, height, width]
    mean : tensor [height, width]
        The mean of the data.

    Returns
    -------
    dict of str
        r2, the squared correlation over the pixels of an image (Kamb and Ganguli, 2024), and the cosine between what
        the two differ from the mean image by: means over images, with standard errors; and the same for images of
        different noises, each with the next one's: null_r2 and null_cosine. Images of one grey correlate with nothing.

    Examples
    --------
    >>> images = torch.rand(50, 8, 8)
    >>> found = agreement(images, 0.5 * images + 0.1, images.mean(dim=0))
    >>> found["r2"], float(found["null_r2"]) < 0.1
    ('1.00000', True)
    """
    flat, other, centre = (part.double().flatten(-2) for part in (images, others, mean))

    def cosines(one: torch.Tensor, another: torch.Tensor) -> torch.Tensor:
        lengths = one.norm(dim=1) * another.norm(dim=1)
        return torch.where(lengths > 1e-12, (one * another).sum(dim=1) / lengths.clamp_min(1e-12), 0.0)

    found = {}
    for prefix, against in (("", other), ("null_", other.roll(1, dims=0))):
        contrasts = (part - part.mean(dim=1, keepdim=True) for part in (flat, against))
        values = {"r2": cosines(*contrasts).square(), "cosine": cosines(flat - centre, against - centre)}
        for name, value in values.items():
            found[prefix + name] = f"{value.mean():.5f}"
            if not prefix:
                found[f"{name}_error"] = f"{value.std() / len(value) ** 0.5:.5f}"
    return found
