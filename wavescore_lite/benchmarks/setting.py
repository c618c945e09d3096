"""On what and how long is measured, and when limits apply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import data

if TYPE_CHECKING:
    import torch

ALL_IMAGES, FEWEST_IMAGES, FULL_SIZE = 60_000, 64, 32


@dataclass(frozen=True)
class Setting:
    """On what and how long to measure.

    Parameters
    ----------
    dataset : str
        Its name in `data.registry`.
    images, size : int
        How many, at least 64, and their side in pixels; one part looks at half that side and up to four times as much.
    device : str
        Where fits, transforms and denoising run, "cpu" or "cuda".
    turns, seconds : int, float
        How often a case runs at least, and how long short ones are repeated; see `timing.interleaved`.
    """

    dataset: str = "strokes"
    images: int = ALL_IMAGES
    size: int = FULL_SIZE
    device: str = "cpu"
    turns: int = 4
    seconds: float = 2.0

    @property
    def judged(self) -> bool:
        """Whether the limits apply: they are set for all images, at 32 x 32, on the CPU."""
        return (self.images, self.size, self.device) == (ALL_IMAGES, FULL_SIZE, "cpu")

    def load(self, size: int | None = None, count: int | None = None) -> torch.Tensor:
        """The first training images; size and count are by default the setting's."""
        return data.load_images(self.dataset, size or self.size, "train", limit=count or self.images)
