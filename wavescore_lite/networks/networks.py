"""Trained denoisers to compare with: any of the `designs`, preconditioned for every noise level."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..denoisers.protocol import WithScore, answers
from ..support.arrays import as_tensor
from ..support.checks import check_choice, check_size, differentiated, transformed
from .backbones import Backbone
from .designs import DESIGNS, SIGMA_RANGES

BATCH_PIXELS = {"cpu": 2**15, "cuda": 2**18}  # denoised at a time: what stays in a cache, or keeps a GPU busy


def preconditioning(sigma: torch.Tensor, sigma_data: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The factors c_skip, c_out, c_in, c_noise of Karras et al. (2022, table 1) at noise levels `sigma`.

    With the data of mean 0 and standard deviation sigma_data, c_in makes the input of the trained part of unit
    variance, c_out its target, and c_skip is the choice for which c_out is least: the best linear estimate of a pixel
    from itself.

    Examples
    --------
    >>> preconditioning(torch.tensor(3.0), torch.tensor(4.0))[:3]
    (tensor(0.6400), tensor(2.4000), tensor(0.2000))
    """
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4


class Network(WithScore, nn.Module):
    """A denoiser D(x; sigma) = mean + c_skip (x - mean) + c_out F(c_in (x - mean); c_noise) with a trained F.

    This is the parametrisation of Karras et al. (2022, eq. 7), with one grey as the mean, so that the CNN commutes with
    shifts away from the borders. An untrained F is zero.

    Parameters
    ----------
    name : str
        One of the designs:

        ==============  ========================  ==========  ===============  ===============
        name            channels from 32 pixels   attention   parameters, 32   parameters, 64
        ==============  ========================  ==========  ===============  ===============
        cnn             32 (6 blocks)             none        143,649          143,649
        unet-small      16, 32, 64                none        168,801          184,449
        unet-medium     16, 32, 64, 128           none        629,281          644,929
        unet-wide       32, 64, 128               none        611,905          665,729
        unet-attention  16, 32, 64, 128           8, 4 px     729,121          744,769
        ==============  ========================  ==========  ===============  ===============
    size : int
        Pixels along a side, a power of two >= 8.
    mean, sigma_data : float
        Mean and standard deviation of all pixels of the training images.
    noise : str
        Law of the noise levels of its training, which fixes their range: see `Recipe`.

    Raises
    ------
    ValueError
        For an unknown name or law, another size, or a sigma_data that is not > 0.

    Examples
    --------
    >>> network = Network("unet-small", size=8, mean=0.25, sigma_data=0.5)
    >>> network.denoise(torch.full((2, 8, 8), 2.25), sigma=0.5)[0, 0, 0].item()
    1.25
    """

    mean: torch.Tensor
    sigma_data: torch.Tensor

    def __init__(
        self, name: str, size: int = 32, mean: float = 0.0, sigma_data: float = 1.0, noise: str = "log-normal"
    ) -> None:
        super().__init__()
        check_choice("network", name, tuple(DESIGNS))
        self.noise = check_choice("noise", noise, tuple(SIGMA_RANGES))
        if not 0 < sigma_data < math.inf or not math.isfinite(mean):
            raise ValueError(
                f"mean and sigma_data are {mean} and {sigma_data}; expected finite numbers, the latter > 0"
            )
        self.name, self.size = name, check_size(size)
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("sigma_data", torch.tensor(float(sigma_data)))
        self.backbone = Backbone(DESIGNS[name], self.size)

    def __repr__(self) -> str:
        return f"Network({self.name!r}, size={self.size})"

    @property
    def num_parameters(self) -> int:
        """Trained parameters, for all noise levels together."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.size, self.size

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and largest noise level that it was trained on."""
        return SIGMA_RANGES[self.noise]

    __call__ = nn.Module.__call__  # with its hooks

    def forward(self, noisy: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """The same as `denoise`, differentiable by the weights, too."""
        return super().denoise(noisy, sigma)

    def denoise(self, noisy: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy], computed in float32: see `WithScore.denoise`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and differentiated(as_tensor("images", noisy))):
            return super().denoise(noisy, sigma)

    def estimate(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """D(x; sigma) for images [n, s, s] and noise levels [n], unchecked."""
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.sigma_data)
        c_skip, c_out, c_in = (factor[:, None, None] for factor in (c_skip, c_out, c_in))
        centred = noisy - self.mean
        trained = self.backbone((c_in * centred)[:, None], c_noise)[:, 0]
        return self.mean + c_skip * centred + c_out * trained

    def starts(self, normal: torch.Tensor, sigma: float) -> torch.Tensor:
        """Noise of the variance that noisy data have, about one grey: see `WithScore.starts`."""
        return self.mean.to(normal) + (self.sigma_data.to(normal) ** 2 + sigma**2).sqrt() * normal

    def _denoise(self, images: torch.Tensor, sigma: float) -> torch.Tensor:
        return self._denoise_each(images, torch.full((len(images),), sigma, dtype=torch.float64))

    def _denoise_each(self, images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        """In float32, whatever the images are."""
        for sigma in (sigmas.min().item(), sigmas.max().item()):
            if not answers(self, sigma):
                low, high = self.sigma_range
                raise ValueError(f"sigma is {sigma:g}; expected one in [{low:g}, {high:g}], where {self!r} was trained")
        batch = max(1, BATCH_PIXELS[images.device.type] // self.size**2)
        pairs = zip(images.to(self.mean).split(batch), sigmas.to(self.mean).split(batch), strict=True)
        plain = sdpa_kernel(SDPBackend.MATH) if transformed() else nullcontext()  # torch.func knows no other attention
        with plain:
            return torch.cat([self.estimate(*pair) for pair in pairs]).to(images)
