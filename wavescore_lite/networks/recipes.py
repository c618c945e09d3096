"""What a training run is given: options, and from them the batch, the learning rate and the averaging of each step.

All of it is a function of the seed and the number of the step, so that no random state is carried along.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from ..data import registry
from ..support.checks import check_choice, check_integer, check_size
from .designs import DESIGNS, SIGMA_RANGES

TRAINING = 3  # stream of random numbers, beside noise.FITTING and noise.SCORING
HELD_OUT = 1000  # images for the log, at most a tenth
WARM_UP = 500  # steps, at most a tenth
AVERAGED = 0.999  # decay of the moving average of the weights
MEDIAN, SPREAD = 1.0, 1.4  # of log-normal noise levels: of sigma, and of its logarithm
UNSHOWN = ("network", "log_every", "bfloat16")  # as an option with a value, in a command


def _log_normal(low: float, high: float, place: np.ndarray) -> np.ndarray:
    ends = ndtr(np.log(np.array([low, high]) / MEDIAN) / SPREAD)
    return MEDIAN * np.exp(SPREAD * ndtri(ends[0] + (ends[1] - ends[0]) * place))


def _root(low: float, high: float, place: np.ndarray) -> np.ndarray:
    return (np.sqrt(low) + (np.sqrt(high) - np.sqrt(low)) * place) ** 2


QUANTILES: dict[str, Callable[[float, float, np.ndarray], np.ndarray]] = {"log-normal": _log_normal, "root": _root}


@dataclass(frozen=True)
class Recipe:
    """All options that the trained weights depend on.

    Attributes
    ----------
    network : str
        A design, see `Network`.
    dataset : str
        Its name in `data.registry`.
    size : int
        Pixels along a side.
    images : int, optional
        How many training images, from the first on; all of them if None.
    steps, batch : int
        Batches in all, and images in each.
    learning_rate : float
        At its highest, see `learning_rate`.
    seed : int
        Of the first weights and of every batch.
    log_every : int
        Steps between lines of the log, and so between checkpoints.
    bfloat16 : bool
        Whether convolutions are computed with 8 bits of precision while training; weights are float32 always.
    noise : str
        Law of the noise levels: "log-normal" (Karras et al., 2022) over all that a sampler passes, half of them below
        MEDIAN; or "root", with the square root of sigma uniform, over those that denoisers are compared at.

    Raises
    ------
    ValueError
        For an unknown network or dataset, or a number out of range.
    """

    network: str
    dataset: str
    size: int = 32
    images: int | None = None
    steps: int = 20_000
    batch: int = 128
    learning_rate: float = 2e-3
    seed: int = 0
    log_every: int = 500
    bfloat16: bool = False
    noise: str = "log-normal"

    def __post_init__(self) -> None:
        check_choice("network", self.network, tuple(DESIGNS))
        check_choice("dataset", self.dataset, registry.NAMES)
        check_choice("noise", self.noise, tuple(QUANTILES))
        object.__setattr__(self, "size", check_size(self.size))
        if self.images is not None:
            object.__setattr__(self, "images", check_integer("images", self.images, 1))
        for name, least in (("steps", 1), ("batch", 1), ("seed", 0), ("log_every", 1)):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), least))
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; expected a finite number > 0")

    @property
    def command(self) -> str:
        """What to type for this training.

        Examples
        --------
        >>> Recipe("cnn", "mnist", steps=100).command
        'wavescore train cnn --dataset mnist --size 32 --steps 100 ... --seed 0 --noise log-normal'
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        options = [f"--{name.replace('_', '-')} {given[name]}" for name in given if name not in UNSHOWN]
        return " ".join(["wavescore train", self.network, *options, *(["--bfloat16"] if self.bfloat16 else [])])


def learning_rate(step: int, recipe: Recipe) -> float:
    """Rate at a step, from 0 on: a linear warm-up, times half a cosine that falls to 0 after the last step.

    Examples
    --------
    >>> recipe = Recipe("cnn", "mnist", steps=100, learning_rate=1.0)
    >>> [round(learning_rate(step, recipe), 3) for step in (0, 9, 50, 99)]
    [0.1, 0.98, 0.5, 0.0]
    """
    warm_up = max(1, min(WARM_UP, recipe.steps // 10))
    return recipe.learning_rate * min(1, (step + 1) / warm_up) * (1 + math.cos(math.pi * step / recipe.steps)) / 2


def averaging(step: int) -> float:
    """Decay of the moving average of the weights at a step: short at first, so that the first weights are forgotten.

    Examples
    --------
    >>> averaging(0), averaging(10**6)
    (0.1, 0.999)
    """
    return min(AVERAGED, (step + 1) / (step + 10))


def split(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images to train on, and the last tenth of them, at most 1,000, which only the log is about.

    Examples
    --------
    >>> [len(part) for part in split(torch.zeros(60_000, 1, 1))]
    [59000, 1000]
    """
    held_out = min(HELD_OUT, len(images) // 10)
    if held_out == 0:
        raise ValueError(f"too few images: got {len(images)}; expected at least 10, of which one is held out")
    return images[:-held_out], images[-held_out:]


def batch(images: torch.Tensor, step: int, recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clean images of a step, their noise levels, and noisy images, fixed by seed and step.

    Returns
    -------
    clean : tensor [batch, size, size]
        Drawn with replacement.
    sigma : tensor [batch]
        By the recipe's law of noise, one in each of as many parts of equal probability.
    noisy : tensor [batch, size, size]

    Examples
    --------
    >>> clean, sigma, noisy = batch(torch.zeros(10, 8, 8), 0, Recipe("cnn", "mnist", size=8, batch=4))
    >>> noisy.shape, bool((sigma.diff() > 0).all())
    (torch.Size([4, 8, 8]), True)
    """
    generator = np.random.default_rng([recipe.seed, TRAINING, step])
    chosen = torch.from_numpy(generator.integers(len(images), size=recipe.batch))
    place = (np.arange(recipe.batch) + generator.random(recipe.batch)) / recipe.batch
    sigma = torch.from_numpy(QUANTILES[recipe.noise](*SIGMA_RANGES[recipe.noise], place)).to(images)
    noise = torch.from_numpy(generator.standard_normal((recipe.batch, *images.shape[1:]), dtype=np.float32))
    clean = images[chosen.to(images.device)]
    return clean, sigma, clean + sigma[:, None, None] * noise.to(images)
