"""Denoisers that are a few tensors: moved to a device, kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch

from ..support import storage
from ..support.checks import check_device
from .protocol import WithScore, fitted


class WithParts(WithScore):
    """A denoiser that is a few tensors, which `fit` makes.

    A subclass names them in `parts`, and has None in their place until it is fitted; the first is an image, or images.

    Examples
    --------
    >>> import tempfile
    >>> from wavescore_lite import Wiener
    >>> path, images = Path(tempfile.mkdtemp(), "wiener.safetensors"), torch.rand(100, 8, 8)
    >>> wiener = Wiener().fit(images)
    >>> wiener.save(path)
    >>> torch.equal(Wiener.load(path).denoise(images, 1.0), wiener.denoise(images, 1.0))
    True
    """

    parts: ClassVar[tuple[str, ...]]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        height, width = fitted(self, getattr(self, self.parts[0])).shape[-2:]
        return height, width

    def to(self, device: str) -> Self:
        """Move to a device, "cpu" or "cuda"; returns the denoiser itself, and a ValueError if there is no such device.

        Images on another device are denoised all the same, only slower.
        """
        device = check_device(device)
        for name in self.parts:
            part = getattr(self, name)
            setattr(self, name, part if part is None else part.to(device))
        return self

    def save(self, path: str | Path) -> None:
        """Write the denoiser to a safetensors file, all of it or nothing; `load` reads it.

        Raises
        ------
        RuntimeError
            If it is not fitted.
        OSError
            If the file cannot be written.
        """
        arrays = {name: fitted(self, getattr(self, name)).cpu().numpy() for name in self.parts}
        storage.write(path, {"kind": type(self).__name__}, arrays)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Self:
        """Read a denoiser that `save` wrote.

        Parameters
        ----------
        path : path
        device : str
            Where it is to live: "cpu" or "cuda".

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is cut short, damaged, of another version or of another denoiser.
        """
        _, arrays = storage.read(path, cls.__name__)
        if sorted(arrays) != sorted(cls.parts):
            raise ValueError(f"{path} holds {sorted(arrays)}; expected {sorted(cls.parts)}")
        denoiser = cls()
        for name, array in arrays.items():
            setattr(denoiser, name, torch.from_numpy(array))
        return denoiser.to(device)
