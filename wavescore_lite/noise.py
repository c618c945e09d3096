"""Gaussian noise that depends on the seed and the image's index alone, however the images are cut into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from .support.checks import check_integer, check_sigma

SHARING = 64  # images that share one generator: part of what a seed means
FITTING, SCORING, SAMPLING = 1, 2, 4  # streams: noise that a model is fitted on is never what it is scored on


def standard_normal(
    first: int, count: int, shape: tuple[int, ...], seed: int, stream: int = SCORING, draw: int = 0
) -> torch.Tensor:
    """Standard normal arrays for the images `first` to `first + count - 1`.

    Parameters
    ----------
    first, count : int
        Index of the first image, and how many.
    shape : tuple of int
        Shape of one image.
    seed, stream, draw : int >= 0
        Different values of any of them give independent noise.

    Returns
    -------
    tensor of shape (count,) + shape, float32

    Examples
    --------
    >>> whole = standard_normal(0, 100, (2, 2), seed=0)
    >>> torch.equal(whole[70:90], standard_normal(70, 20, (2, 2), seed=0))
    True
    """
    blocks = range(first // SHARING, -(-(first + count) // SHARING))
    drawn = [
        np.random.default_rng([seed, stream, draw, block]).standard_normal((SHARING, *shape), dtype=np.float32)
        for block in blocks
    ]
    skipped = first - blocks.start * SHARING
    return torch.from_numpy(np.concatenate(drawn)[skipped : skipped + count])


@dataclass(frozen=True)
class SampledNoise:
    """The paper's protocol: fit on noisy copies of the images instead of integrating the noise out.

    Parameters
    ----------
    sigmas : sequence of float
        Noise levels (pixel units) to fit; one pass over the images serves all, with the same z: x_0 + sigma z.
    draws : int
        Noisy copies of each image; the paper has one.
    seed : int
        The same seed gives the same noise for the same image index.
    first : int
        Index of the first image that is fitted. Parts fitted apart, each from its own `first`, merge into the fit
        of the whole.

    Raises
    ------
    ValueError
        If there is no sigma, a sigma is not finite and > 0 or given twice, or draws < 1.

    Examples
    --------
    >>> SampledNoise(sigmas=[1, 2], draws=1, seed=0).sigmas
    (1.0, 2.0)
    """

    sigmas: Sequence[float]
    draws: int = 1
    seed: int = 0
    first: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.sigmas, Real):
            raise ValueError(f"sigmas is {self.sigmas}; expected a sequence of noise levels: [{self.sigmas}]")
        sigmas = tuple(check_sigma(sigma) for sigma in self.sigmas)
        if not sigmas or len(set(sigmas)) < len(sigmas):
            raise ValueError(f"sigmas are {list(sigmas)}; expected at least one, each once")
        for name in ("draws", "seed", "first"):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), int(name == "draws")))
        object.__setattr__(self, "sigmas", sigmas)
