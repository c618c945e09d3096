"""Trained denoisers as data: how many channels, how many residual blocks, where there is attention; which noise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Design:
    """An architecture, as data.

    Attributes
    ----------
    channels : tuple of int
        Channels at 32 pixels, then at half of that, and so on; one number makes a CNN without down-sampling.
    blocks : int
        Residual blocks at each resolution, on the way down and again on the way up.
    attention : int
        On how many of the coarsest resolutions each block ends in self-attention.
    """

    channels: tuple[int, ...]
    blocks: int = 1
    attention: int = 0

    def resolutions(self, size: int) -> tuple[int, ...]:
        """Channels at each resolution for images of `size` pixels, the finest first.

        Above 32 pixels a U-Net has further resolutions, as wide as its finest, so that the coarsest stays the same.

        Examples
        --------
        >>> Design(channels=(16, 32)).resolutions(64)
        (16, 16, 32)
        """
        further = size.bit_length() - (32).bit_length() if len(self.channels) > 1 else 0
        return self.channels[:1] * further + self.channels


DESIGNS = {
    "cnn": Design(channels=(32,), blocks=6),
    "unet-small": Design(channels=(16, 32, 64)),
    "unet-medium": Design(channels=(16, 32, 64, 128)),
    "unet-wide": Design(channels=(32, 64, 128)),
    "unet-attention": Design(channels=(16, 32, 64, 128), attention=2),
}

SIGMA_RANGES = {"log-normal": (0.01, 40.0), "root": (0.1, 5.0)}  # noise trained on, by the law of its levels
