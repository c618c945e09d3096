"""Architectures of the trained denoisers: a plain CNN and U-Nets, conditioned on the noise level.

One module is built from any of the `designs`. A single resolution makes the CNN, several make a U-Net with strided
convolutions down, transposed ones up, and skip connections that are added, as in DRUNet (Zhang et al., 2021).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu

from .designs import Design

GROUPS, HEADS = 8, 4  # of group normalisation and of attention
FREQUENCIES, EMBEDDED = 16, 64  # of the noise level, and the length of what is made of them


class SelfAttention(nn.Module):
    """Every place looks at every other: x + attention(x), zero at the start (Vaswani et al., 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.ask = nn.Conv2d(channels, 3 * channels, 1)
        self.answer = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, c, h, w] to the same shape."""
        parts = self.ask(self.norm(x)).unflatten(1, (3, HEADS, -1)).flatten(4).transpose(3, 4)
        looked = scaled_dot_product_attention(*parts.unbind(1))
        return x + self.answer(looked.transpose(2, 3).reshape(x.shape))


class ResidualBlock(nn.Module):
    """x + convolutions(x), zero at the start; the noise level scales and shifts what is between the two of them."""

    def __init__(self, channels: int, attention: bool) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUPS, channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(EMBEDDED, 2 * channels)
        self.norm_out = nn.GroupNorm(GROUPS, channels)
        self.conv_out = _zero(nn.Conv2d(channels, channels, 3, padding=1))
        self.attention = SelfAttention(channels) if attention else nn.Identity()

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Map [n, c, h, w] and the embedded noise level [n, EMBEDDED] to the shape of the former."""
        scale, shift = self.modulation(noise)[:, :, None, None].chunk(2, dim=1)
        hidden = self.conv_in(silu(self.norm_in(x)))
        hidden = self.norm_out(hidden) * (1 + scale) + shift
        return self.attention(x + self.conv_out(silu(hidden)))


class Stage(nn.ModuleList):
    """The residual blocks of one resolution, one after another."""

    def forward(self, hidden: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Map [n, c, h, w] and the embedded noise level [n, EMBEDDED] to the shape of the former."""
        for block in self:
            hidden = block(hidden, noise)
        return hidden


class Backbone(nn.Module):
    """What is trained: images [n, 1, s, s] and c_noise [n] to images, zero at the start."""

    frequencies: torch.Tensor

    def __init__(self, design: Design, size: int) -> None:
        super().__init__()
        widths = design.resolutions(size)
        finer, steps = range(len(widths) - 1), list(pairwise(widths))

        def stage(level: int) -> Stage:
            attention = level >= len(widths) - design.attention
            return Stage(ResidualBlock(widths[level], attention) for _ in range(design.blocks))

        self.register_buffer("frequencies", torch.logspace(-2, 2, FREQUENCIES, 2) * 2 * math.pi, persistent=False)
        self.embed = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED), nn.SiLU()
        )
        self.first = nn.Conv2d(1, widths[0], 3, padding=1)
        self.down_stages = nn.ModuleList(stage(level) for level in finer)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.coarsest = stage(len(widths) - 1)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in reversed(steps))
        self.up_stages = nn.ModuleList(stage(level) for level in reversed(finer))
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.last = _zero(nn.Conv2d(widths[0], 1, 3, padding=1))

    def forward(self, images: torch.Tensor, c_noise: torch.Tensor) -> torch.Tensor:
        """Map [n, 1, s, s] and [n] to [n, 1, s, s]."""
        angles = c_noise[:, None] * self.frequencies
        noise = self.embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        hidden, kept = self.first(images), []
        for stage, down in zip(self.down_stages, self.down, strict=True):
            kept.append(stage(hidden, noise))
            hidden = down(kept[-1])
        hidden = self.coarsest(hidden, noise)
        for up, stage in zip(self.up, self.up_stages, strict=True):
            hidden = stage(up(hidden) + kept.pop(), noise)
        return self.last(silu(self.norm(hidden)))


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
